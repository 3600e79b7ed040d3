"""Who may import whom, and which library belongs where."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from warehouse.settings import PROJECT

LAYERS = {
    "flows": {"flows", "expectations", "warehouse"},
    "expectations": {"expectations", "warehouse"},
    "warehouse": {"warehouse"},
}
HOMES = {
    "prefect": ["flows/"],
    "typer": ["flows/"],
    "great_expectations": ["expectations/"],
    "dbt": ["warehouse/dbt_runner.py", "warehouse/dbt_plugin.py"],
    "dbt_common": ["warehouse/dbt_runner.py", "warehouse/dbt_plugin.py"],
}
FILES = sorted(file for layer in LAYERS for file in (PROJECT / layer).rglob("*.py"))


def tops(file: Path) -> set[str]:
    """The packages that the file imports, anywhere within."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: import by the whole name"
            found.add(str(node.module))
    return {name.partition(".")[0] for name in found}


def name_of(file: Path) -> str:
    return file.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_layers_are_imported_downwards(file: Path) -> None:
    layer = file.relative_to(PROJECT).parts[0]
    assert tops(file) & set(LAYERS) <= LAYERS[layer]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_libraries_stay_in_their_homes(file: Path) -> None:
    for library in tops(file) & set(HOMES):
        assert name_of(file).startswith(tuple(HOMES[library])), library


def test_no_module_is_named_for_nothing() -> None:
    assert not [file for file in FILES if file.stem in ("utils", "helpers", "common", "misc")]


def test_no_aggregate_is_windowed_over_all_rows() -> None:
    """With threads, DuckDB 1.5.5 now and then crashes on one (duckdb/duckdb, issue 25713)."""
    windowed = re.compile(r"(\w+)\([^()]*\)\s+over\s*\(\)", re.IGNORECASE)
    folders = ("models", "macros", "tests/dbt")
    files = [*FILES, *(file for name in folders for file in (PROJECT / name).rglob("*.sql"))]
    used = {name.lower() for file in files for name in windowed.findall(file.read_text())}
    assert used == {"row_number", "lag"}
