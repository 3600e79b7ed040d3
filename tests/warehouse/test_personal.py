"""Marks of personal columns go down to the models that select the columns under the same name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Of

import pytest
import yaml

from warehouse import dbt_runner
from warehouse.settings import Settings

UNSAID = object()


def column(name: str, mark: object = UNSAID) -> Of:
    meta = {} if mark is UNSAID else {"personal": mark}
    return Of(name=name, meta={}, config=Of(meta=meta))


def node(*columns: Of, reads: tuple[str, ...] = (), contract: bool = True) -> Of:
    return Of(
        columns={told.name: told for told in columns},
        depends_on=Of(nodes=list(reads)),
        config=Of(contract=Of(enforced=contract)),
    )


MANIFEST = Of(
    sources={"raw": Of(columns={"Email": column("Email", True), "id": column("id")})},
    nodes={
        "staging": node(column("id"), reads=("raw",), contract=False),
        "mart": node(column("id"), column("EMAIL"), column("phone", True), reads=("staging",)),
        "cleared": node(column("email", False), column("phone"), reads=("mart",)),
        "below": node(column("email"), column("phone"), reads=("cleared",)),
        "renamed": node(column("address"), reads=("mart",)),
        "odd": node(column("id", "yes"), column("email", None), reads=("mart",)),
    },
)


@pytest.mark.parametrize(
    ("name", "personal"),
    [
        ("raw", {"Email"}),
        ("staging", {"email"}),
        ("mart", {"EMAIL", "phone"}),
        ("cleared", {"phone"}),
        ("below", {"phone"}),
        ("renamed", set()),
        ("odd", {"id", "email"}),
    ],
)
def test_marks_are_inherited_by_name(name: str, personal: set[str]) -> None:
    assert dbt_runner._personal(MANIFEST, name, {}) == personal


def test_mark_of_a_source_reaches_the_marts(settings: Settings, project: Path) -> None:
    (file,) = (project / "models").rglob("*payments__sources.yml")
    content = yaml.safe_load(file.read_text())
    (table,) = content["sources"][0]["tables"]
    table["columns"].append({"name": "Terminal_ID", "config": {"meta": {"personal": True}}})
    table["columns"] = [c for c in table["columns"] if c["name"] != "TERMINAL_ID"]
    file.write_text(yaml.safe_dump(content))
    models = dbt_runner.parse(settings).models
    assert "terminal_id" in models["dim_terminals"].personal
    assert models["fct_transactions"].personal == {"customer_id", "terminal_id"}
