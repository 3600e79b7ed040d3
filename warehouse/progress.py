"""How far a long piece of work has come: the word that whoever does it has for whoever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from warehouse.wording import counted

Unit = Literal["file", "byte", "model", "rule", "feature set"]


class Progress(Protocol):
    """Called as often as it is handy: showing it costs nothing where nobody looks."""

    def __call__(self, done: float, total: float, unit: Unit, detail: str = "") -> None:
        """So much of the total is done, in this unit; `detail` is what is being worked on."""


def untold(done: float, total: float, unit: Unit, detail: str = "") -> None:
    """Progress that nobody looks at."""


class LandingPace:
    """How far the files of a source are landed."""

    def __init__(self, files: int, progress: Progress) -> None:
        self._files, self._begun, self._bytes, self._progress = files, 0, 0, progress
        self._file = ""

    def begin(self, file: str) -> None:
        """The next file's turn."""
        self._file, self._bytes = file, 0
        self._progress(self._begun, self._files, "file", file)
        self._begun += 1

    def read(self, block: bytes) -> None:
        """So much more of it was read."""
        self._bytes += len(block)
        told = f"{self._file}, {self._bytes // 1_000_000:,} MB"
        self._progress(self._begun - 1, self._files, "file", told)


class LoadingPace:
    """How many bytes of the files that are to be loaded are; `rows` is how many rows that was."""

    def __init__(self, sizes: Sequence[int], progress: Progress) -> None:
        self.rows = 0
        self._total, self._files, self._progress = sum(sizes), len(sizes), progress
        self._done = self._begun = self._size = 0
        self._file = ""

    def begin(self, file: str, size: int) -> None:
        """The next batch's turn, of the same file as the one before or of the next."""
        if file != self._file:
            self._done += self._size
            self._begun += 1
            self._file, self._size = file, size
        of_all = f"file {self._begun:,} of {self._files:,}"
        told = f"{file}, {of_all}, {counted(self.rows, 'row')} so far"
        self._progress(self._done, self._total, "byte", told)
