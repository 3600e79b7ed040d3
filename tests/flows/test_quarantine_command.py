"""`clearwater quarantine` and `clearwater lake`, as a user calls them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from handmade import payment, sources_file
from typer import Typer
from typer.testing import CliRunner, Result
from works import MERGE, Works

from flows.commands import lake, quarantine
from warehouse.duck import extension_file
from warehouse.errors import ClearwaterError, ConfigurationError, LakeError, WriterBusyError
from warehouse.ingest import land_sources, load_sources
from warehouse.lake import is_encrypted
from warehouse.lock import writer_lock
from warehouse.rebuild import rebuild
from warehouse.settings import Settings
from warehouse.sources import load_sources as read_sources

ORDERS: dict[str, Any] = {
    "name": "shop.orders",
    "path": "orders.csv",
    "columns": {"id": "bigint", "amount": "bigint"},
    "key": ["id"],
}
TEXT = f"id,amount\n1,x{'y' * 600}\n2,2\n2,3\n4,4\n5,5\n"


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """A folder with a sources file, and a home to which its one file was loaded."""
    file = sources_file(tmp_path / "shop", ORDERS)
    (file.parent / "orders.csv").write_text(TEXT)
    sources = read_sources(file, settings)
    load_sources(settings, sources, land_sources(settings, sources), "a run")
    return file.parent


def call(settings: Settings, app: Typer, *words: str | Path) -> Result:
    """The command's result; what it raises is raised."""
    given = [*map(str, words), "--home", str(settings.home)]
    result = CliRunner().invoke(app, given)
    if isinstance(result.exception, ClearwaterError):
        raise result.exception
    return result


