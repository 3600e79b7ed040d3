"""What identifies a row, when it happened, and how later files go with earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice, product

import duckdb

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.result import FILE, InferredColumn, Notes, counted
from warehouse.readers.casting import INTEGERS

SMALL, TINY = 50, 10
LONGEST_KEY = 100
NEARLY = 0.99
ALONE = 0.95  # of the rows: moments that are this different tell rows apart without more
MOST_NULLS = 0.01
OPEN = 0.6  # approximate counts are up to a third off
CHECKS = 40
PREFIX_ROWS = 20_000
COMPARED_KEYS = 5000
SAME_THING, FULL_DUMP = 0.5, 0.8
REGULAR = 0.9
PANEL, PANEL_OF_MOMENTS = 0.5, 0.8
UNTOLD = "one file cannot tell; snapshot if each file is complete"


@dataclass(frozen=True)
class Key:
    """What identifies a row, and how a later row of the same key is to be written."""

    columns: tuple[str, ...] = ()
    write: str = "append"


@dataclass(frozen=True)
class Table:
    """A typed relation of `row_count` rows out of `file_count` files, and its columns.

    `relation` may stand after `from`; with more than one file it has the column FILE. `dataset`
    is the second part of the source's name, such as `orders`. Some of the files lack the columns
    `partial`.
    """

    con: duckdb.DuckDBPyConnection
    relation: str
    dataset: str
    columns: tuple[InferredColumn, ...]
    row_count: int
    file_count: int = 1
    file_names: tuple[str, ...] = ()
    partial: frozenset[str] = frozenset()

    @property
    def needed(self) -> list[InferredColumn]:
        """The columns that may be key or time: the loader refuses a file that lacks one of them."""
        return [column for column in self.columns if column.name not in self.partial]

    def number(self, sql: str) -> float:
        """The one number that the SQL gives; 0 for null."""
        row = self.con.execute(sql).fetchone()
        assert row is not None
        return float(row[0] or 0)

    def distinct(self, names: tuple[str, ...], relation: str = "") -> int:
        """How many different rows of these columns there are, nulls left out of a single one."""
        listed = ", ".join(map(identifier, names))
        sql = listed if len(names) == 1 else f"hash({listed})"
        return int(self.number(f"select count(distinct {sql}) from {relation or self.relation}"))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def identifying(self, column: InferredColumn) -> int:
        """How surely the column's name is an identifier's; 3 is the table's own."""
        is_first_text = column == self.columns[0] and column.type.upper() == "VARCHAR"
        if is_first_text and words.is_named_for(column.name, self.dataset):
            return 1
        return words.identifying(column.name, self.dataset)


