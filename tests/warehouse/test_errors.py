"""What is told of DuckDB's errors: what went wrong, and no value of the data."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import pytest

from warehouse.dbt_runner import _failed
from warehouse.errors import without_values

# Two people's data, one of them with both kinds of quotes in it.
DATA = """create table people as select 'O''Brien "x", jane@x.org' as name, 1234567 as phone,
 'jane@x.org' as mail; create table known (mail varchar unique); insert into known from
 (select mail from people)"""
SPEAKING = ("Brien", "jane", "1234567")


def message(sql: str) -> str:
    with duckdb.connect() as con:
        con.execute(DATA)
        with pytest.raises(duckdb.Error) as raised:
            con.execute(sql).fetchall()
    return str(raised.value)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select name::int from people", "Could not convert string … to INT32"),
        ("select name::date from people", "invalid date field format: …, expected format is"),
        ("select name::int[] from people", "Type VARCHAR with value … can't be cast to the"),
        ("select phone::tinyint from people", "with value … can't be cast because the value is"),
        ("select phone::decimal(5, 2) from people", "Could not cast value … to DECIMAL(5,2)"),
        ("select phone * phone * 1000::bigint * phone from people", "of INT32 (…)!"),
        ("insert into known from (select mail from people)", "Duplicate key … violates unique"),
        ("select strptime(name, '%Y') from people", "Could not parse string …"),
        ("select name::json from people", "Malformed JSON at byte 0 of input"),
    ],
)
def test_no_value_is_told(sql: str, told: str) -> None:
    shown = without_values(message(sql))
    assert told in shown
    assert not [text for text in SPEAKING if text in shown.partition("LINE 1")[0]]


def test_what_quotes_no_value_stays_as_it_is() -> None:
    for sql in ("select nome from people", "select 'a' frmo people", "select nothing(1)"):
        told = message(sql)
        assert without_values(told) == told
    assert "with expression CHECK((n < 9))" in without_values(
        message("create table few (n int check (n < 9)); insert into few values (10)")
    )


def test_the_code_that_is_at_fault_is_shown() -> None:
    assert "LINE 1: select name::int from people" in without_values(
        message("select name::int from people")
    )


def test_failed_model_tells_no_value_and_where_to_see_it() -> None:
    node = SimpleNamespace(name="fct_people", original_file_path="models/marts/fct_people.sql")
    text = message("select mail::int from people").replace("\n", "\n  ")
    said = f"Runtime Error in model fct_people (models/marts/fct_people.sql)\n  {text}"
    error = _failed(node, said)
    assert error.what.startswith(
        "model fct_people failed: Conversion Error: Could not convert string … to INT32"
        " when casting from source column mail LINE 1: select mail::int"
    )
    assert "jane" not in str(error)
    assert "`dbt build --select fct_people` shows" in error.next_step
