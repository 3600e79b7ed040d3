"""Sources of every format, container and way of writing, which get new files round by round."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

ROWS = 400
KNOWN, CHANGED, BROKEN = 8, 6, 3
COLUMNS = {"id": "bigint", "amount": "decimal(10,2)", "name": "varchar"}

Row = dict[str, Any]
Write = Callable[[Path, list[Row]], object]


def _text(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _csv(file: Path, rows: list[Row]) -> None:
    file.write_text(_text(rows), encoding="utf-8")


def _csv_gz(file: Path, rows: list[Row]) -> None:
    file.write_bytes(gzip.compress(_text(rows).encode(), mtime=0))


def _csv_zst(file: Path, rows: list[Row]) -> None:
    with pa.CompressedOutputStream(pa.OSFile(str(file), "wb"), "zstd") as out:
        out.write(_text(rows).encode())


def _zip(file: Path, rows: list[Row]) -> None:
    half = len(rows) // 2
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", _text(rows[:half]))
        archive.writestr("b.csv", _text(rows[half:]))


def _json(file: Path, rows: list[Row]) -> None:
    file.write_text(json.dumps(rows), encoding="utf-8")


def _ndjson(file: Path, rows: list[Row]) -> None:
    lines = [json.dumps(row) for row in rows]
    file.write_text("\n".join([*lines[:9], "{torn", *lines[9:]]), encoding="utf-8")


def _xml(file: Path, rows: list[Row]) -> None:
    records = [
        f'<row id="{row["id"]}">' + "".join(f"<{k}>{v}</{k}>" for k, v in row.items() if k != "id")
        for row in rows
    ]
    file.write_text(f"<rows>{'</row>'.join(records)}</row></rows>", encoding="utf-8")


def _table(rows: list[Row]) -> pa.Table:
    return pa.table(
        {
            "id": [row["id"] for row in rows],
            "amount": [float(row["amount"]) for row in rows],
            "name": [row["name"] for row in rows],
        }
    )


def _parquet(file: Path, rows: list[Row]) -> None:
    pq.write_table(_table(rows), file)


def _orc(file: Path, rows: list[Row]) -> None:
    orc.write_table(_table(rows), file)


def _avro(file: Path, rows: list[Row]) -> None:
    import fastavro

    types = {"id": "long", "amount": "double", "name": "string"}
    fields = [{"name": name, "type": of} for name, of in types.items()]
    records = [row | {"amount": float(row["amount"])} for row in rows]
    with file.open("wb") as out:
        fastavro.writer(out, {"type": "record", "name": "row", "fields": fields}, records)


def _xlsx(file: Path, rows: list[Row]) -> None:
    import openpyxl  # type: ignore[import-untyped]

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Data")
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append(list(row.values()))
    book.save(file)


TYPED = (_parquet, _orc, _avro)
# Dataset: suffix, how it is written, how it is loaded.
SOURCES: dict[str, tuple[str, Write, Mapping[str, Any]]] = {
    "plain": (".csv", _csv, {"key": ["id"]}),
    "clean": (".csv", _csv, {"key": ["id"]}),
    "gzipped": (".csv.gz", _csv_gz, {}),
    "zstd": (".csv.zst", _csv_zst, {"key": ["id"], "write": "merge"}),
    "zipped": (".zip", _zip, {"key": ["id"]}),
    "objects": (".json", _json, {"key": ["id"]}),
    "lines": (".ndjson", _ndjson, {"key": ["id"], "write": "merge"}),
    "elements": (".xml", _xml, {"key": ["id"], "record": "/rows/row"}),
    "sheet": (".xlsx", _xlsx, {"key": ["id"]}),
    "merged": (".parquet", _parquet, {"key": ["id"], "write": "merge"}),
    "records": (".avro", _avro, {"key": ["id"]}),
    "state": (".orc", _orc, {"key": ["id"], "write": "snapshot"}),
    "all_rows": (".parquet", _parquet, {"write": "snapshot"}),
}


class MixedArrivals:
    """The sources' folder and their sources.yml; `deliver` brings a file to each of them."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder = folder
        self._rng = rng
        self._round = 0
        self._before: dict[str, list[Row]] = {name: [] for name in SOURCES}
        self.sources = folder / "sources.yml"
        for name in SOURCES:
            (folder / name).mkdir(parents=True)

    def deliver(self) -> None:
        """A new file for each source in the place of its last, and another order to load them."""
        self._round += 1
        for name, (suffix, write, _) in SOURCES.items():
            for last in (self._folder / name).iterdir():
                last.unlink()
            rows = self._rows(name, is_typed=write in TYPED)
            write(self._folder / name / f"{self._round:04}{suffix}", rows)
        entries = [self._entry(name) for name in SOURCES]
        self._rng.shuffle(entries)
        told = {"version": 1, "sources": entries}
        self.sources.write_text(json.dumps(told, indent=1), encoding="utf-8")

    def _entry(self, name: str) -> dict[str, Any]:
        suffix, write, more = SOURCES[name]
        columns = {} if write in TYPED else {"columns": COLUMNS}
        return {"name": f"mixed.{name}", "path": f"{name}/*{suffix}", **columns, **more}

    def _rows(self, name: str, *, is_typed: bool) -> list[Row]:
        """New rows, some that came before, some of them changed, and some of a wrong type."""
        first = self._round * ROWS
        fresh = [self._row(number) for number in range(first, first + ROWS)]
        old = self._rng.sample(self._before[name], min(len(self._before[name]), KNOWN + CHANGED))
        again = [*old[:KNOWN], *(self._row(row["id"]) for row in old[KNOWN:])]
        self._before[name] = fresh
        rows = [*fresh, *again]
        if name == "clean":
            return fresh
        if not is_typed:
            for row in self._rng.sample(fresh, BROKEN):
                rows[rows.index(row)] = row | {"amount": "n/a"}
        self._rng.shuffle(rows)
        return rows

    def _row(self, number: int) -> Row:
        cents = self._rng.randrange(10**6)
        name = f"name {self._rng.randrange(1000)} é" * 3
        return {"id": number, "amount": f"{cents / 100:.2f}", "name": name}
