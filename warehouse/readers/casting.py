"""From text to types, strictly: a value that would be rounded, cut or shifted is not of its type.

Testing each value strictly costs more than casting it. So each type has a quick cast, and a test
that is cheap and doubts more values than it must; only those are cast strictly. What a quick cast
gives for a value that is not doubted is what the strict one would give.
"""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.duck import identifier, quoted
from warehouse.sources import EPOCHS, SPELLINGS, Decimal, Source, Thousands

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
FRACTION_DIGITS = {
    "TIMESTAMP_S": 0,
    "TIMESTAMP_MS": 3,
    "TIMESTAMP_NS": 9,
    "TIMESTAMP": 6,
    "TIMESTAMP WITH TIME ZONE": 6,
    "TIME": 6,
}
EXACT_IN_DOUBLE = 1 << 53
DIGITS_EXACT_IN_DOUBLE = 15
# What may be a time in microseconds since 1970: the years 1 to 9999.
TIMES = (-62_135_596_800_000_000, 253_402_300_799_999_999)
VALUE = "{value}"
# Times without an offset, which a cast to TIMESTAMP would drop.
PLAIN_TIMES = tuple(f"____-__-_____:__:__{fraction}" for fraction in ("", ".___", ".______"))


@dataclass(frozen=True)
class Cast:
    """SQL that types a text: `quick` for values that the test `doubt` lets pass, `strict` for all.

    `strict` is null where the value is not of the type; `doubt` is empty for text, and has {value}
    where the quick value stands.
    """

    text: str
    quick: str
    strict: str
    doubt: str


def declared_cast(source: Source, name: str) -> Cast:
    """How the text column `name` becomes what sources.yml declares."""
    declared = source.declared(name)
    text = identifier(name)
    if declared is None:
        return text_cast(text, "VARCHAR")
    is_epoch = declared.format in EPOCHS
    if declared.format and not is_epoch:
        # A format with an offset gives a TIMESTAMPTZ, which is UTC as a TIMESTAMP.
        cast = f"try_strptime({text}, {quoted(declared.format)})::{declared.type}"
        return Cast(text, cast, cast, f"{text} is not null and {VALUE} is null")
    if source.thousands and (is_epoch or is_number(declared.type)):
        grouped = quoted(grouped_number(source.thousands, source.decimal))
        marks = quoted(spelt(source.thousands))
        text = f"if(regexp_matches({text}, {grouped}), translate({text}, {marks}, ''), {text})"
    if source.decimal == "," and (is_epoch or is_number(declared.type)):
        # What a point means that parts no thousands cannot be told, so the cast fails.
        text = f"replace(replace({text}, '.', '?'), ',', '.')"
    if declared.format and is_epoch:
        cast = epoch_cast(text, declared.format)
        return Cast(text, cast, cast, f"{text} is not null and {VALUE} is null")
    return text_cast(text, declared.type)


def epoch_cast(text: str, form: str) -> str:
    """SQL for the text that counts since 1970 as a TIMESTAMP, null unless to the microsecond.

    `form` is one of EPOCHS; the text may have a fraction.
    """
    finer = FRACTION_DIGITS["TIMESTAMP"] - EPOCHS[form]
    if finer >= 0:
        micros = f"({strict_cast(text, f'DECIMAL(24,{finer})')} * {10**finer})::hugeint"
    else:
        count, unit = strict_cast(text, "DECIMAL(21,0)"), 10**-finer
        micros = f"(case when ({count}) % {unit} = 0 then ({count})::hugeint // {unit} end)"
    low, high = TIMES
    return f"case when {micros} between {low} and {high} then make_timestamp({micros}::bigint) end"


def grouped_number(thousands: Thousands, decimal: Decimal) -> str:
    """A regular expression for a whole number text whose thousands are parted by the mark."""
    mark, point = f"[{spelt(thousands)}]", f"[{decimal}]"
    return rf"^ *[-+]?[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+(?:{point}[0-9]*)? *$"


def spelt(thousands: Thousands) -> str:
    """The characters that are written for a mark of thousands."""
    return SPELLINGS.get(thousands, thousands)


