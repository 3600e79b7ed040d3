"""The floor of loading: one DuckDB process copies a CSV file, reads it typed, writes a lake.

python -m benchmarks.loading_floor FILE FOLDER [KEY]   with a KEY its first row alone is kept
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.big_files import COLUMNS
from warehouse.duck import connect, load_extensions, quoted
from warehouse.settings import load_settings


def main(file: Path, folder: Path, key: str | None) -> None:
    """Everything that ingesting writes but ledger, checks and quarantine."""
    (folder / "data").mkdir(parents=True)
    (folder / "home").mkdir()
    copy = folder / file.name
    shutil.copyfile(file, copy)
    types = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in COLUMNS.items())
    rows = (
        f"select *, 'batch' as _batch_id, {quoted(file.name)} as _source_file,"
        " row_number() over () as _source_row, now()::timestamp as _loaded_at"
        f" from read_csv({quoted(copy)}, header = true, auto_detect = false, columns = {{{types}}})"
    )
    if key:
        rows = f"select distinct on ({key}) * from ({rows})"
    con = connect(load_settings(folder / "home"))
    load_extensions(con)
    con.execute(
        f"attach {quoted(f'ducklake:sqlite:{folder}/catalog.sqlite')} as lake"
        f" (data_path {quoted(f'{folder}/data/')})"
    )
    con.execute("call lake.set_option('parquet_compression', 'zstd')")
    con.execute(f"create table lake.orders as {rows}")
    con.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
