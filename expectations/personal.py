"""Which columns of data never seen before are likely a person's own: by their values or names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from expectations.suggesting.formats import COMMON
from expectations.suggesting.profile import kind_of
from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.wording import counted

# Different values that a look must have seen, and the share of them that tells what they are.
ENOUGH, MOSTLY = 5, 0.9

_EMAIL = re.compile(COMMON["e-mail address"])
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[2-6]\d{12,18}")
# With a sign of what they are: the code of a country, brackets, or the groups of a country.
_PHONE = re.compile(
    r"\+\d[\d ().\-/]{6,18}\d|\(0?\d{2,5}\) ?\d[\d \-/]{4,12}|\d{3}[-. ]\d{3}[-. ]\d{4}"
    r"|0\d{1,4}[ /]\d[\d \-]{4,12}"
)
_PHONES = frozenset(
    {
        *("phone", "phones", "telephone", "tel", "telefon", "mobile", "cell", "cellphone", "fax"),
        *("telefax", "msisdn", "handy", "telefono", "teléfono", "telefone", "phonenumber"),
        *("mobil", "rufnummer", "telefonnummer", "handynummer", "téléphone"),
    }
)
_BIRTHS = frozenset(
    {
        *("birth", "birthday", "birthdate", "dob", "born", "geburtstag", "geburtsdatum"),
        *("naissance", "nacimiento", "nascimento"),
    }
)
_NAMES = frozenset(
    {
        *("surname", "forename", "firstname", "lastname", "fullname", "middlename", "givenname"),
        *("vorname", "nachname", "familienname", "prénom", "prenom", "apellido", "apellidos"),
    }
)
# Before `name`: which of a person's names, or whose.
_OF_PERSONS = frozenset(
    {
        *("first", "last", "middle", "given", "family", "full", "maiden", "customer", "client"),
        *("patient", "employee", "user", "member", "driver", "contact", "person", "student"),
        *("guest", "passenger", "cardholder", "holder"),
    }
)
_ADDRESSES = frozenset(
    {
        *("address", "addresses", "addr", "adresse", "anschrift", "street", "straße", "strasse"),
        *("direccion", "dirección", "indirizzo", "endereço"),
    }
)
_OF_MACHINES = frozenset({"mac", "web", "url", "memory", "contract", "ip"})
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")
# What a name says, by its last word, and what one value at least must have.
_NAMED: Mapping[str, tuple[frozenset[str], re.Pattern[str]]] = {
    "an e-mail address": (words.MAIL | {"courriel", "correo"}, re.compile("@")),
    "a phone number": (_PHONES, re.compile(r"(\D*\d){5}")),
    "a date of birth": (_BIRTHS, _DIGIT),
    "a bank account": (words.ACCOUNTS - {"blz", "bic"}, _DIGIT),
    "a social security number": (frozenset({"ssn", "nino", "socialsecurity"}), _DIGIT),
    "a person's name": (_NAMES, _LETTER),
    "an address": (_ADDRESSES, _LETTER),
}
# Endings that say nothing of what the values are.
_ENDINGS = words.LABEL_ENDINGS | {"date", "datum", "line"}


def personal(columns: Iterable[InferredColumn]) -> dict[str, str]:
    """The columns that are likely personal, with the reason in words; no value is repeated."""
    found = {column.name: _by_values(column) or _by_name(column) for column in columns}
    return {name: reason for name, reason in found.items() if reason}


def _by_values(column: InferredColumn) -> str:
    values = column.sample
    if len(values) < ENOUGH:
        return ""
    for what, holds in _FORMATS.items():
        count = sum(map(holds, values))
        if count >= MOSTLY * len(values):
            return f"{count:,} of {counted(len(values), 'different value')} looked at are {what}"
    return ""


def _by_name(column: InferredColumn) -> str:
    kind, parts = kind_of(column.type.upper()), _telling(column.name)
    if kind not in ("text", "integer", "time") or not parts:
        return ""
    for what, (vocabulary, looks) in _NAMED.items():
        is_named = parts[-1] in vocabulary or (what == "a person's name" and _is_of_person(parts))
        is_machines = what == "an address" and not _OF_MACHINES.isdisjoint(parts)
        fits = any(map(looks.search, column.sample)) or not column.sample
        if kind == "time":
            fits = vocabulary is _BIRTHS
        if is_named and fits and not is_machines:
            return f"its name is that of {what}"
    return ""


def _telling(name: str) -> list[str]:
    """The words of the name without endings such as those of `phone_number_2`."""
    parts = [re.sub(r"(?<=\D)\d+$", "", word) for word in words.words(name)]
    while len(parts) > 1 and (parts[-1] in _ENDINGS or parts[-1].isdecimal()):
        parts.pop()
    return parts


def _is_of_person(parts: list[str]) -> bool:
    return parts[-1] == "name" and not _OF_PERSONS.isdisjoint(parts)


def _is_email(value: str) -> bool:
    return bool(_EMAIL.fullmatch(value.strip()))


def _is_iban(value: str) -> bool:
    """Whether the check digits of the account are right (ISO 13616: the number mod 97 is 1)."""
    text = value.replace(" ", "").upper()
    if not _IBAN.fullmatch(text):
        return False
    turned = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _is_card(value: str) -> bool:
    """Whether the check digit of the card is right (ISO/IEC 7812-1: Luhn's sum mod 10 is 0)."""
    text = re.sub(r"[ -]", "", value)
    if not text.isascii() or not _CARD.fullmatch(text):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(text))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _is_phone(value: str) -> bool:
    return bool(_PHONE.fullmatch(value.strip()))


_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "e-mail addresses": _is_email,
    "bank accounts (IBAN)": _is_iban,
    "numbers of payment cards": _is_card,
    "phone numbers": _is_phone,
}
