"""What identifies a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.key_sets import Parts, could_be_unique
from warehouse.inference.later_files import (
    SAME_THING,
    again,
    are_same_things,
    infer_write,
    moves,
    parts_files,
)
from warehouse.inference.result import FILE, InferredColumn, Notes
from warehouse.inference.series import why_no_series
from warehouse.inference.table import Table, is_time
from warehouse.readers.casting import INTEGERS
from warehouse.wording import counted

SMALL = 50
NEARLY = 0.99
UNNAMED = re.compile(r"column_\d+")
UNTOLD = "one file cannot tell; snapshot if each file is complete"


@dataclass(frozen=True)
class Key:
    """What identifies a row, and how a later row of the same key is to be written."""

    columns: tuple[str, ...] = ()
    write: str = "append"


def infer_key(table: Table, notes: Notes) -> Key:
    """The smallest set of columns that tells all rows apart, none where that is by chance."""
    if table.row_count < 2:
        notes.decide(
            "key", "none", "one row tells none" if table.row_count else "there are no rows"
        )
        return Key()
    search = _Search(table, notes)
    for step in (
        search.own_identifier,
        search.nearly_unique,
        search.changed_alone,
        search.several_columns,
        search.changed_in_later_files,
        search.nearly_unique_first,
        search.first_column,
        search.series,
    ):
        key = step()
        if key is not None:
            return key
    notes.decide("key", "none", search.why_none)
    notes.warn(
        "there is no key, and files are appended: a corrected file that comes again is loaded in"
        " full a second time; give a key"
    )
    if table.file_count == 1:
        notes.decide("write", "append", UNTOLD)
    return Key()


class _Search:
    """The search for a key, step by step; each step gives a key or None."""

    def __init__(self, table: Table, notes: Notes) -> None:
        self.table = table
        self.notes = notes
        self.parts = Parts(table)
        self.why_none = "no identifier, alone or with a line number or date, is unique"

    def _chosen(self, names: tuple[str, ...], because: str) -> Key:
        table = self.table
        write = "append"
        if table.file_count > 1:
            write = infer_write(table, names, self.notes)
        else:
            self.notes.decide("write", write, UNTOLD)
        copies = table.row_count - self.table.different_rows() if write == "append" else 0
        if copies:
            because = f"{because}; {copies:,} rows are exact copies of others"
        self.notes.decide("key", ", ".join(names), because)
        return Key(names, write)

    def own_identifier(self) -> Key | None:
        """A column whose name is an identifier's, and whose values are unique."""
        table = self.table
        for number, column in enumerate(self.parts.ids):
            by_chance = table.row_count < SMALL and table.identifying(column) < 3 and number > 0
            if by_chance or not could_be_unique(column, table.row_count):
                continue
            if self.table.is_unique((column.name,), column.null_count):
                self._warn_of_nulls(column)
                of = (
                    f"of {table.row_count:,} rows"
                    if table.file_count == 1
                    else (f"of {table.row_count:,} rows in {table.file_count} files")
                )
                return self._chosen((column.name,), f"an identifier by name, unique {of}")
        return None

    def _warn_of_nulls(self, column: InferredColumn) -> None:
        if column.null_count:
            self.notes.warn(
                f"{counted(column.null_count, 'row')} without {column.name}, which is the key,"
                " will go to the quarantine"
            )

    def nearly_unique(self) -> Key | None:
        """The table's own identifier, that a few rows share although they differ."""
        own = [c for c in self.parts.ids if self.table.identifying(c) == 3]
        return self._nearly_unique(own[0]) if own else None

    def nearly_unique_first(self) -> Key | None:
        """The same of the first column, if its name is that of any identifier."""
        first = self.table.columns[0]
        return self._nearly_unique(first) if first in self.parts.ids else None

    def _nearly_unique(self, column: InferredColumn) -> Key | None:
        table = self.table
        if self.parts.lines or table.row_count < 2 * SMALL:
            return None
        names = (column.name,)
        found = table.distinct(names)
        if found < NEARLY * self.table.different_rows():
            return None
        if table.file_count > 1 and (key := self._changed(names)):
            return key
        changes = [c.name for c in table.columns if words.says(c.name, words.CHANGES)]
        more = self.table.different_rows() - found - column.null_count
        rows = counted(more, "row")
        if changes:
            because = f"{rows} with another's key and other values; {changes[0]} tells when"
            self.notes.decide("write", "merge", because)
        else:
            self.notes.warn(
                f"{rows} with another row's {names[0]} and other values: all but the first"
                " of each will go to the quarantine; with `write: merge` the last would win"
            )
            if table.file_count == 1:
                self.notes.decide("write", "append", UNTOLD)
        self.notes.decide("key", names[0], f"an identifier by name, unique but for {rows}")
        self._warn_of_nulls(column)
        return Key(names, "merge" if changes else "append")

    def several_columns(self) -> Key | None:
        """Identifiers with each other, a line number or a date, unique together."""
        for columns in self.parts.likely_sets():
            names = tuple(column.name for column in columns)
            if self.table.is_unique(names):
                because = f"unique together over {self.table.row_count:,} rows, none alone"
                if any(column.type.upper() == "TIME" for column in columns):
                    because += "; a local clock shows one hour of the year twice"
                return self._chosen(names, because)
        return None

    def changed_alone(self) -> Key | None:
        """An identifier that comes again in later files, with its row's dates as they were."""
        first = self.table.columns[0]
        for column in self.parts.ids:
            is_likely = self.table.identifying(column) > 1 or column == first
            if is_likely and (key := self._changed_thing(column)):
                return key
        return None

    def _changed_thing(self, column: InferredColumn) -> Key | None:
        """The column as key of things that change, unless each file is one part of a series.

        A date that moves on with each file, or a shop of its own in each, belongs to the key.
        """
        table = self.table
        if table.file_count == 1:
            return None
        comes_again = again(table, (column.name,)) >= SAME_THING * column.distinct_count
        if comes_again and any(parts_files(table, c) for c in self.parts.fit if c != column):
            return None
        if any(moves(table, column.name, c.name) for c in self.parts.periods):
            return None
        return self._changed((column.name,))

    def changed_in_later_files(self) -> Key | None:
        """An identifier that is unique within each file, but comes again in others."""
        if self.table.file_count == 1:
            return None
        sets = [(column,) for column in self.parts.ids] + list(combinations(self.parts.ids, 2))
        for columns in sets:
            key = self._changed(tuple(column.name for column in columns))
            if key:
                return key
        return None

    def _changed(self, names: tuple[str, ...]) -> Key | None:
        table = self.table
        if table.distinct((*names, FILE)) != self.table.different_rows(by_file=True):
            return None
        if table.distinct(names) == self.table.different_rows() or not are_same_things(
            table, names
        ):
            return None  # the identifier begins anew in each file
        return self._chosen(names, f"unique within each of {table.file_count} files")

    def first_column(self) -> Key | None:
        """The leftmost column of many rows, if it is unique and counts or names them."""
        table = self.table
        first = table.columns[0]
        is_shared = words.says(first.name, words.SHARED_NAMES)
        if table.row_count < SMALL or first not in self.parts.fit or is_time(first) or is_shared:
            return None
        if not could_be_unique(first, table.row_count) or first.null_count:
            return None
        if first.type.upper() == "VARCHAR" and not self._is_code(first):
            return None
        if first.type.upper() in INTEGERS:
            steps = int(first.maximum or 0) - int(first.minimum or 0) + 1
            if steps != table.row_count:
                return None
            if UNNAMED.fullmatch(first.name) and first.minimum in ("0", "1"):
                self.why_none = f"{first.name} only numbers the rows, in the next file anew"
                return None
        if not self.table.is_unique((first.name,)):
            return self._changed_thing(first)
        return self._chosen((first.name,), f"the first column, unique of {table.row_count:,} rows")

    def _is_code(self, column: InferredColumn) -> bool:
        """Whether texts are made to tell things apart, as the names of people are not."""
        if words.says(column.name, words.SUBJECTS | words.MAIL) or len(self.table.columns) == 1:
            return True
        name = identifier(column.name)
        blanks = f"select count(*) from {self.table.relation} where contains({name}, ' ')"
        return not words.is_own_words(column.name) and not self.table.number(blanks)

    def series(self) -> Key | None:
        """A time that is unique, with what is measured, if that is one thing in all rows."""
        numbered = [c for c in self.parts.periods if c.type.upper() != "VARCHAR"]
        for column in [c for c in numbered if could_be_unique(c, self.table.row_count)]:
            if not self.table.is_unique((column.name,)):
                continue
            if why_not := why_no_series(self.table, column):
                self.why_none = f"{column.name} is unique, but {why_not}"
                continue
            names = (*(c.name for c in self.parts.constant), column.name)
            because = "no identifier, but one row for each; as a series of measurements has it"
            return self._chosen(names, because)
        return None