def infer_key(table: Table, notes: Notes) -> Key:
    """The smallest set of columns that tells all rows apart, none where that is by chance."""
    if not table.row_count:
        notes.decide("key", "none", "there are no rows")
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
        search.moment,
    ):
        key = step()
        if key is not None:
            return key
    notes.decide("key", "none", "no identifier, alone or with a line number or date, is unique")
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
        fit = [c for c in table.needed if _may_identify(c, table.row_count)]
        ranked = sorted(fit, key=lambda c: -table.identifying(c))  # stable: the leftmost first
        self.fit = fit
        self.ids = [c for c in ranked if table.identifying(c) and not _is_time(c)][:6]
        self.measured = [c for c in fit if self._is_measured(c)][:4]
        self.lines = [
            c for c in fit if words.says(c.name, words.LINES) and c.type.upper() in INTEGERS
        ]
        self.periods = [c for c in fit if self._is_period(c)][:4]
        self._rows: dict[bool, int] = {}

    def _is_measured(self, column: InferredColumn) -> bool:
        """Whether the column names what is measured again and again, such as a device."""
        if _is_time(column) or column.null_count:
            return False
        if self.table.identifying(column):
            return words.says(column.name, words.MEASURING)
        return words.says(column.name, words.MEASURING - words.MEASURED_IN)

    def _is_period(self, column: InferredColumn) -> bool:
        if words.says(column.name, words.CHANGES | words.NEVER):
            return False
        is_part = words.says(column.name, words.PERIODS) and column.type.upper() in INTEGERS
        return column.null_count == 0 and (_is_time(column) or is_part)

    def rows(self, *, by_file: bool = False) -> int:
        """The number of rows that differ in any column, over all files or within each."""
        if by_file not in self._rows:
            names = self.table.names + ((FILE,) if by_file and self.table.file_count > 1 else ())
            self._rows[by_file] = (
                self.table.distinct(names)
                if len(names) > 1
                else (
                    int(
                        self.table.number(
                            f"select count(*) from (select distinct {identifier(names[0])}"
                            f" from {self.table.relation})"
                        )
                    )
                )
            )
        return self._rows[by_file]

    def _is_unique(self, names: tuple[str, ...], nulls: int = 0) -> bool:
        """Whether rows of the same values are the same in all columns."""
        found = self.table.distinct(names)
        if found == self.table.row_count - nulls:
            return True
        # Exact duplicates are already known to the loader: they speak against no key.
        return found >= self.table.row_count / 2 and found == self.rows() - nulls

    def _chosen(self, names: tuple[str, ...], because: str) -> Key:
        table = self.table
        write = "append"
        if table.file_count > 1:
            write = _write(table, names, self.notes)
        else:
            self.notes.decide("write", write, UNTOLD)
        copies = table.row_count - self.rows() if write == "append" else 0
        if copies:
            because = f"{because}; {copies:,} rows are exact copies of others"
        self.notes.decide("key", ", ".join(names), because)
        return Key(names, write)

    def own_identifier(self) -> Key | None:
        """A column whose name is an identifier's, and whose values are unique."""
        table = self.table
        for number, column in enumerate(self.ids):
            by_chance = table.row_count < SMALL and table.identifying(column) < 3 and number > 0
            if by_chance or not _could_be_unique(column, table.row_count):
                continue
            if self._is_unique((column.name,), column.null_count):
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
        own = [c for c in self.ids if self.table.identifying(c) == 3]
        return self._nearly_unique(own[0]) if own else None

    def nearly_unique_first(self) -> Key | None:
        """The same of the first column, if its name is that of any identifier."""
        first = self.table.columns[0]
        return self._nearly_unique(first) if first in self.ids else None

    def _nearly_unique(self, column: InferredColumn) -> Key | None:
        table = self.table
        if self.lines or table.row_count < 2 * SMALL:
            return None
        names = (column.name,)
        found = table.distinct(names)
        if found < NEARLY * self.rows():
            return None
        if table.file_count > 1 and (key := self._changed(names)):
            return key
        changes = [c.name for c in table.columns if words.says(c.name, words.CHANGES)]
        more = self.rows() - found - column.null_count
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
        for columns in self._likely_sets():
            names = tuple(column.name for column in columns)
            if self._is_unique(names):
                return self._chosen(
                    names, f"unique together over {self.table.row_count:,} rows, none alone"
                )
        return None

    def _likely_sets(self) -> Iterator[tuple[InferredColumn, ...]]:
        """Sets worth a full count, the likelier first."""
        possible = (s for s in self._sets() if self._may_be_unique(s))
        return islice(possible, CHECKS)

    def _may_be_unique(self, columns: tuple[InferredColumn, ...]) -> bool:
        combined = 1
        for column in columns:
            combined *= column.distinct_count
        if combined < OPEN * self.rows():
            return False
        head = f"(from {self.table.relation} limit {PREFIX_ROWS})"
        names = tuple(column.name for column in columns)
        return self.table.distinct(names, head) == self.table.distinct(self.table.names, head)

    def _sets(self) -> Iterator[tuple[InferredColumn, ...]]:
        ids, lines, periods = self.ids, self.lines, self.periods
        kinds = self._kinds()
        days = [c for c in periods if not _is_moment(c)]
        moments = [c for c in periods if _is_moment(c)]
        sets: list[tuple[InferredColumn, ...]] = [
            *product(ids, lines),
            *combinations(ids, 2),
            *(pair for pair in product(ids, periods) if self._is_series(*pair)),
            *product(self.measured, moments),
            *((a, b, c) for (a, b), c in product(product(self.measured, kinds), moments)),
            *((a, b, c) for (a, b), c in product(combinations(self.measured, 2), moments)),
            *(pair for pair in product(kinds, periods) if self._is_panel(pair)),
            *(pair for pair in product(kinds, ids) if self._is_panel(pair)),
            *(pair for pair in combinations(kinds, 2) if self._is_panel(pair)),
            *combinations([c for c in periods if not _is_time(c)], 2),
            *((a, b, c) for (a, b), c in product(combinations(ids, 2), [*lines, *days])),
            *combinations(ids, 3),
            *((a, b, c) for a, (b, c) in product(ids + kinds, combinations(days, 2))),
            *(
                (a, b, c)
                for (a, b), c in product(combinations(kinds, 2), days)
                if self._is_panel((a, b, c))
            ),
        ]
        seen = set()
        for columns in sets:
            distinct = frozenset(column.name for column in columns)
            if len(distinct) == len(columns) and distinct not in seen:
                seen.add(distinct)
                yield columns

    def _is_series(self, identity: InferredColumn, period: InferredColumn) -> bool:
        """Whether a row for each of the two is no chance, as it is with moments of any kind."""
        is_by_chance = _is_moment(period) and period.distinct_count >= ALONE * self.table.row_count
        return not is_by_chance or words.says(identity.name, words.MEASURING)

    def _is_panel(self, columns: tuple[InferredColumn, ...]) -> bool:
        """Whether most combinations are there: a series for each kind, not unique by chance."""
        combined = 1
        for column in columns:
            combined *= column.distinct_count
        is_of_moments = any(map(_is_moment, columns))
        share = PANEL_OF_MOMENTS if is_of_moments else PANEL
        return combined * share <= self.table.row_count

    def _kinds(self) -> list[InferredColumn]:
        """Texts of few values: what a series of measurements is told apart by."""
        few = self.table.row_count / TINY
        found = [
            column
            for column in self.fit
            if column.type.upper() == "VARCHAR"
            and column not in self.ids
            and 1 < column.distinct_count <= few
            and column.null_count == 0
        ]
        return found[:3]

    def changed_alone(self) -> Key | None:
        """An identifier that comes again in later files, with its row's dates as they were."""
        first = self.table.columns[0]
        for column in self.ids:
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
        comes_again = _again(table, (column.name,)) >= SAME_THING * column.distinct_count
        if comes_again and any(_parts_files(table, c) for c in self.fit if c != column):
            return None
        if any(_moves(table, column.name, c.name) for c in self.periods):
            return None
        return self._changed((column.name,))

    def changed_in_later_files(self) -> Key | None:
        """An identifier that is unique within each file, but comes again in others."""
        if self.table.file_count == 1:
            return None
        sets = [(column,) for column in self.ids] + list(combinations(self.ids, 2))
        for columns in sets:
            key = self._changed(tuple(column.name for column in columns))
            if key:
                return key
        return None

    def _changed(self, names: tuple[str, ...]) -> Key | None:
        table = self.table
        if table.distinct((*names, FILE)) != self.rows(by_file=True):
            return None
        if table.distinct(names) == self.rows() or not _are_same_things(table, names):
            return None  # the identifier begins anew in each file
        return self._chosen(names, f"unique within each of {table.file_count} files")

    def first_column(self) -> Key | None:
        """The leftmost column of many rows, if it is unique and counts or names them."""
        table = self.table
        first = table.columns[0]
        is_shared = words.says(first.name, words.SHARED_NAMES)
        if table.row_count < SMALL or first not in self.fit or _is_time(first) or is_shared:
            return None
        if not _could_be_unique(first, table.row_count) or first.null_count:
            return None
        if first.type.upper() in INTEGERS:
            steps = int(first.maximum or 0) - int(first.minimum or 0) + 1
            if steps != table.row_count:
                return None
        if not self._is_unique((first.name,)):
            return self._changed_thing(first)
        return self._chosen((first.name,), f"the first column, unique of {table.row_count:,} rows")

    def moment(self) -> Key | None:
        """A date or regular time that is unique: one series of measurements."""
        table = self.table
        for column in [c for c in self.periods if _could_be_unique(c, table.row_count)][:2]:
            if table.row_count < TINY or not self._is_unique((column.name,)):
                continue
            if _is_moment(column) and not _is_regular(table, column.name):
                continue
            because = "no identifier, but one row for each; as a series of measurements has it"
            return self._chosen((column.name,), because)
        return None


