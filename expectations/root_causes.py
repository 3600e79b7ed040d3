"""From what fails in a run to its root causes, along the lineage of the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.incidents import Symptom

Lineage = Mapping[str, Iterable[str]]
Kind = tuple[str, str]
# The checks that no rule does: files that did not load, a source from which nothing new comes, a
# model that does not build, a stage.
REFUSED, STALE, BUILD, STAGE = "refused", "stale", "build", "stage"
# What all checks have in common that compare with the past.
UNLIKE = "unlike"
# In which ways a source is stale: what came brought nothing, or none came.
NOTHING_NEW, OVERDUE = "nothing_new", "overdue"
# What is merely missing explains no row that is there.
_MISSING = (REFUSED, STALE)
_REFERENCES = "references"


class Weight(IntEnum):
    """How bad a failure is: shown; data held back; nothing published."""

    WARNING = 0
    CRITICAL = 1
    BLOCKING = 2


@dataclass(frozen=True)
class Failure:
    """One thing that failed in a run: a rule, a source's files, a model or a stage.

    `check` is the kind of check, `subject` the columns or the SQL that it is on, empty for a table
    as a whole. `is_by_rows` if rows that are there break it: a file that was refused or did not
    come, and so is merely missing, explains none of these. `refers_to` is the table in which the
    rows of this one have no counterpart: there something may be missing, or above it. `unlike` are
    the kinds of what is unlike before, such as "amount: values", whichever rules say so.
    """

    symptom: Symptom
    weight: Weight
    check: str
    subject: str = ""
    is_by_rows: bool = False
    refers_to: str = ""
    unlike: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The check, and what it is on."""
        return self.check, self.subject

    @property
    def kinds(self) -> frozenset[Kind]:
        """Of which two failures must share one to be taken for effects of one cause."""
        return frozenset({self.kind, *((UNLIKE, kind.lower()) for kind in self.unlike)})

    def is_like(self, other: Failure) -> bool:
        """Whether both tell that one column is unlike before in one way."""
        return any(check == UNLIKE for check, _ in self.kinds & other.kinds)


@dataclass(frozen=True)
class Cause:
    """A root, which is a table or a stage, and all that fails because of it."""

    root: str
    failures: tuple[Failure, ...]

    @property
    def leading(self) -> tuple[Failure, ...]:
        """What is critical at the root; where nothing is, all that is critical."""
        critical = tuple(f for f in self.failures if f.weight > Weight.WARNING)
        return tuple(f for f in critical if f.symptom.table == self.root) or critical


def causes(
    failures: Iterable[Failure], lineage: Lineage, is_new: Callable[[Failure], bool]
) -> list[Cause]:
    """The failures by root cause, each in exactly one.

    `lineage` has the tables that each table reads. A failure belongs to the most upstream table
    above it that fails and can explain it. A file that was refused or did not come explains neither
    rows that are there nor what failed before it; another warning explains nothing critical but
    what is unlike before in the same way. That is of one root in a table, whichever rules say so.
    What a table refers to counts as above that one failure, and a file that is missing explains it
    only there: without rows of its own, a table lacks no reference. A table that fails because of
    one other alone explains nothing by itself. Where nothing fails above two tables, and both fail
    anew and of the same kind, the nearest table that they are both made from is the root.
    """
    found = sorted(failures, key=lambda f: (f.symptom.table, f.symptom.rule_id))
    above = Ancestors(lineage)
    failing: dict[str, list[Failure]] = defaultdict(list)
    for failure in found:
        failing[failure.symptom.table].append(failure)
    roots = [_root(failure, failing, above, is_new) for failure in found]
    roots = [
        _of_the_worst(failure, root, found, roots)
        for failure, root in zip(found, roots, strict=True)
    ]
    further = _further(found, roots)
    by_root: dict[str, list[Failure]] = defaultdict(list)
    for failure, root in zip(found, roots, strict=True):
        by_root[_last(root, further)].append(failure)
    return _with_siblings_joined(by_root, failing, above, is_new)


