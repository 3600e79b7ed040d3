"""The marks in numbers: which parts decimals, and which thousands."""

from __future__ import annotations

from pathlib import Path

import pytest
from looks import Look, lines, looker, types

from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


def written(number: float, marks: str, digits: int = 2) -> str:
    """The number as a report has it, with `marks` for thousands and decimals."""
    return f"{number:,.{digits}f}".translate(str.maketrans(",.", marks))


@pytest.mark.parametrize(
    ("marks", "options"),
    [
        (",.", {"thousands": ","}),
        (".,", {"thousands": ".", "decimal": ","}),
        (" ,", {"thousands": " ", "decimal": ","}),
        ("\u00a0,", {"thousands": " ", "decimal": ","}),
        ("\u202f,", {"thousands": " ", "decimal": ","}),
        ("'.", {"thousands": "'"}),
        ("\u2019.", {"thousands": "'"}),
    ],
)
def test_thousands_are_told(look: Look, marks: str, options: dict[str, str]) -> None:
    rows = [f"{i};{written(i * 97.25, marks)};{written(i * 41, marks, 0)}" for i in range(90)]
    found = look(lines("id;amount;visitors", rows))
    assert types(found) == {"id": "bigint", "amount": "decimal(18,2)", "visitors": "bigint"}
    assert found.options == {"delimiter": ";"} | options
    assert [column.maximum for column in found.columns] == ["89", "8655.25", "3649"]
    assert [column.bad_count for column in found.columns] == [0, 0, 0]
    assert not any("text" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("values", "kind", "thousands"),
    [
        (["1,234,567", "12,345", "345,678,901"], "bigint", ","),
        (["1.234.567", "12.345", "345.678.901"], "bigint", "."),
        (["1 234", "12 345", "999", "345 678 901"], "bigint", " "),
        (["950", "1,230", "12,500", "812", "3,471"], "bigint", ","),  # none is written like 950,000
        (["950", "1.230", "12.500", "812", "3.471"], "bigint", "."),
        (["1,234.5", "12,345.25", "3,456.75", "12.5"], "double", ","),
        (["1,234.5", "12,345.25", "345,67.5", "12.5"], "varchar", None),
        (["12'34'567", "1'23'456", "3'45'678"], "varchar", None),
        (["1.234", "1.235", "2.236", "9.871"], "double", None),
        (["0,123", "1,235", "2,236", "9,871"], "double", None),
        (["192.168.100.101", "192.168.100.102", "192.168.101.103"], "varchar", None),
        (["123.456.789", "987.654.321", "564.738.291"], "varchar", None),
        (["560 001", "110 002", "400 003", "600 004"], "varchar", None),
        (["01.02.2024", "03.02.2024", "17.02.2024"], "date %d.%m.%Y", None),
    ],
)
def test_thousands_need_proper_groups(
    look: Look, values: list[str], kind: str, thousands: str | None
) -> None:
    rows = [f"{i};{values[i % len(values)]}" for i in range(60)]
    found = look(lines("id;size", rows))
    assert types(found)["size"] == kind
    assert found.options.get("thousands") == thousands


def test_thousands_that_come_late_are_told(look: Look) -> None:
    found = look(lines("id;price", [f"{i};{i / 8 + 1:,.3f}" for i in range(1, 9000)]))
    assert types(found)["price"] == "decimal(18,3)"
    assert found.options == {"delimiter": ";", "thousands": ","}
    assert found.columns[1].maximum == "1125.875"
    assert [evidence.about for evidence in found.evidence].count("thousands") == 1


def test_three_digits_behind_one_comma_are_not_guessed(look: Look) -> None:
    rows = [f"{i};{i + 1},{i * 7 % 900 + 100}" for i in range(60)]
    found = look(lines("id;size", rows))
    assert types(found)["size"] == "varchar"
    assert found.options == {"delimiter": ";"}
    assert "nothing tells whether the comma in '1,100'" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("other", "kind", "options"),
    [
        ("{}.5", "bigint", {"thousands": ","}),
        ("{},5", "double", {"decimal": ","}),
    ],
)
def test_another_column_settles_what_a_comma_is(
    look: Look, other: str, kind: str, options: dict[str, str]
) -> None:
    rows = [f"{i};{i + 1},{i * 7 % 900 + 100};{other.format(i)}" for i in range(60)]
    found = look(lines("id;size;weight", rows))
    assert types(found) == {"id": "bigint", "size": kind, "weight": "double"}
    assert found.options == {"delimiter": ";"} | options


def test_another_column_settles_what_a_point_is(look: Look) -> None:
    rows = [f"{i};{i + 1}.{i * 7 % 900 + 100};{i},5" for i in range(60)]
    found = look(lines("id;size;weight", rows))
    assert types(found) == {"id": "bigint", "size": "bigint", "weight": "double"}
    assert found.options == {"delimiter": ";", "decimal": ",", "thousands": "."}
    alone = look(lines("id;size", [row.rpartition(";")[0] for row in rows]))
    assert (types(alone)["size"], alone.options) == ("double", {"delimiter": ";"})
    assert "the point in '1.100' is taken to part decimals" in " ".join(alone.warnings)


def test_columns_of_other_marks_stay_text(look: Look) -> None:
    rows = [
        f"{i};{written(i * 97.25, ',.')};{written(i * 97.25, ' .')};{written(i * 9.75, '.,')}"
        for i in range(90)
    ]
    found = look(lines("id;amount;paid;weight", rows))
    assert types(found) == {
        "id": "bigint",
        "amount": "decimal(18,2)",
        "paid": "varchar",
        "weight": "varchar",
    }
    said = " ".join(found.warnings)
    assert "column paid parts thousands, such as '1 069.75': it stays text" in said
    assert "decimal commas in weight, but points elsewhere: they stay text" in said