def _is_time(column: InferredColumn) -> bool:
    return column.type.upper() == "DATE" or _is_moment(column)


def _is_moment(column: InferredColumn) -> bool:
    """Whether the column's values are times to the second or finer, of whatever zone."""
    is_timestamp = column.type.upper().startswith("TIMESTAMP") and not column.type.endswith("]")
    return is_timestamp or column.epoch is not None


def _may_identify(column: InferredColumn, row_count: int) -> bool:
    """Whether the column's type and values may be part of a key."""
    kind = column.type.upper()
    if kind not in INTEGERS | {"VARCHAR", "UUID"} and not _is_time(column):
        return False
    if column.null_count > MOST_NULLS * row_count or column.bad_count:
        return column.null_count <= MOST_NULLS * row_count and column.bad_count < row_count / TINY
    return kind != "VARCHAR" or all(len(text) <= LONGEST_KEY for text in column.examples)


def _could_be_unique(column: InferredColumn, row_count: int) -> bool:
    """Whether the approximate count of distinct values leaves that open."""
    return column.distinct_count >= row_count * OPEN


def _parts_files(table: Table, column: InferredColumn) -> bool:
    """Whether each file has a single value of the column, and not all have the same."""
    if words.says(column.name, words.CHANGES) or not 1 < column.distinct_count <= table.file_count:
        return False
    most = table.number(
        f"select max(n) from (select count(distinct {identifier(column.name)}) as n"
        f" from {table.relation} group by {FILE})"
    )
    return most == 1