class Ancestors:
    """For each table all that it is made from, with the number of steps up to it."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._known: dict[str, dict[str, int]] = {}

    def of(self, table: str) -> dict[str, int]:
        """The steps up to each ancestor of the table, itself left out."""
        if table not in self._known:
            steps = {table: 0}
            layer = [table]
            while layer:
                step = steps[layer[0]] + 1
                layer = list(
                    dict.fromkeys(
                        parent
                        for child in layer
                        for parent in sorted(self._lineage.get(child, ()))
                        if parent not in steps
                    )
                )
                steps |= dict.fromkeys(layer, step)
            del steps[table]
            self._known[table] = steps
        return self._known[table]


def _root(
    failure: Failure,
    failing: Mapping[str, list[Failure]],
    above: Ancestors,
    is_new: Callable[[Failure], bool],
) -> str:
    """The most upstream failing table; of several the one that fails of the same kind, or near."""
    table = failure.symptom.table
    steps = {
        name: step
        for name, step in _origins(failure, above).items()
        if any(_explains(other, failure, above, is_new) for other in failing.get(name, ()))
    }
    tops = [name for name in steps if steps.keys().isdisjoint(above.of(name))]
    if not tops:
        return table
    kinds = {name: _kinds(failing[name]) for name in tops}
    is_other = {name: failure.kinds.isdisjoint(kinds[name]) for name in tops}
    return min(tops, key=lambda name: (is_other[name], steps[name], name))


def _kinds(failures: Iterable[Failure]) -> set[Kind]:
    return {kind for failure in failures for kind in failure.kinds}


def _of_the_worst(
    failure: Failure, root: str, failures: Sequence[Failure], roots: Sequence[str]
) -> str:
    """The root of what is worse than the failure and tells the same of its table, else its own."""
    worse = [
        (other.weight, other_root)
        for other, other_root in zip(failures, roots, strict=True)
        if other.symptom.table == failure.symptom.table
        and other.weight > failure.weight
        and other.is_like(failure)
    ]
    return max(worse, default=(failure.weight, root))[1]


def _further(failures: Iterable[Failure], roots: Iterable[str]) -> dict[str, str]:
    """The root of each table that fails because of one other alone: what it explains is of that.

    Lineage leads to the first table by itself; a reference may lead to one that has a root too.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for failure, root in zip(failures, roots, strict=True):
        found[failure.symptom.table].add(root)
    return {table: next(iter(r)) for table, r in found.items() if len(r) == 1 and table not in r}


def _last(root: str, further: Mapping[str, str]) -> str:
    """The end of the way; the root itself where that leads in a circle."""
    seen, at = {root}, root
    while at in further:
        at = further[at]
        if at in seen:
            return root
        seen.add(at)
    return at


def _origins(failure: Failure, above: Ancestors) -> dict[str, int]:
    """The steps up to each table that may explain the failure.

    They are those that its table is made from and, of what this refers to, those made without it.
    """
    table = failure.symptom.table
    referred = {
        name: step
        for name, step in _referred(failure, above).items()
        if name != table and table not in above.of(name)
    }
    return referred | above.of(table)


def _referred(failure: Failure, above: Ancestors) -> dict[str, int]:
    """The steps to the table that the failure refers to, and to all that it is made from."""
    if not failure.refers_to:
        return {}
    further = {name: step + 1 for name, step in above.of(failure.refers_to).items()}
    return {failure.refers_to: 1} | further


def _explains(
    upstream: Failure, failure: Failure, above: Ancestors, is_new: Callable[[Failure], bool]
) -> bool:
    table = upstream.symptom.table
    if upstream.check in _MISSING:
        is_able = not failure.is_by_rows
        if failure.refers_to:
            is_mutual = failure.symptom.table in _referred(upstream, above)
            is_able = table in _referred(failure, above) and not is_mutual
        return is_able and (is_new(failure) or not is_new(upstream))
    if upstream.check == _REFERENCES and table not in above.of(failure.symptom.table):
        return False  # two tables that refer to each other lack each what is the other's
    is_mild = upstream.weight == Weight.WARNING < failure.weight
    return not is_mild or upstream.is_like(failure)


