"""Rules run through Great Expectations.

Import this module only after `load_great_expectations`.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, cast

import great_expectations as gx
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.core.expect_column_values_to_be_between import (
    ExpectColumnValuesToBeBetween,
)
from great_expectations.expectations.core.expect_column_values_to_be_in_set import (
    ExpectColumnValuesToBeInSet,
)
from great_expectations.expectations.core.expect_column_values_to_not_be_null import (
    ExpectColumnValuesToNotBeNull,
)
from great_expectations.expectations.core.expect_table_row_count_to_be_between import (
    ExpectTableRowCountToBeBetween,
)
from great_expectations.validator.validator import Validator

from expectations.duckdb_gx import (
    DuckDBDatasource,
    ExpectAggregateToHold,
    ExpectColumnsToBe,
    ExpectKeysToBeUnique,
    ExpectRowsToSatisfy,
    ExpectToBeLikeThePast,
    ExpectTotalToEqual,
)
from expectations.offenders import aggregate, looked_into, satisfied, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import duckdb
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.data_context.data_context.ephemeral_data_context import (
        EphemeralDataContext,
    )
    from great_expectations.expectations.expectation import Expectation

    from expectations.rules import Bound, Rule

_ERROR_LINE = re.compile(r"\w+ Error: [^\n]*")
_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class Outcome:
    """Whether a rule holds; `error` says why that is not known.

    `unexpected` is how many rows break it, where the check counted them.
    """

    holds: bool
    error: str = ""
    unexpected: int | None = None


class Validation:
    """Great Expectations over relations of one DuckDB connection, with nothing stored anywhere."""

    def __init__(self, context: EphemeralDataContext, datasource: DuckDBDatasource) -> None:
        self._context = context
        self._datasource = datasource

    def outcomes(self, source: str, rules: Sequence[Rule]) -> dict[str, Outcome]:
        """What became of each rule on the relation `source`, by rule id.

        Rules share their queries, so one that cannot run takes others with it: then each runs
        alone, to tell which it was.
        """
        outcomes = self._run(source, rules)
        if len(rules) > 1 and any(outcome.error for outcome in outcomes.values()):
            return {rule.id: self._run(source, [rule])[rule.id] for rule in rules}
        return outcomes

    def _run(self, source: str, rules: Sequence[Rule]) -> dict[str, Outcome]:
        try:
            results = self._validate(source, [expectation(rule) for rule in rules])
        # Whatever Great Expectations raises, the rules were not checked, and that must block.
        except Exception as error:
            return {rule.id: Outcome(holds=False, error=_shortened(str(error))) for rule in rules}
        found = {_rule_id(result): _outcome(result) for result in results}
        missing = Outcome(holds=False, error="the check returned no result")
        return {rule.id: found.get(rule.id, missing) for rule in rules}

    def _validate(
        self, source: str, expectations: Sequence[Expectation]
    ) -> Sequence[ExpectationValidationResult]:
        asset = self._datasource.get_asset(source)
        validator = Validator(
            execution_engine=self._datasource.get_execution_engine(),
            batches=[asset.get_batch(asset.build_batch_request())],
            data_context=self._context,
        )
        results: Sequence[ExpectationValidationResult] = validator.graph_validate(
            [expectation.configuration for expectation in expectations],
            runtime_configuration={"result_format": "BOOLEAN_ONLY"},
        )
        return results


@contextmanager
def validation(
    con: duckdb.DuckDBPyConnection,
    sources: Iterable[str],
    holds_beside_past: Callable[[str], bool],
) -> Iterator[Validation]:
    """Great Expectations on `con` for the relations `sources`, quiet and gone afterwards.

    `holds_beside_past` says by its id whether a rule that compares with the past holds.
    """
    # It logs every failing query with its traceback; the outcome carries what is of use.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    datasource = DuckDBDatasource.over(con, holds_beside_past)
    try:
        for source in sources:
            datasource.add_query_asset(source, query=f"select * from {source}")
        # Its own default would make a folder for a site in the system's temporary directory.
        stores = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults())
        context = gx.get_context(mode="ephemeral", project_config=stores)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        # Last of all, for a context writes itself out at every change of its datasources.
        context.add_datasource(datasource=datasource)
        yield Validation(context, datasource)
    finally:
        datasource.close()


def expectation(rule: Rule) -> Expectation:
    """The expectation that decides `rule`, marked with its id."""
    return _EXPECTATIONS[rule.check](rule, {"rule": rule.id})


def _not_null(rule: Rule, meta: dict[str, Any]) -> Expectation:
    if len(rule.columns) > 1 or _counts(rule):
        return _expression(rule, meta)
    return ExpectColumnValuesToNotBeNull(column=rule.columns[0], meta=meta)


def _counts(rule: Rule) -> bool:
    """Whether to ask how many rows break the rule: then it may hold with some that do.

    The stock expectations tell that only together with examples, which cost a scan each.
    """
    return rule.mostly < 1


def _unique(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return ExpectKeysToBeUnique(key_columns=list(rule.columns), meta=meta)


def _between(rule: Rule, meta: dict[str, Any]) -> Expectation:
    if rule.minimum_sql or rule.maximum_sql or _counts(rule):
        return _expression(rule, meta)
    least, most = _comparable(rule.minimum, rule.maximum)
    return ExpectColumnValuesToBeBetween(
        column=rule.columns[0],
        min_value=least,
        max_value=most,
        strict_min=rule.strict_min,
        strict_max=rule.strict_max,
        meta=meta,
    )


def _comparable(least: Bound | None, most: Bound | None) -> tuple[Bound | None, Bound | None]:
    """The bounds, a day as its midnight where the other is a time: Python compares no such two."""
    if isinstance(least, datetime) or isinstance(most, datetime):
        return _midnight(least), _midnight(most)
    return least, most


def _midnight(bound: Bound | None) -> Bound | None:
    if isinstance(bound, date) and not isinstance(bound, datetime):
        return datetime(bound.year, bound.month, bound.day)  # noqa: DTZ001 (as in DuckDB)
    return bound


def _in_set(rule: Rule, meta: dict[str, Any]) -> Expectation:
    if _counts(rule):
        return _expression(rule, meta)
    return ExpectColumnValuesToBeInSet(
        column=rule.columns[0], value_set=list(rule.values), meta=meta
    )


def _expression(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return ExpectRowsToSatisfy(expression=satisfied(rule), mostly=rule.mostly, meta=meta)


def _row_count(rule: Rule, meta: dict[str, Any]) -> Expectation:
    if rule.equals_table:
        return _total(rule, meta)
    least, most = cast("tuple[int | None, int | None]", (rule.minimum, rule.maximum))
    return ExpectTableRowCountToBeBetween(min_value=least, max_value=most, meta=meta)


def _aggregate(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return ExpectAggregateToHold(condition=within(rule, aggregate(rule)), meta=meta)


def _total(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return ExpectTotalToEqual(
        expression=rule.expression or "count(*)",
        equals=rule.equals or "count(*)",
        equals_table=looked_into(rule.equals_table),
        meta=meta,
    )


def _like_the_past(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return ExpectToBeLikeThePast(rule_id=rule.id, meta=meta)


def _freshness(rule: Rule, meta: dict[str, Any]) -> Expectation:
    return _like_the_past(rule, meta) if rule.is_learned else _aggregate(rule, meta)


def _columns(rule: Rule, meta: dict[str, Any]) -> Expectation:
    types = dict(rule.column_types)
    return ExpectColumnsToBe(column_types=types, ordered=rule.ordered, meta=meta)


_EXPECTATIONS: dict[str, Callable[[Rule, dict[str, Any]], Expectation]] = {
    "not_null": _not_null,
    "unique": _unique,
    "between": _between,
    "in_set": _in_set,
    "length": _expression,
    "regex": _expression,
    "references": _expression,
    "expression": _expression,
    "row_count": _row_count,
    "distinct_count": _aggregate,
    "aggregate": _aggregate,
    "freshness": _freshness,
    "total": _total,
    "columns": _columns,
    "volume": _like_the_past,
    "null_share": _like_the_past,
    "drift": _like_the_past,
    "anomaly": _like_the_past,
}


def _rule_id(result: ExpectationValidationResult) -> str:
    config = result.expectation_config
    return str((config.meta or {}).get("rule", "")) if config else ""


def _outcome(result: ExpectationValidationResult) -> Outcome:
    """A check that raised also reports success=False: only its exception_info tells them apart."""
    error = _exception(result.exception_info or {})
    count = (result.result or {}).get("unexpected_count")
    return Outcome(bool(result.success) and not error, error, count)


def _exception(info: dict[str, Any]) -> str:
    # One exception is given flat; those of several metrics by metric.
    infos = [info] if "raised_exception" in info else list(info.values())
    raised = [entry for entry in infos if entry["raised_exception"]]
    return "; ".join(dict.fromkeys(_shortened(str(entry["exception_message"])) for entry in raised))


def _shortened(message: str) -> str:
    line = _ERROR_LINE.search(message)
    text = line.group() if line else " ".join(message.split())
    return (text or "the check raised an error")[:_LONGEST_MESSAGE]