def _moves(table: Table, name: str, period: str) -> bool:
    """Whether most values of `name` that come in several files have another `period` in each."""
    key, value = identifier(name), identifier(period)
    return (
        table.number(
            f"select avg((count = files)::int) from (select count(distinct {value}) as count,"
            f" count(distinct {FILE}) as files from {table.relation} group by {key}"
            f" having files > 1 limit {COMPARED_KEYS})"
        )
        > SAME_THING
    )


def _are_same_things(table: Table, names: tuple[str, ...]) -> bool:
    """Whether a key that comes again is the same thing: it is like itself, or tells of a change.

    Numbers that begin anew in each file come again nearly all, changes do so for some.
    """
    if _likeness(table, names) >= SAME_THING:
        return True
    if not any(words.says(column.name, words.CHANGES) for column in table.needed):
        return False
    return _again(table, names) < SAME_THING * table.distinct(names)


def _again(table: Table, names: tuple[str, ...]) -> int:
    """How many keys come in several files."""
    key = ", ".join(map(identifier, names))
    return int(
        table.number(
            f"select count(*) from (select 1 from {table.relation} group by {key}"
            f" having count(distinct {FILE}) > 1)"
        )
    )


def _likeness(table: Table, names: tuple[str, ...]) -> float:
    """How much of a row stays the same, on average, when its key comes again: 0 to 1.

    Columns that only tell of the change, such as updated_at, do not count.
    """
    others = [n for n in table.names if n not in names and not words.says(n, words.CHANGES)]
    if not others:
        return 1.0
    key = ", ".join(map(identifier, names))
    counts = ", ".join(f"count(distinct {identifier(n)}) as n{i}" for i, n in enumerate(others))
    same = " + ".join(f"(n{i} <= 1)::int" for i in range(len(others)))
    return table.number(
        f"select avg({same}) / {len(others)} from (select {counts} from {table.relation}"
        f" semi join (select {key} from {table.relation} group by all"
        f" having count(distinct {FILE}) > 1 limit {COMPARED_KEYS}) using ({key}) group by {key})"
    )


