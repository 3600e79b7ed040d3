"""What is told of a file that was refused shows nobody's values, wherever in it they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from handmade import sources_file
from reading import refusal
from shop import ORDERS, Shop
from test_excel import workbook

from expectations.raw import with_rules
from expectations.rule_files import load_rules
from warehouse.ingest import SourceSummary, land_sources, load_sources
from warehouse.readers.header import ROW_FIRST, is_value
from warehouse.sources import load_sources as read_sources

MAIL, PHONE, PERSON = "anna.secret@private.example", "+49 30 4713912", "Annegret"
SECRETS = (MAIL, PHONE, "4713912", PERSON)
HEADER = "id,email,phone,name,amount,channel\n"
ROW = f"1,{MAIL},{PHONE},{PERSON},3.5,web\n"
GUESTS: dict[str, Any] = {
    "key": ["id"],
    "columns": {"id": "bigint", "email": "varchar", "phone": "varchar", "amount": "double"},
    "personal": ["email", "phone", "name"],
}
KEYLESS = GUESTS | {"key": []}


def check_is_silent(shop: Shop, summary: SourceSummary) -> str:
    """The one problem; nothing personal is in it, nor in the ledger or the told changes."""
    (problem,) = summary.problems
    ledger = shop.ask("select * from lake.meta.batches", "select * from lake.meta.schema_changes")
    for secret in SECRETS:
        assert secret not in f"{summary}{ledger}"
    return problem


@pytest.mark.parametrize("entry", [GUESTS, KEYLESS, KEYLESS | {"schema": "freeze"}])
@pytest.mark.parametrize(
    "text",
    [
        ROW * 3,
        f"{PERSON},{PERSON},Berlin\n" * 3,  # nothing in it looks like a value
        f"{MAIL},{PHONE},phone,7,8,9,10\n",  # a value that is called like a column
        f"{PHONE},{PHONE},2026-01-01\n",
    ],
)
def test_file_without_its_header_is_told_as_that(
    shop: Shop, text: str, entry: dict[str, Any]
) -> None:
    assert not shop.send(HEADER + ROW, "orders0.csv", **entry).problems
    problem = check_is_silent(shop, shop.send(text, "orders1.csv", **entry))
    assert f"orders1.csv: {ROW_FIRST}" in problem
    assert "ask the sender for a file with the column names in its first line" in problem


def test_sheet_without_its_header_is_told_as_that(tmp_path: Path) -> None:
    name = workbook(tmp_path, [1, MAIL, PHONE, PERSON, 3.5, "web"])
    assert refusal(tmp_path, name, **GUESTS).what == ROW_FIRST


def test_row_as_header_is_told_without_personal_columns_too(tmp_path: Path) -> None:
    declared = {"id": "bigint", "amount": "double"}
    error = refusal(tmp_path, "a.csv", "1,3.5\n2,4.5\n", columns=declared, key=["id"])
    assert error.what == ROW_FIRST
    assert "3.5" not in str(error)


def test_names_that_are_numbers_are_no_row_where_the_key_is_there(shop: Shop) -> None:
    declared: dict[str, Any] = {"columns": {"id": "bigint", "a": "bigint", "b": "bigint"}}
    assert not shop.send("id,2025,2026\n1,2,3\n", **declared).problems


def test_undeclared_names_are_not_shown_beside_values(shop: Shop) -> None:
    sent = json.dumps({PERSON: 1, "amount": 2, "kind": 3}) + "\n"
    problem = check_is_silent(shop, shop.send(sent, "orders.ndjson", **GUESTS))
    assert "the column 'id' that sources.yml names is not in the file" in problem
    assert "of the declared columns this one has: amount, beside 2 columns" in problem


def test_declared_names_missing_from_a_header_are_told_as_before(shop: Shop) -> None:
    problem = check_is_silent(shop, shop.send("email,phone,amount,kind\na,b,1,c\n", **GUESTS))
    assert problem.endswith("the columns of this one: email, phone, amount, kind")


def test_name_that_is_a_persons_address_is_refused(shop: Shop) -> None:
    sent = json.dumps({"id": 1, "email": "x", "phone": "y", "amount": 2, MAIL: 3}) + "\n"
    problem = check_is_silent(shop, shop.send(sent, "orders.ndjson", **GUESTS))
    assert "the name of column 5 is a value that may speak of a person" in problem


SHIFTED = f"1,7,{MAIL},{PHONE},{PERSON},3\n"


@pytest.mark.parametrize("policy", ["evolve", "freeze"])
def test_value_that_is_not_of_its_type_is_not_shown(shop: Shop, policy: str) -> None:
    entry = GUESTS | {"schema": policy}
    shop.send(HEADER + ROW, "orders0.csv", **entry)
    problem = check_is_silent(shop, shop.send(HEADER + SHIFTED * 3, "orders1.csv", **entry))
    assert "the first is row 1: not of the type of the column: amount\n" in problem


def test_new_column_of_a_frozen_table_shows_no_value(shop: Shop) -> None:
    entry = GUESTS | {"schema": "freeze"}
    shop.send(HEADER + ROW, "orders0.csv", **entry)
    sent = HEADER.strip() + ",more\n" + ROW.strip() + f",{MAIL}\n"
    problem = check_is_silent(shop, shop.send(sent, "orders1.csv", **entry))
    assert "column 'more' is not in the table; row 1 is the first with such a value" in problem


def test_column_that_cannot_become_its_type_shows_no_value(shop: Shop) -> None:
    entry = GUESTS | {"columns": {"id": "bigint"}}
    shop.send(HEADER + SHIFTED, "orders0.csv", **entry)
    now = GUESTS | {"columns": {"id": "bigint", "amount": "double"}}
    problem = check_is_silent(shop, shop.send(HEADER + ROW, "orders1.csv", **now))
    assert "column 'amount' cannot become DOUBLE: the table holds values of the type" in problem


def test_key_that_a_torn_record_has_twice_is_not_shown(shop: Shop) -> None:
    sent = f'{{"id": 1, "{PERSON}": 1, "{PERSON}": 2}}\n' * 3
    problem = check_is_silent(shop, shop.send(sent, "orders.ndjson", **GUESTS))
    assert "the first is row 1: the key … stands twice" in problem


RULES = """\
table: raw_shop.orders
owner: shop
rules:
  - id: channels
    check: in_set
    column: channel
    values: [web]
    tolerance: 0.1
    severity: critical
    reason: no other channel is sold
