"""The corpus: each bad input gets its verdict, to the row, and nothing else is affected by it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from corpus import CASES, HEAVY
from corpus.case import Case
from corpus.table import document
from handmade import sources_file, write_parquet
from shop import Connection, Shop

from benchmarks.measure import METER, clearwater, environment
from warehouse import lake
from warehouse.ingest import SourceSummary
from warehouse.landing import arrivals, content_path
from warehouse.places import LocalFile
from warehouse.settings import PROJECT, Settings

GOOD = [
    {"name": "good.orders", "path": "good/orders.csv", "columns": {"id": "bigint"}, "key": ["id"]},
    {"name": "good.events", "path": "good/events.ndjson", "write": "merge", "key": ["id"]},
    {"name": "good.items", "path": "good/items.parquet", "write": "snapshot"},
]
LEDGER = (
    "select source, rows_in, loaded, quarantined, already_known, refused, dropped, status"
    " from lake.meta.batches"
)
HELD = (
    "select source, _source_row, line, reason, detail from lake.meta.quarantine"
    " order by source_file, _source_row"
)
TABLES = (
    "select table_name from duckdb_tables() where database_name = 'lake'"
    " and schema_name = 'raw_corpus'"
)
OWN = "_batch_id, _source_file, _source_row, _loaded_at"
MOST_GIB = 1.0


@dataclass
class Found:
    """What the lake has of all cases, by their sources: lines, rows held back, rows loaded."""

    ledger: dict[str, list[tuple[Any, ...]]]
    held: dict[str, list[tuple[Any, ...]]]
    tables: dict[str, list[tuple[Any, ...]]]


class Corpus(Shop):
    """A lake with three good sources, into which the cases are loaded among them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder)
        (folder / "good").mkdir()
        self.put("id,name\n1,a\n2,b\n", "good/orders.csv")
        self.put('{"id": 1}\n{"id": 2}\n', "good/events.ndjson")
        write_parquet(folder / "good" / "items.parquet", "select range as id from range(5)")
        self.load_all(*GOOD)
        self.good_at_first = self.good()

    def folder_of(self, case: Case) -> Path:
        return self.folder / case.slug

    def put_cases(self, cases: list[Case]) -> list[dict[str, Any]]:
        """Write the files of the cases; returns their entries in sources.yml."""
        for case in cases:
            self.folder_of(case).mkdir()
            case.put(self.folder_of(case))
        return [case.declared(self.folder_of(case)) for case in cases]

    def good(self) -> Any:
        """All that the good sources have in the lake."""
        tables = [f"from lake.raw_{e['name']} order by all" for e in GOOD]
        meta = [
            f"from lake.meta.{table} where source like 'good.%' order by all"
            for table in ("batches", "quarantine")
        ]
        return self.ask(*tables, *meta)

    def found(self) -> Found:
        """What came of the cases, their rows in the order of their files."""
        ledger, held, names = self.ask(LEDGER, HELD, TABLES)
        rows = [
            f'select * exclude ({OWN}) from lake.raw_corpus."{name}"'
            " order by _source_file, _source_row"
            for (name,) in names
        ]
        tables = {f"corpus.{name}": t for (name,), t in zip(names, self.ask(*rows), strict=True)}
        return Found(by_source(ledger), by_source(held), tables)

    def check(self, case: Case, problems: tuple[str, ...], found: Found) -> None:
        """The verdict, to the row, and no more in the home than there should be."""
        self._check_told(case, problems)
        ledger = found.ledger.get(case.source, [])
        for line in ledger:
            assert line[0] == sum(line[1:6]), f"rows in = loaded + … does not hold: {line}"
        totals = [sum(line[n] for line in ledger) for n in range(5)]
        rows_in = case.loaded + len(case.held) + case.known + case.refused_rows
        assert totals == [rows_in, case.loaded, len(case.held), case.known, case.refused_rows]
        is_refused = bool(case.refused) and case.while_read is None
        assert ("refused" in {line[6] for line in ledger}) == is_refused
        held = found.held.get(case.source, [])
        assert [row[:3] for row in held] == [(h.row, h.line, h.reason) for h in case.held]
        for row, wanted in zip(held, case.held, strict=True):
            assert wanted.words.lower() in row[3].lower()
        table = found.tables.get(case.source, [])
        assert len(table) == case.loaded
        assert case.rows is None or table == case.rows
        self._check_landed(case)

    def _check_told(self, case: Case, problems: tuple[str, ...]) -> None:
        assert len(problems) == bool(case.refused)
        for problem in problems:
            assert problem.startswith(f"{case.source}: ")
            assert case.refused in problem
            assert "\n  next: " in problem
            assert str(self.settings.home) not in problem

    def _check_landed(self, case: Case) -> None:
        landed = {a.sha256 for a in arrivals(self.settings) if a.source == case.source}
        files = [file for file in self.folder_of(case).rglob("*") if file.is_file()]
        assert landed == (set() if case.while_read else {hash_of(file) for file in files})

    def check_home(self) -> None:
        """What landed is what arrived, nothing half done is left, the good data are as before."""
        for arrival in arrivals(self.settings):
            assert hash_of(content_path(self.settings, arrival.sha256)) == arrival.sha256
        assert not (self.settings.tmp / "batch").exists()
        assert not list(self.settings.landing.rglob(".*.tmp"))
        assert self.good() == self.good_at_first