def _write(table: Table, names: tuple[str, ...], notes: Notes) -> str:
    """How the files go together: snapshots of one whole, corrections, or one after another."""
    key = ", ".join(map(identifier, names))
    again = _again(table, names)
    if not again:
        because = f"no key comes in more than one of {table.file_count} files"
        notes.decide("write", "append", because)
        return "append"
    shared = table.number(
        f"with k as (select distinct {key}, {FILE} from {table.relation}),"
        f" sizes as (select {FILE}, count(*) as size from k group by all),"
        f" shared as (select b.{FILE}, count(*) as size from k a join k b using ({key})"
        f" where b.{FILE} = a.{FILE} + 1 group by all)"
        f" select avg(coalesce(shared.size, 0) / (s.size + p.size - coalesce(shared.size, 0)))"
        f" from sizes s join sizes p on p.{FILE} = s.{FILE} - 1"
        f" left join shared on shared.{FILE} = s.{FILE}"
    )
    dated = all(any(c.isdigit() for c in name) for name in table.file_names)
    if shared >= FULL_DUMP and dated:
        because = f"each file has {shared:.0%} of its keys in common with the one before"
        notes.decide("write", "snapshot", because)
        return "snapshot"
    if table.distinct(names) < table.distinct(table.names):
        because = f"keys that come again in later files, with changes: {again:,}"
        notes.decide("write", "merge", because)
        return "merge"
    because = f"keys that come again, but in the same rows: {again:,}"
    notes.decide("write", "append", because)
    return "append"


def _is_regular(table: Table, name: str) -> bool:
    """Whether nearly all steps from one time to the next are equally long."""
    column = identifier(name)
    share = table.number(
        f"select max(n) / sum(n) from (select count(*) as n from (select {column} - lag({column})"
        f" over (order by {column}) as step from {table.relation}) where step is not null"
        " group by step)"
    )
    return share >= REGULAR


def infer_event_time(table: Table, key: Key, notes: Notes) -> str | None:
    """The column that says when the row's event happened; None for a table of things."""
    times = [c for c in table.needed if _is_time(c) and not c.epoch]
    for column in table.columns:
        if column.epoch:
            unit = "seconds" if column.epoch == "s" else "milliseconds"
            notes.warn(
                f"column {column.name} counts {unit} since 1970; it stays an integer, so it cannot"
                " be the event time as it is"
            )
    scores = {c.name: _time_score(c, table) for c in times}
    fit = [name for name, score in scores.items() if score is not None and score >= 0]
    if not fit:
        because = (
            "no column is a date or time"
            if not times
            else (f"{', '.join(c.name for c in times)}: none says when the row's event happened")
        )
        notes.decide("event_time", "none", because)
        return None
    if words.is_subject(table.dataset) and len(key.columns) == 1 and key.columns[0] not in fit:
        because = f"{table.dataset} are things, not events; {', '.join(fit)} tell about them"
        notes.decide("event_time", "none", because)
        return None
    best = max(fit, key=lambda name: scores[name] or 0)
    because = (
        "the only date or time"
        if len(times) == 1
        else (f"likelier by name, type and values than {', '.join(n for n in scores if n != best)}")
    )
    notes.decide("event_time", best, because)
    return best


def _time_score(column: InferredColumn, table: Table) -> float | None:
    if words.says(column.name, words.NEVER | words.CHANGES):
        return None
    own = {words.singular(word) for word in words.words(table.dataset)}
    parts = {words.singular(word) for word in words.words(column.name)}
    score = 0.0
    score += 3 if words.says(column.name, words.HAPPENED) else 0
    score += 2 if words.says(column.name, words.TIMES) else 0
    score += 2 if own & parts else 0
    score -= 1 if words.says(column.name, words.KNOWN) else 0
    score -= 4 if words.says(column.name, words.LATER) else 0
    score += 0.5 if _is_moment(column) else 0
    score -= 3 if column.null_count > table.row_count * 0.05 else 0
    return score + 2 if len(parts) == 1 and score > 0 else max(score, 0) if score > -3 else None


def infer_known_at(table: Table, event_time: str | None, notes: Notes) -> str | None:
    """The column that says when a row became known, where one clearly does."""
    if event_time is None:
        return None
    for column in table.needed:
        is_named = words.says(column.name, words.KNOWN) and _is_moment(column)
        if not is_named or column.epoch or column.name == event_time or column.null_count:
            continue
        early = table.number(
            f"select count(*) from {table.relation}"
            f" where {identifier(column.name)} < {identifier(event_time)}"
        )
        if not early:
            notes.decide("known_at", column.name, f"by its name, and never before {event_time}")
            return column.name
    return None
