"""A rule that is proposed, with what speaks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from warehouse.onboarding.yaml_text import Inline

# From so many rows on, what never was may be called unusual; from the second on, an error.
ENOUGH, PLENTY = 100, 1000
LONGEST_LIST = 80


@dataclass(frozen=True)
class Proposal:
    """A rule as YAML has it, without its id, of which `suffix` is the end; and the evidence."""

    suffix: str
    check: dict[str, Any]
    severity: str
    reason: str
    evidence: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule names by themselves."""
        named = self.check.get("columns", [])
        return tuple(named) or ((self.check["column"],) if "column" in self.check else ())

    def on(self, columns: list[str]) -> Proposal:
        """The same rule on other columns."""
        kept = {key: value for key, value in self.check.items() if key not in named(["", ""])}
        kept.pop("column", None)
        return replace(self, check={"check": kept.pop("check"), **named(columns), **kept})


def named(columns: list[str]) -> dict[str, Any]:
    """One column or several, as a rule names them."""
    if len(columns) == 1:
        return {"column": columns[0]}
    return {"columns": Inline(columns) if len(", ".join(columns)) < LONGEST_LIST else columns}


def share_below(exceptions: int, rows: int, of: float = 3.0) -> float:
    """A `mostly` that leaves room for `of` times the exceptions there were, to one digit."""
    share = of * exceptions / rows
    digits = -math.floor(math.log10(share))
    scale: int = 10**digits
    return round(1 - math.ceil(share * scale) / scale, digits)


def rounded_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … that is no less than the value, which is above 0."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-12))


def plain(value: float | Decimal, *, is_whole: bool) -> int | float:
    """The number as YAML writes it."""
    return int(value) if is_whole or float(value).is_integer() else float(value)


def percent(part: int, whole: int) -> str:
    """A share in words, such as `0.25%`; never 0 for some nor 100 for not all."""
    text = f"{100 * part / whole:.3g}"
    return f"{'99.99' if text == '100' and part < whole else text}%"