def by_source(rows: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for source, *rest in rows:
        found.setdefault(source, []).append(tuple(rest))
    return found


def hash_of(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, empty_lake: Path) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("corpus")
    settings = Settings(folder / "home", threads=2, memory_limit="1GiB")
    shutil.copytree(empty_lake, settings.home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "connect", Connection)
        yield Corpus(settings, folder / "shop")


@pytest.fixture(scope="module")
def told(corpus: Corpus) -> dict[str, SourceSummary]:
    """What one run said of all the cases, some of whose files somebody wrote to meanwhile."""
    entries = corpus.put_cases(CASES)
    with pytest.MonkeyPatch.context() as patch:
        disturb(patch)
        return corpus.load_all(*GOOD, *entries)


@pytest.fixture(scope="module")
def found(corpus: Corpus, told: dict[str, SourceSummary]) -> Found:
    return corpus.found()


def disturb(patch: pytest.MonkeyPatch) -> None:
    """Do to the files of the cases what these say, as soon as they are open for reading."""
    really = LocalFile.open
    moving = {case.source: case.while_read for case in CASES if case.while_read}

    def opened(place: LocalFile) -> BinaryIO:
        handle = really(place)
        if place.source in moving:
            moving[place.source](place.file)
        return handle

    patch.setattr(LocalFile, "open", opened)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
def test_input_gets_its_verdict(
    corpus: Corpus, told: dict[str, SourceSummary], found: Found, case: Case
) -> None:
    corpus.check(case, told[case.source].problems, found)


def test_nothing_else_is_affected_and_a_second_run_changes_nothing(
    corpus: Corpus, told: dict[str, SourceSummary]
) -> None:
    corpus.check_home()
    still = [case for case in CASES if not case.while_read]
    snapshot = lake.catalog_snapshot(corpus.settings)
    again = corpus.load_all(*GOOD, *(case.declared(corpus.folder_of(case)) for case in still))
    assert lake.catalog_snapshot(corpus.settings) == snapshot
    for case in still:
        assert again[case.source].problems == told[case.source].problems
        assert again[case.source].counts.rows_in == case.refused_rows
    corpus.check_home()


@pytest.mark.slow
def test_heavy_inputs_get_their_verdicts_in_little_memory(corpus: Corpus, tmp_path: Path) -> None:
    entries = corpus.put_cases(HEAVY)
    sources = sources_file(corpus.folder, *GOOD, *entries)
    used = tmp_path / "used.json"
    command = clearwater("ingest", "--sources", sources, "--json")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", METER, used, *command],
        cwd=PROJECT,
        env=environment(corpus.settings.home),
        capture_output=True,
        text=True,
        check=False,
    )
    exit_code, _, peak_gib = json.loads(used.read_text())
    assert exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert peak_gib < MOST_GIB
    run = json.loads(done.stdout)
    assert run["error"] is None
    told = run["sources"]
    found = corpus.found()
    for case in HEAVY:
        corpus.check(case, tuple(told[case.source]["problems"]), found)
    corpus.check_home()


def test_cases_have_names_of_their_own() -> None:
    names = [case.slug for case in (*CASES, *HEAVY)]
    assert len(set(names)) == len(names)


def test_document_tells_every_case() -> None:
    told = (PROJECT / "docs" / "bad-input.md").read_text(encoding="utf-8")
    assert told == document(), "run `python -m corpus.table > ../docs/bad-input.md` in tests/"
