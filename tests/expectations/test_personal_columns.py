"""Which columns are proposed as a person's own."""

from __future__ import annotations

import pytest

from expectations.personal import personal
from warehouse.inference.result import InferredColumn

EMAILS = tuple(f"user{n}@shop.example" for n in range(20))
# Documented examples of their formats, with right check digits.
IBANS = (
    *("DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR1420041010050500013M02606"),
    *("NL91ABNA0417164300", "CH9300762011623852957", "BE68539007547034"),
)
CARDS = (
    *("4111111111111111", "5555-5555-5555-4444", "378282246310005", "6011 1111 1111 1117"),
    *("4012888888881881", "5105105105105100"),
)
PHONES = (
    *("+49 30 1234567", "+1 (212) 555-0123", "(030) 123 4567", "212-555-0147", "+442079460958"),
    "0171 5550123",
)


def why(name: str, *sample: str, kind: str = "varchar") -> str:
    return personal([InferredColumn(name, kind, sample=sample)]).get(name, "")


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        (EMAILS, "e-mail addresses"),
        (IBANS, "bank accounts (IBAN)"),
        (CARDS, "numbers of payment cards"),
        (PHONES, "phone numbers"),
    ],
)
def test_values_tell_whatever_the_name(sample: tuple[str, ...], what: str) -> None:
    count = f"{len(sample)} of {len(sample)}"
    assert why("x7", *sample) == f"{count} different values looked at are {what}"
    assert not why("x7", *sample[:4])
    assert not why("x7", *sample, *(f"other {n}" for n in range(20)))


def test_wrong_check_digits_are_no_accounts() -> None:
    assert not why("x7", *(f"{text[:-1]}{(int(text[-1]) + 1) % 10}" for text in IBANS))
    assert not why("x7", *(f"{text[:-1]}{(int(text[-1]) + 1) % 10}" for text in CARDS))
    assert why("x7", *(text.replace("-", "").replace(" ", "") for text in CARDS), kind="bigint")


@pytest.mark.parametrize(
    ("name", "value", "kind", "what"),
    [
        ("E-Mail", "a@b.de", "varchar", "an e-mail address"),
        ("customerEmail", "a@b.de", "varchar", "an e-mail address"),
        ("phone_number_2", "5550123", "bigint", "a phone number"),
        ("Telefon", "030/5550123", "varchar", "a phone number"),
        ("birth_date", "", "date", "a date of birth"),
        ("DateOfBirth", "", "timestamp", "a date of birth"),
        ("dob", "31.12.1980", "varchar", "a date of birth"),
        ("IBAN", "DE89", "varchar", "a bank account"),
        ("ssn", "078-05-1120", "varchar", "a social security number"),
        ("first_name", "Ada", "varchar", "a person's name"),
        ("LastName", "Lovelace", "varchar", "a person's name"),
        ("Vorname", "Ada", "varchar", "a person's name"),
        ("billing_address_line1", "Main St 1", "varchar", "an address"),
        ("Straße", "Am Markt 1", "varchar", "an address"),
    ],
)
def test_names_tell(name: str, value: str, kind: str, what: str) -> None:
    sample = (value,) if value else ()
    assert why(name, *sample, kind=kind) == f"its name is that of {what}"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("email_sent_at", "", "timestamp"),
        ("email", "yes", "varchar"),
        ("has_email", "", "boolean"),
        ("phone_calls", "12", "bigint"),
        ("address_id", "12345", "bigint"),
        ("mac_address", "00:1b:44:11:3a:b7", "varchar"),
        ("product_name", "Ladder", "varchar"),
        ("birth_rate", "", "double"),
        ("delivery_date", "", "date"),
        ("order_no", "212 555", "varchar"),
        ("Status", "offen", "varchar"),
        ("PLZ", "01067", "varchar"),
    ],
)
def test_names_that_only_look_alike(name: str, value: str, kind: str) -> None:
    assert not why(name, *((value,) if value else ()), kind=kind)


def test_codes_of_things_are_no_persons() -> None:
    assert not why("ean", *(f"40063813339{n:02}" for n in range(20)))
    assert not why("isbn", *(f"978-3-16-1484{n:02}-0" for n in range(20)))
    assert not why("sku", *(f"{n:03}-{n:02}-{n:04}" for n in range(20)))
    assert not why("day", *(f"2024-01-{n:02}" for n in range(1, 20)))