def _with_siblings_joined(
    by_root: Mapping[str, list[Failure]],
    failing: Mapping[str, list[Failure]],
    above: Ancestors,
    is_new: Callable[[Failure], bool],
) -> list[Cause]:
    remaining = dict(by_root)
    joined: list[Cause] = []
    loose = {root for root in remaining if all(map(is_new, remaining[root]))}
    while shared := _most_shared({root: failing[root] for root in loose}, above):
        root, siblings = shared
        together = [failure for name in sorted(siblings) for failure in remaining.pop(name)]
        joined.append(Cause(root, tuple(together)))
        loose -= siblings
    alone = [Cause(root, tuple(found)) for root, found in remaining.items()]
    return sorted([*joined, *alone], key=lambda cause: cause.root)


def _most_shared(
    own: Mapping[str, list[Failure]], above: Ancestors
) -> tuple[str, frozenset[str]] | None:
    """The nearest ancestor of the most tables that fail of one kind, and these tables."""
    shared: dict[tuple[Kind, str], dict[str, int]] = defaultdict(dict)
    for table, failures in own.items():
        for kind in _kinds(failures):
            for ancestor, steps in above.of(table).items():
                shared[kind, ancestor][table] = steps
    several = {key: steps for key, steps in shared.items() if len(steps) > 1}
    if not several:
        return None
    best = min(several, key=lambda key: (-len(several[key]), sum(several[key].values()), key))
    return best[1], frozenset(several[best])


def title(root: str, failures: Iterable[Failure], *, others: int = 0) -> str:
    """What fails, in one line for a person; holds names and counts, no values of the data.

    Of the root it names what is worst, and where that is a warning something critical besides.
    `others` is the number of tables that fail for another reason.
    """
    found = list(failures)
    own = [failure for failure in found if failure.symptom.table == root]
    tables = {failure.symptom.table for failure in found} - {root}
    besides = f", and {counted(others, 'other table')}" if others else ""
    if own:
        told = _told(root, own)
        critical = [failure for failure in found if failure.weight > Weight.WARNING]
        if critical and max(failure.weight for failure in own) == Weight.WARNING:
            effect = min(failure.symptom.table for failure in critical)
            told += f", and so {_told(effect, [f for f in critical if f.symptom.table == effect])}"
            tables -= {effect}
        downstream = f", and {counted(len(tables), 'table')} downstream" if tables else ""
        return f"{told}{downstream}{besides}"
    if len({failure.kind for failure in found}) == 1:
        check, subject = found[0].kind
        what = f"{check} of {subject} fails" if subject else f"{check} fails"
    elif shared := frozenset.intersection(*(failure.kinds for failure in found)):
        what = f"{min(shared)[1]} unlike before"
    else:
        what = f"{counted(len({f.symptom.rule_id for f in found}), 'rule')} fail"
    return f"{root}: {what} in {counted(len(tables), 'table')} made from it{besides}"


def _told(root: str, failures: list[Failure]) -> str:
    """What is worst of what fails in one table."""
    worst = max(failure.weight for failure in failures)
    own = [failure for failure in failures if failure.weight == worst]
    checks = {failure.check for failure in own}
    if STAGE in checks:
        return f"the {root} stage failed"
    if BUILD in checks:
        return f"{root} does not build"
    if REFUSED in checks:
        return f"{root}: files are refused"
    if checks == {STALE}:
        return f"{root}: nothing new comes"
    rules = {failure.symptom.rule_id for failure in own}
    if len(rules) == 1:
        return f"{root}: {rules.pop()} fails"
    return f"{root}: {counted(len(rules), 'rule')} fail"