def as_json(settings: Settings, app: Typer, *words: str | Path) -> Any:
    result = call(settings, app, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_quarantine_is_looked_at_mended_and_given_up(settings: Settings, folder: Path) -> None:
    shown = call(settings, quarantine.app, "list").stdout
    assert "orders.csv" in shown
    assert "key_conflict" in shown
    row = call(settings, quarantine.app, "show", "shop.orders", "--reason", "not_of_type").stdout
    assert "orders.csv, line 2, row 1" in row
    assert "not_of_type: not of the type of the column: amount" in row
    assert "yyy…" in row
    [whole] = as_json(settings, quarantine.app, "show", "shop.orders", "--reason", "not_of_type")
    assert json.loads(whole["raw"]) == {"id": "1", "amount": "x" + "y" * 600}

    mended = sources_file(folder, ORDERS | {"columns": {"id": "bigint", "amount": "varchar"}})
    told = call(settings, quarantine.app, "replay", "--sources", mended, "--dry-run").stdout
    assert "1 would be loaded, 0 already known, 1 still in quarantine" in told
    [done] = as_json(settings, quarantine.app, "replay", "shop.orders", "--sources", mended)
    assert (done["loaded"], done["quarantined"], done["problem"]) == (1, 1, None)

    with pytest.raises(ConfigurationError, match=r"give up 1 row of(.|\n)*--yes"):
        call(settings, quarantine.app, "drop", "shop.orders")
    assert "1 row given up" in (
        call(settings, quarantine.app, "drop", "shop.orders", "--yes").stdout
    )
    assert as_json(settings, quarantine.app, "list") == []


def test_show_tells_the_first_rows_and_json_all(settings: Settings, tmp_path: Path) -> None:
    file = sources_file(tmp_path / "shop", ORDERS)
    rows = "".join(f"{n},x\n" for n in range(30)) + "".join(f"{n},1\n" for n in range(30, 200))
    (file.parent / "orders.csv").write_text(f"id,amount\n{rows}")
    sources = read_sources(file, settings)
    load_sources(settings, sources, land_sources(settings, sources), "a run")
    shown = call(settings, quarantine.app, "show", "shop.orders").stdout
    assert shown.count("not_of_type:") == 20
    assert "the first 20; --limit shows more" in shown
    whole = as_json(settings, quarantine.app, "show", "shop.orders")
    assert [row["_source_row"] for row in whole] == list(range(1, 31))
    assert len(as_json(settings, quarantine.app, "show", "shop.orders", "--limit", "3")) == 3


def test_batch_that_cannot_be_replayed_is_told_and_fails(settings: Settings, folder: Path) -> None:
    other = sources_file(folder, ORDERS | {"name": "shop.others"})
    result = call(settings, quarantine.app, "replay", "--sources", other)
    assert result.exit_code == 1
    assert "left: shop.orders: it is not in the sources file" in result.stderr


def test_commands_that_write_leave_when_another_writer_is_at_work(
    settings: Settings, folder: Path
) -> None:
    file = folder / "sources.yml"
    with writer_lock(settings):
        assert call(settings, quarantine.app, "list").exit_code == 0
        for app, words in (
            (quarantine.app, ("replay", "--sources", file)),
            (quarantine.app, ("drop", "shop.orders", "--yes")),
            (lake.app, ("rebuild", "--sources", file)),
            (lake.app, ("maintain",)),
        ):
            with pytest.raises(WriterBusyError):
                call(settings, app, *words)


def test_no_lake_is_an_error_that_makes_none(settings: Settings, tmp_path: Path) -> None:
    file = sources_file(tmp_path, ORDERS)
    for app, words in (
        (quarantine.app, ("list",)),
        (quarantine.app, ("replay", "--sources", file)),
        (quarantine.app, ("drop", "shop.orders", "--yes")),
        (lake.app, ("snapshots",)),
        (lake.app, ("changes", "shop.orders", "--from", "1")),
        (lake.app, ("maintain",)),
    ):
        with pytest.raises(LakeError):
            call(settings, app, *words)
    assert not settings.lake_catalog.exists()


def test_lake_is_looked_back_at(settings: Settings, folder: Path) -> None:
    found = as_json(settings, lake.app, "snapshots")
    assert found[-1]["what"] == "loaded shop.orders: orders.csv"
    changes = as_json(settings, lake.app, "changes", "shop.orders", "--from", "0")
    assert [(row["change_type"], row["id"]) for row in changes] == [
        ("insert", 2),
        ("insert", 4),
        ("insert", 5),
    ]
    [batch] = {row["batch"] for row in as_json(settings, quarantine.app, "list")}
    out = folder / "out.csv"
    assert call(settings, lake.app, "bytes", batch[:10], "--out", out).exit_code == 0
    raw = call(settings, lake.app, "bytes", batch[:10]).stdout_bytes
    assert raw == out.read_bytes() == TEXT.encode()
    assert hashlib.sha256(raw).hexdigest() in {p.name for p in settings.landing.glob("??/*")}


@pytest.mark.slow
def test_rebuild_is_equal_or_redefined(settings: Settings, folder: Path) -> None:
    same = call(settings, lake.app, "rebuild", "--sources", folder / "sources.yml", "--dry-run")
    assert (same.exit_code, "equal, row for row" in same.stdout) == (0, True)
    mended = sources_file(folder, ORDERS | {"columns": {"id": "bigint", "amount": "varchar"}})
    asked = ("rebuild", "--sources", mended, "--redefine")
    other = call(settings, lake.app, *asked, "--dry-run")
    assert (other.exit_code, "not equal" in other.stdout) == (0, True)
    assert "as it was" in other.stdout
    taken = call(settings, lake.app, *asked)
    assert (taken.exit_code, "rm -r" in taken.stdout) == (0, True)
    assert "0 orphaned files removed" in call(settings, lake.app, "maintain").stdout


MARTS = "select * exclude (_loaded_at) from marts.fct_transactions order by all"
FEATURES = "select * from features.feat_transactions__behaviour order by all"


@pytest.mark.slow
def test_run_after_a_rebuild_publishes_the_same(works: Works) -> None:
    before, served = [works.ask(sql) for sql in (MARTS, FEATURES)], works.served()
    sources = read_sources(sources_file(works.folder, MERGE), works.settings)
    assert rebuild(works.settings, sources, encrypted=can_encrypt()).swapped
    assert is_encrypted(works.settings) == can_encrypt()
    run = works.run()
    assert run.exit_code == 0, run.failure
    assert works.served() != served
    assert [works.ask(sql) for sql in (MARTS, FEATURES)] == before
    works.put([payment(4, day=4)], "payments2.csv")
    assert works.run().exit_code == 0
    assert len(works.ask(MARTS)) == len(before[0]) + 1


def can_encrypt() -> bool:
    """Whether DuckDB's extension that writes encrypted files is installed."""
    try:
        extension_file("httpfs")
    except ClearwaterError:
        return False
    return True
