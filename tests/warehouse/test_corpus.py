"""The corpus: each bad input gets its verdict, to the row, and nothing else is affected by it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
    "select rows_in, loaded, quarantined, already_known, refused, dropped, status"
    " from lake.meta.batches where source = '{source}'"
)
HELD = (
    "select _source_row, line, reason, detail from lake.meta.quarantine where source = '{source}'"
    " order by source_file, _source_row"
)
OWN = "_batch_id, _source_file, _source_row, _loaded_at"
MOST_GIB = 1.0


class Corpus(Shop):
    """A lake with three good sources, into which the cases are loaded one by one."""

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

    def put_case(self, case: Case) -> None:
        self.folder_of(case).mkdir()
        case.put(self.folder_of(case))

    def load_case(self, case: Case) -> SourceSummary:
        return self.load_all(*GOOD, case.declared(self.folder_of(case)))[case.source]

    def good(self) -> Any:
        """All that the good sources have in the lake."""
        tables = [f"from lake.raw_{e['name']} order by all" for e in GOOD]
        meta = [
            f"from lake.meta.{table} where source like 'good.%' order by all"
            for table in ("batches", "quarantine")
        ]
        return self.ask(*tables, *meta)

    def table(self, case: Case) -> list[tuple[Any, ...]]:
        """The case's rows in the order of its files; none when it has no table."""
        sql = "select count(*) from duckdb_tables() where database_name = 'lake' and table_name"
        ((count,),) = self.ask(f"{sql} = '{case.slug}'")[0]
        if not count:
            return []
        rows = f"select * exclude ({OWN}) from lake.raw_corpus.{case.slug}"
        return self.ask(f"{rows} order by _source_file, _source_row")[0]

    def check(self, case: Case, problems: tuple[str, ...]) -> None:
        """The verdict, to the row, and no more in the home than there should be."""
        self._check_told(case, problems)
        ledger, held = self.ask(LEDGER.format(source=case.source), HELD.format(source=case.source))
        for line in ledger:
            assert line[0] == sum(line[1:6]), f"rows in = loaded + … does not hold: {line}"
        totals = [sum(line[n] for line in ledger) for n in range(5)]
        rows_in = case.loaded + len(case.held) + case.known + case.refused_rows
        expected = [rows_in, case.loaded, len(case.held), case.known, case.refused_rows]
        assert totals == expected
        assert ("refused" in {line[6] for line in ledger}) == self._is_in_ledger(case)
        assert [row[:3] for row in held] == [(h.row, h.line, h.reason) for h in case.held]
        for row, wanted in zip(held, case.held, strict=True):
            assert wanted.words.lower() in row[3].lower()
        table = self.table(case)
        assert len(table) == case.loaded
        assert case.rows is None or table == case.rows
        self._check_landed(case)
        assert not (self.settings.tmp / "batch").exists()
        assert not list(self.settings.landing.rglob(".*.tmp"))

    def _check_told(self, case: Case, problems: tuple[str, ...]) -> None:
        assert len(problems) == bool(case.refused)
        for problem in problems:
            assert problem.startswith(f"{case.source}: ")
            assert case.refused in problem
            assert "\n  next: " in problem
            assert str(self.settings.home) not in problem

    def _is_in_ledger(self, case: Case) -> bool:
        return bool(case.refused) and case.while_read is None

    def _check_landed(self, case: Case) -> None:
        landed = [a for a in arrivals(self.settings) if a.source == case.source]
        for arrival in landed:
            content = content_path(self.settings, arrival.sha256)
            assert hash_of(content) == arrival.sha256
        files = [file for file in self.folder_of(case).rglob("*") if file.is_file()]
        brought = set() if case.while_read else {hash_of(file) for file in files}
        assert {arrival.sha256 for arrival in landed} == brought


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
def test_input_gets_its_verdict(
    corpus: Corpus, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.put_case(case)
    if case.while_read:
        disturb(case, monkeypatch)
    problems = corpus.load_case(case).problems
    corpus.check(case, problems)
    assert corpus.good() == corpus.good_at_first
    if case.while_read:
        return
    snapshot = lake.catalog_snapshot(corpus.settings)
    again = corpus.load_case(case)
    assert again.problems == problems
    assert again.counts.rows_in == again.counts.refused == case.refused_rows
    assert lake.catalog_snapshot(corpus.settings) == snapshot


def disturb(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do to the case's file what it says, as soon as it is open for reading."""
    really = LocalFile.open

    def opened(place: LocalFile) -> BinaryIO:
        handle = really(place)
        if place.source == case.source:
            assert case.while_read is not None
            case.while_read(place.file)
        return handle

    monkeypatch.setattr(LocalFile, "open", opened)


def test_heavy_inputs_get_their_verdicts_in_little_memory(corpus: Corpus, tmp_path: Path) -> None:
    for case in HEAVY:
        corpus.put_case(case)
    entries = [case.declared(corpus.folder_of(case)) for case in HEAVY]
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
    told = json.loads(done.stdout)["sources"]
    for case in HEAVY:
        corpus.check(case, tuple(told[case.source]["problems"]))
    assert corpus.good() == corpus.good_at_first


def test_cases_have_names_of_their_own() -> None:
    names = [case.slug for case in (*CASES, *HEAVY)]
    assert len(set(names)) == len(names)


def test_document_tells_every_case() -> None:
    told = (PROJECT / "docs" / "bad-input.md").read_text(encoding="utf-8")
    assert told == document(), "run `python -m corpus.table > ../docs/bad-input.md` in tests/"