def text_cast(text: str, to: str) -> Cast:
    """How the SQL text `text` becomes the type `to`."""
    if to == "VARCHAR":
        return Cast(text, text, text, "")
    strict, quick = strict_cast(text, to), f"try_cast({text} as {to})"
    doubts = [f"{VALUE} is null"]
    if to in INTEGERS:
        # A value that is rounded is written with more characters than what comes of it.
        doubts.append(f"strlen({VALUE}::varchar) <> strlen({text})")
    elif to.startswith("DECIMAL"):
        doubts.append(f"strlen({text}) > {DIGITS_EXACT_IN_DOUBLE}")
        doubts.append(f"try_cast({text} as double) <> {VALUE}::double")
    elif to in ("DOUBLE", "FLOAT"):
        doubts.append(f"isinf({VALUE})")
    elif to == "DATE":
        doubts.append(f"strlen({text}) > {len('2026-01-31')}")
    elif to == "TIMESTAMP":
        plain = " or ".join(f"{text} like {quoted(shape)}" for shape in PLAIN_TIMES)
        quick = f"case when {plain} then {quick} else {strict} end"
    else:
        quick = strict
    return Cast(text, quick, strict, f"{text} is not null and ({' or '.join(doubts)})")


def failed(casts: dict[str, Cast]) -> str:
    """SQL that names the columns whose text is not of their type; null when there are none.

    Beside the texts stand their quick values, `_clearwater_value0` and so on, in the same order.
    """
    values = {name: f"_clearwater_value{n}" for n, name in enumerate(casts)}
    doubted = {name: cast for name, cast in casts.items() if cast.doubt}
    if not doubted:
        return "null::varchar"
    doubt = " or ".join(
        f"({cast.doubt.replace(VALUE, values[name])})" for name, cast in doubted.items()
    )
    listed = ", ".join(
        f"case when {cast.text} is not null and {cast.strict} is null then {quoted(name)} end"
        for name, cast in doubted.items()
    )
    return f"case when {doubt} then nullif(concat_ws(', ', {listed}), '') end"


def is_number(type_name: str) -> bool:
    """Whether a DuckDB type is one of numbers."""
    return type_name in INTEGERS | {"DOUBLE", "FLOAT"} or type_name.startswith("DECIMAL")


def strict_cast(text: str, to: str) -> str:
    """SQL that types the SQL text `text`, null where that would change or lose the value."""
    if to == "VARCHAR":
        return text
    # DuckDB's cast to TIMESTAMP drops an offset; TIMESTAMPTZ in UTC heeds it.
    utc = f"try_cast({text} as timestamptz)::timestamp"
    cast = utc if to == "TIMESTAMP" else f"try_cast({text} as {to})"
    changed = _changed(text, to, cast, utc)
    return f"case when {changed} then null else {cast} end" if changed else cast


def _changed(text: str, to: str, cast: str, utc: str) -> str:
    """SQL that `cast` rounds, cuts or shifts the value; empty where it never does."""
    scientific = f"contains(lower({text}), 'e')"
    double = f"try_cast({text} as double)"
    if to in INTEGERS:
        # DuckDB rounds '1.5' to 2; only an integral value may become an integer.
        return (
            f"(contains({text}, '.') or {scientific})"
            f" and not regexp_matches({text}, '^[^.eE]*\\.0*\\s*$')"
            f" and not (abs({double}) < {EXACT_IN_DOUBLE} and {double} = {cast}::double)"
        )
    if to.startswith("DECIMAL"):
        digits = int(to.rstrip(")").split(",")[1])
        return f"{_finer(text, digits)} or ({scientific} and {double} <> {cast}::double)"
    if to in ("DOUBLE", "FLOAT"):
        return f"isinf({cast}) and not contains(lower({text}), 'inf')"
    if to == "DATE":
        return f"strlen({text}) > 10 and {utc} is distinct from {cast}::timestamp"
    if to in FRACTION_DIGITS:
        finer = _finer(text, FRACTION_DIGITS[to])
        return f"{finer} or regexp_matches({text}, '[-+Zz]')" if to == "TIME" else finer
    return ""


def _finer(text: str, digits: int) -> str:
    return f"regexp_matches({text}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"
