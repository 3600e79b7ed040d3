"""What runs leave behind does not change what later runs make of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from handmade import payments
from works import Works

from benchmarks.content import current_release
from warehouse import compaction
from warehouse.compaction import small_files

FILES = 4
ROWS = 30  # more than the catalog keeps itself


@pytest.mark.slow
def test_incremental_builds_over_merged_files_equal_one_in_full(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MANY", 2)
    for number in range(FILES):
        first = 1_000 + number * ROWS
        works.put(payments(*range(first, first + ROWS)), f"payments{number}.csv")
        run = works.run()
        assert run.status == "done"
    assert small_files(works.settings) == []
    corrected = payments(*range(1_005, 1_005 + ROWS), amount="77.00")
    works.put(corrected, "payments9.csv")
    assert works.run().release is not None
    assert works.run().is_up_to_date
    fresh = Works(tmp_path / "fresh")
    fresh.folder.mkdir()
    for file in works.folder.glob("payments*.csv"):
        (fresh.folder / file.name).write_bytes(file.read_bytes())
    fresh.run()
    assert current_release(works.settings) == current_release(fresh.settings)
