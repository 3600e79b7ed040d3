"""Types of columns, and the words that mean null among their values."""

from __future__ import annotations

from pathlib import Path

import pytest
from looks import Look, lines, looker, types

from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Nettobetrag (€)", "decimal(18,2)"),
        ("Einzelpreis", "decimal(18,2)"),
        ("Shipping", "decimal(18,2)"),
        ("Revenue EUR", "decimal(18,2)"),
        ("MwSt. %", "double"),
        ("Steuersatz", "double"),
        ("speed", "double"),
    ],
)
def test_names_of_money(look: Look, name: str, kind: str) -> None:
    assert types(look(lines(f"id,{name}", [f"{n},{n}.5" for n in range(60)])))[name] == kind


def test_values_that_are_no_numbers_are_warned_of(look: Look) -> None:
    rows = [f"{n},{'NaN' if n == 9 else f'{n % 9 + 11}.531'}" for n in range(60)]
    found = look(lines("id,value", rows))
    assert types(found)["value"] == "double"
    assert len(found.warnings) == 1
    assert "column value: 1 value is NaN" in found.warnings[0]


def test_a_code_that_looks_like_a_null_stays(look: Look) -> None:
    codes = ["DE", "FR", "NA", "IT"]
    rows = [f"{i},{codes[i % 4]},{'NA' if i % 5 == 0 else i}" for i in range(100)]
    found = look(lines("id,country,score", rows))
    assert "nulls" not in found.options
    assert types(found)["score"] == "varchar"
    assert "is a value in another column" in " ".join(found.warnings)


def test_quarantined_nulls_are_typed_when_they_are_few(look: Look) -> None:
    rows = [f"{i},{'unknown' if i == 5 else i * 2},{['unknown', 'red'][i % 2]}" for i in range(500)]
    found = look(lines("id,size,colour", rows))
    assert types(found) == {"id": "bigint", "size": "bigint", "colour": "varchar"}
    assert found.columns[1].bad_count == 1
    assert found.columns[1].null_count == 0


def test_columns_are_described(look: Look) -> None:
    rows = [f"{i},{['red', 'blue', ''][i % 3]}" for i in range(60)]
    identity, colour = look(lines("id,colour", rows)).columns
    assert (identity.minimum, identity.maximum, identity.distinct_count) == ("0", "59", 60)
    assert (colour.null_count, colour.values) == (20, ("blue", "red"))
    assert set(colour.examples) <= {"red", "blue"}


def test_a_number_late_in_the_file_is_seen(look: Look) -> None:
    rows = [f"{i},{i}" for i in range(7000)] + [f"{7000 + i},{i}.5" for i in range(200)]
    rows += [f"{7200 + i},x" for i in range(2)]
    found = look(lines("id,size", rows))
    assert types(found)["size"] == "double"
    assert found.columns[1].bad_count == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "varchar") for name in ("zip", "Zip Code", "billingZip", "phone", "phone_2")),
        *((name, "varchar") for name in ("EAN", "ean13", "gtin", "upc_code", "ISBN", "iban")),
        *((name, "varchar") for name in ("plz", "Mobile No", "fips")),
        *((name, "bigint") for name in ("zip_count", "phone_calls", "mobile_users", "code")),
    ],
)
def test_labels_of_digits_are_text(look: Look, name: str, kind: str) -> None:
    rows = [f"{n},{4006381333931 + n * 37}" for n in range(60)]
    found = look(lines(f"order_id,{name}", rows))
    assert types(found)[name] == kind
    assert found.key == ("order_id",)


def test_a_label_may_be_the_key(look: Look) -> None:
    found = look(lines("ean,price", [f"{4006381333931 + n},{n}.50" for n in range(60)]))
    assert (types(found)["ean"], found.key) == ("varchar", ("ean",))


def test_zero_with_a_point_is_no_leading_zero(look: Look) -> None:
    found = look(lines("id,size", [f"{n},{['1', '0.0', '2.0'][n % 3]}" for n in range(60)]))
    assert types(found)["size"] == "double"


def test_a_single_letter_is_no_flag(look: Look) -> None:
    found = look(lines("id,flag", [f"{n},{'T' if n % 9 == 0 else ''}" for n in range(90)]))
    assert types(found)["flag"] == "varchar"


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("discount", ["0.2", "0.15", "0"], "double"),
        ("discount", ["2.00", "15.50", "0.00"], "decimal(18,2)"),
        ("tax", ["-0.50", "0.50", "0.00"], "decimal(18,2)"),
        ("total_par", ["12.3456", "9.1", "8.25"], "double"),
        ("USD", ["1.0842", "1.0791", "1.0800"], "double"),
        ("unit_price", ["1.0842", "1.0791", "1.0800"], "decimal(18,4)"),
    ],
)
def test_shares_and_rates_are_no_money(look: Look, name: str, values: list[str], kind: str) -> None:
    found = look(lines(f"id,{name}", [f"{n},{values[n % 3]}" for n in range(60)]))
    assert types(found)[name] == kind


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("net_amount", ["1.50", "(2.50)", "7.25"], "67% of its first different values are numbers"),
        ("day", ["2024-01-05", "02/16/2024", "2024-03-09"], "are times"),
        ("grade", ["1", "2", "3+"], "but not '3+'"),
    ],
)
def test_text_that_is_nearly_something_else_is_told(
    look: Look, name: str, values: list[str], words: str
) -> None:
    found = look(lines(f"id,{name}", [f"{n},{values[n % 3]}" for n in range(60)]))
    assert types(found)[name] == "varchar"
    (warning,) = found.warnings
    assert f"column {name} stays text" in warning
    assert words in warning


@pytest.mark.parametrize("name", ["ticket_no", "zip", "comment"])
def test_mixed_codes_and_words_are_not(look: Look, name: str) -> None:
    found = look(lines(f"id,{name}", [f"{n},{['A', 'B-1', 7][n % 3]}" for n in range(60)]))
    assert found.warnings == ()


def test_versions_are_text(look: Look) -> None:
    found = look(lines("id,version", [f"{n},1.{n % 12}" for n in range(60)]))
    assert types(found)["version"] == "varchar"
