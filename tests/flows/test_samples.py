"""The sample sources: simulated, labelled, the same every time, with a few wrong rows."""

from __future__ import annotations

import csv
import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from flows.samples import COLUMNS, FIRST_DAY, SampleSet, write_samples
from warehouse.settings import PROJECT

Row = dict[str, str]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def rows(sample: SampleSet) -> list[Row]:
    return [row for file in sample.files for row in read(file)]


@pytest.fixture(scope="module")
def honest(sample: SampleSet) -> list[Row]:
    """The rows that were not made wrong on purpose, in the files' order."""
    wrong = {(planted.file, planted.row) for planted in sample.planted}
    return [
        row
        for file in sample.files
        for at, row in enumerate(read(file), 1)
        if (file, at) not in wrong
    ]


def read(file: Path) -> list[Row]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def small(folder: Path, *, days: int = 3, seed: int = 7) -> SampleSet:
    return write_samples(folder, days=days, customers=100, terminals=400, seed=seed)


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "a")
    small(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_gives_other_payments(tmp_path: Path) -> None:
    small(tmp_path / "a")
    small(tmp_path / "b", seed=8)
    assert digests(tmp_path / "a") != digests(tmp_path / "b")


def test_writing_again_touches_nothing(tmp_path: Path) -> None:
    first = small(tmp_path)
    before = [file.stat().st_mtime_ns for file in first.files]
    assert small(tmp_path) == first
    assert [file.stat().st_mtime_ns for file in first.files] == before


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    file = small(tmp_path).files[1]
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    small(tmp_path)
    assert file.read_bytes() == whole


def test_more_days_leave_the_earlier_days_as_they_are(tmp_path: Path) -> None:
    small(tmp_path / "short", days=3)
    small(tmp_path / "long", days=5)
    longer = digests(tmp_path / "long" / "payments")
    assert digests(tmp_path / "short" / "payments").items() <= longer.items()
    assert len(longer) == 5


def test_nothing_unfinished_is_left_behind(tmp_path: Path) -> None:
    sample = small(tmp_path)
    assert {*(tmp_path / "payments").iterdir()} == {*sample.files}


@pytest.mark.parametrize("days", [0, 1])
def test_very_few_days(tmp_path: Path, days: int) -> None:
    sample = small(tmp_path, days=days)
    assert len(sample.files) == days


def test_nobody_near_a_terminal_means_no_payments(tmp_path: Path) -> None:
    sample = write_samples(tmp_path, days=2, customers=1, terminals=1)
    assert sample.rows == 0
    assert read(sample.files[0]) == []


def test_the_folder_says_that_it_is_simulated(sample: SampleSet) -> None:
    text = (sample.folder / "README.txt").read_text()
    assert text.startswith("SIMULATED DATA")
    assert all(f"{row.file.name}, row {row.row}" in text for row in sample.planted)


def test_one_file_a_day_with_the_declared_columns(sample: SampleSet) -> None:
    expected = [f"transactions-{FIRST_DAY + timedelta(days=day)}.csv" for day in range(30)]
    assert [file.name for file in sample.files] == expected
    assert all(list(read(file)[0]) == list(COLUMNS) for file in sample.files)


def test_row_count_is_what_was_written(sample: SampleSet, rows: list[Row]) -> None:
    assert sample.rows == len(rows)
    assert 200_000 < len(rows) < 400_000


def test_planted_rows_are_where_the_set_says(sample: SampleSet) -> None:
    for planted in sample.planted:
        row = read(planted.file)[planted.row - 1]
        assert row[planted.column] == planted.text
        assert row["TRANSACTION_ID"] == str(planted.transaction_id)


def test_planted_faults(sample: SampleSet) -> None:
    assert [planted.fault for planted in sample.planted].count("not_of_type") == 3
    assert [planted.fault for planted in sample.planted].count("key_conflict") == 2


def test_a_conflict_differs_from_the_known_row_in_its_amount_alone(
    sample: SampleSet, honest: list[Row]
) -> None:
    known = {row["TRANSACTION_ID"]: row for row in honest}
    for planted in sample.planted:
        if planted.fault == "key_conflict":
            first = known[str(planted.transaction_id)]
            repeated = read(planted.file)[planted.row - 1]
            assert {c for c in COLUMNS if first[c] != repeated[c]} == {"TX_AMOUNT"}


def test_ids_are_unique_and_in_time_order(honest: list[Row]) -> None:
    ids = [int(row["TRANSACTION_ID"]) for row in honest]
    seconds = [int(row["TX_TIME_SECONDS"]) for row in honest]
    assert ids == sorted(set(ids))
    assert seconds == sorted(seconds)


def test_times_agree_with_each_other(sample: SampleSet, honest: list[Row]) -> None:
    start = datetime.combine(FIRST_DAY, datetime.min.time())
    for row in honest[::500]:
        moment = start + timedelta(seconds=int(row["TX_TIME_SECONDS"]))
        assert row["TX_DATETIME"] == f"{moment:%Y-%m-%d %H:%M:%S}"
        assert int(row["TX_TIME_DAYS"]) == (moment - start).days


def test_the_sizes_are_those_of_the_published_simulation(honest: list[Row]) -> None:
    a_day = len(honest) / 30
    amounts = [float(row["TX_AMOUNT"]) for row in honest]
    assert 9_200 < a_day < 10_000
    assert 50 < sum(amounts) / len(amounts) < 60
    assert min(amounts) >= 0
    assert 4_900 < len({row["CUSTOMER_ID"] for row in honest}) <= 5_000


def test_fraud_is_rare_and_of_all_three_kinds(honest: list[Row]) -> None:
    frauds = [row for row in honest if row["TX_FRAUD"] == "1"]
    assert 0.003 < len(frauds) / len(honest) < 0.015
    assert {row["TX_FRAUD_SCENARIO"] for row in frauds} == {"1", "2", "3"}


def test_the_label_says_whether_there_is_a_scenario(honest: list[Row]) -> None:
    assert all((row["TX_FRAUD"] == "1") == (row["TX_FRAUD_SCENARIO"] != "0") for row in honest)


def test_every_large_amount_is_fraud(honest: list[Row]) -> None:
    assert all(row["TX_FRAUD"] == "1" for row in honest if float(row["TX_AMOUNT"]) > 220)


def test_the_projects_own_sources_file_declares_the_samples() -> None:
    entry = yaml.safe_load((PROJECT / "sources.yml").read_text())["sources"][0]
    assert entry["path"] == "${CLEARWATER_HOME}/samples/payments/transactions-*.csv"
    assert entry["columns"] == COLUMNS