"""


def send(shop: Shop, rows: str) -> SourceSummary:
    folder = shop.folder.parent / "rules" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.yml").write_text(RULES)
    shop.put(HEADER + rows)
    file = sources_file(shop.folder, ORDERS | GUESTS)
    sources = with_rules(read_sources(file, shop.settings), load_rules(folder.parent))
    landed = land_sources(shop.settings, sources)
    return load_sources(shop.settings, sources, landed, "a run")[0]["shop.orders"]


def test_row_that_breaks_a_rule_shows_no_text(shop: Shop) -> None:
    """For it may be shifted: the columns of text beside a personal one take anything."""
    problem = check_is_silent(shop, send(shop, f"1,x,y,z,2.5,{PERSON}\n" * 2))
    shown = '{"id":"1","email":"•••","phone":"•••","name":"•••","amount":"2.5","channel":"•••"}'
    assert f"the first is row 1: {shown}" in problem


def test_row_of_a_file_with_rows_not_of_their_type_is_not_shown(shop: Shop) -> None:
    shifted = f"1,x,y,z,{MAIL},web\n"
    digits = "4713912,x,y,z,2.5,shop\n"
    problem = check_is_silent(shop, send(shop, shifted + digits * 3))
    assert "the first is row 2: •••" in problem


@pytest.mark.parametrize(
    "text",
    [MAIL, PHONE, "1,145", "-3.5", "12 €", "2026-01-31", "2026-01-31T10:00:00Z", "(030) 123456"],
)
def test_value(text: str) -> None:
    assert is_value(text)


@pytest.mark.parametrize("text", ["id", "amount_2", "2nd name", "E-Mail", "Q1", "größe", ""])
def test_name(text: str) -> None:
    assert not is_value(text)
