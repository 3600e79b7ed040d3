"""What is kept of a column's values: of personal ones the form alone, in any script."""

from __future__ import annotations

import duckdb
import pytest

from expectations.profiling import _pattern


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Anna Meyer", "Aa Aa"),
        ("Иванов Пётр9", "Aa Aa9"),
        ("Ærøskøbing-Åse", "Aa-Aa"),
        ("山田 太郎", "a a"),
        ("محمد ٤٢", "a 9"),
        ("a\u0301b", "aaa"),  # a combining mark
        ("ana.b@x-1.org", "a.a@a-9.a"),
        ("+47 22 33", "+9 9 9"),
    ],
)
def test_a_form_has_no_letter_and_no_digit_of_its_text(text: str, form: str) -> None:
    with duckdb.connect() as con:
        con.execute("create table t as select ? as name", [text])
        assert con.execute(f"select {_pattern('name')} from t").fetchall() == [(form,)]
