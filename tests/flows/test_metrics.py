"""The metrics file: what a monitoring agent finds after a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from handmade import payment
from prometheus_client.parser import text_string_to_metric_families
from works import Works

from flows import metrics
from warehouse import releases
from warehouse.errors import StateError
from warehouse.files import temporary
from warehouse.lock import writer_lock
from warehouse.settings import PROJECT
from warehouse.state import open_ledger


def samples(works: Works) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels."""
    text = works.settings.metrics.read_text()
    return {
        (sample.name.removeprefix("clearwater_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def after_a_row(first: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """A home after a run with one good and one bad row that did not go on to build."""
    import shutil

    folder = tmp_path_factory.mktemp("metrics") / "works"
    shutil.copytree(first.folder, folder, symlinks=True)
    works = Works(folder)
    works.put([payment(4, day=4), payment(5, amount="much")], "payments4.csv")
    assert works.run("land", "load").exit_code == 0
    yield works


def test_figures_of_the_run_its_sources_and_the_home(after_a_row: Works) -> None:
    found = samples(after_a_row)
    source = "payments.transactions"
    assert found["source_rows", "loaded", source] == 1
    assert found["source_rows", "quarantined", source] == 1
    assert found["source_refused_files", source] == 0
    assert (found["run_status", "done"], found["run_status", "failed"]) == (1, 0)
    assert found["run_exit_code",] == 0
    assert set(metrics.STATUSES) == {key[1] for key in found if key[0] == "run_status"}
    assert {key[1] for key in found if key[0] == "run_stage_duration_seconds"} == {"land", "load"}
    began, ended = found["run_start_timestamp_seconds",], found["run_end_timestamp_seconds",]
    assert 0 < found["run_duration_seconds",] == pytest.approx(ended - began)
    assert began < found["source_last_new_timestamp_seconds", source] < ended <= time.time()
    release = releases.current(after_a_row.settings)
    assert release is not None
    created = datetime.fromisoformat(release.created_at).astimezone(UTC)
    assert found["release_created_timestamp_seconds",] == pytest.approx(created.timestamp())
    assert found["release_verdict", release.verdict] == 1
    assert found["release_held",] == 0
    assert found["incidents_open", "critical"] == 0
    assert found["disk_free_bytes",] > 0
    assert found["run_cpu_seconds",] > 0
    assert found["run_peak_memory_bytes",] > 1 << 20


def test_names_keep_to_the_conventions_and_stand_in_the_docs(after_a_row: Works) -> None:
    docs = (PROJECT / "docs" / "logs.md").read_text()
    text = after_a_row.settings.metrics.read_text()
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("clearwater_")
        assert family.documentation.endswith(".")
        assert f"`{family.name}`" in docs
        assert not family.name.endswith(("_total", "_count"))  # these are for counters


def test_source_without_news_keeps_its_time(after_a_row: Works) -> None:
    key = ("source_last_new_timestamp_seconds", "payments.transactions")
    before = samples(after_a_row)
    assert after_a_row.run("land", "load").exit_code == 0
    after = samples(after_a_row)
    assert after[key] == before[key]
    assert after["run_start_timestamp_seconds",] > before["run_start_timestamp_seconds",]
    assert after["source_rows", "loaded", "payments.transactions"] == 0


def test_waiting_for_the_lock_is_no_part_of_the_run(after_a_row: Works) -> None:
    free = threading.Event()
    let_go = [0.0]

    def hold() -> None:
        with writer_lock(after_a_row.settings, run_id="other"):
            free.set()
            time.sleep(0.5)
            let_go[0] = time.time()

    holding = threading.Thread(target=hold)
    holding.start()
    free.wait()
    run = after_a_row.run("land", wait=True)
    holding.join()
    assert run.exit_code == 0
    found = samples(after_a_row)
    assert found["run_start_timestamp_seconds",] >= let_go[0]
    with open_ledger(after_a_row.settings) as ledger:
        (noted,) = ledger.newest(1)
    began = noted["started_at"].replace(tzinfo=UTC).timestamp()
    assert found["run_start_timestamp_seconds",] <= began <= found["run_end_timestamp_seconds",]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StateError("odd")])
def test_metrics_that_cannot_be_written_fail_no_run(
    after_a_row: Works,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(metrics, "write_atomically", failing)
    assert after_a_row.run("land").exit_code == 0
    assert "the metrics lag, the data does not: " in capsys.readouterr().err


def test_rubbish_of_a_killed_run_is_swept(after_a_row: Works) -> None:
    folder: Path = after_a_row.settings.metrics.parent
    temporary(folder / "clearwater.prom").touch()
    after_a_row.run("land")
    assert [file.name for file in folder.iterdir()] == ["clearwater.prom"]
