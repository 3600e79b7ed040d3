"""How far a long piece of work has come: the word that whoever does it has for whoever shows it."""

from __future__ import annotations

from typing import Literal, Protocol

Unit = Literal["file", "byte", "model", "rule", "feature set"]


class Progress(Protocol):
    """Called as often as it is handy: showing it costs nothing where nobody looks."""

    def __call__(self, done: float, total: float, unit: Unit, detail: str = "") -> None:
        """So much of the total is done, in this unit; `detail` is what is being worked on."""


def untold(done: float, total: float, unit: Unit, detail: str = "") -> None:
    """Progress that nobody looks at."""
