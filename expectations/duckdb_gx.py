"""Great Expectations on DuckDB: the engine, the metrics and the expectations that stock lacks.

Import this module only after `load_great_expectations`, and only to run a gate.
"""

# Great Expectations' metrics are class methods by decorator; its hooks have fixed signatures.
# ruff: noqa: N805, ARG002
# mypy does not follow it, so its classes and decorators are Any.
# mypy: disable-error-code="misc, has-type, untyped-decorator, assignment, valid-type"

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from duckdb_sqlalchemy import ConnectionWrapper
from great_expectations.compatibility import pydantic
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
from great_expectations.execution_engine.sqlalchemy_execution_engine import (
    SqlAlchemyExecutionEngine,
)
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_partial, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.expectations.metrics.table_metrics.table_column_types import ColumnTypes

from expectations.gate import SAW_NO_ROWS
from warehouse.duck import identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import duckdb
    from great_expectations.execution_engine.execution_engine import ExecutionEngine

Metrics = dict[str, Any]

# The widest span of whole numbers, a bit each, that is cheaper than a hash table; 16 MiB.
_WIDEST_BITMAP = 2**27


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """Runs every query on one held connection.

    The stock engine closes its connection before it reads the result, which DuckDB forgets then.
    `holds_beside_past` says by its id whether a rule that compares with the past holds.
    """

    holds_beside_past: Callable[[str], bool]

    @contextmanager
    def get_connection(self) -> Iterator[sa.Connection]:
        """The one connection, left open for the next query."""
        if self._connection is None:
            self._connection = self.engine.connect()
        yield self._connection

    def close(self) -> None:
        """Close the held connection, too: the stock method forgets it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        super().close()


class DuckDBDatasource(SQLDatasource):
    """A datasource over a DuckDB connection that its owner opened and will close."""

    type: Literal["duckdb"] = "duckdb"

    _duckdb_engine: DuckDBExecutionEngine | None = pydantic.PrivateAttr(None)

    @classmethod
    def over(
        cls, con: duckdb.DuckDBPyConnection, holds_beside_past: Callable[[str], bool]
    ) -> DuckDBDatasource:
        """The datasource whose every query runs on `con`.

        `holds_beside_past` is what its engine asks of rules that compare with the past.
        """
        engine = sa.create_engine(
            "duckdb://",
            creator=lambda: ConnectionWrapper(con),
            poolclass=sa.StaticPool,
            # A failed check must not leave an aborted transaction to the next one.
            isolation_level="AUTOCOMMIT",
        )
        datasource = cls(name="build", connection_string="duckdb://")
        datasource._duckdb_engine = DuckDBExecutionEngine(engine=engine, create_temp_table=False)
        datasource._duckdb_engine.holds_beside_past = holds_beside_past
        return datasource

    @property
    def execution_engine_type(self) -> type[SqlAlchemyExecutionEngine]:
        """The engine that holds its connection."""
        return DuckDBExecutionEngine

    def get_execution_engine(self) -> SqlAlchemyExecutionEngine:
        """The one engine of this datasource."""
        if self._duckdb_engine is None:
            raise TypeError("a DuckDBDatasource is made by DuckDBDatasource.over")
        return self._duckdb_engine

    def close(self) -> None:
        """Close the engine and let go of it; the DuckDB connection stays its owner's to close.

        Great Expectations keeps the datasource until the next one, and with it all that its engine
        knows.
        """
        self.get_execution_engine().close()
        self._duckdb_engine = None


class DuckDBColumnTypes(ColumnTypes):
    """Column names and types as DuckDB itself describes them: reflection gets them wrong."""

    metric_name = "table.column_types"

    @metric_value(engine=DuckDBExecutionEngine)
    def _duckdb(
        cls,
        execution_engine: SqlAlchemyExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        **_: Any,
    ) -> list[dict[str, str]]:
        source = _source(execution_engine, metric_domain_kwargs)
        rows = execution_engine.execute_query(sa.text(f"describe select * from {source}"))
        return [{"name": row[0], "type": row[1]} for row in rows.fetchall()]


class RowsUnsatisfied(TableMetricProvider):
    """How many rows an SQL condition does not hold for; an unknown (null) does not hold."""

    metric_name = "rows.unsatisfied_count"
    value_keys = ("expression",)

    @metric_partial(
        engine=DuckDBExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _duckdb(
        cls,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> tuple[sa.ColumnElement[int], dict[str, Any], dict[str, Any]]:
        condition = metric_value_kwargs["expression"]
        count: sa.ColumnElement[int] = sa.literal_column(
            f"count_if(({condition}) is not true)", sa.BigInteger
        )
        return count, metric_domain_kwargs, {}


class AggregateHolds(TableMetricProvider):
    """Whether an SQL condition on aggregates of the table holds; null: they saw no rows."""

    metric_name = "table.aggregate_holds"
    value_keys = ("condition",)

    @metric_partial(
        engine=DuckDBExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _duckdb(
        cls,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> tuple[sa.ColumnElement[bool], dict[str, Any], dict[str, Any]]:
        condition = metric_value_kwargs["condition"]
        holds: sa.ColumnElement[bool] = sa.literal_column(f"({condition})", sa.Boolean)
        return holds, metric_domain_kwargs, {}


class RowsRepeated(TableMetricProvider):
    """How many rows repeat the key of another one; keys with a null are left out."""

    metric_name = "rows.repeated_count"
    value_keys = ("key_columns",)

    @metric_value(engine=DuckDBExecutionEngine)
    def _duckdb(
        cls,
        execution_engine: SqlAlchemyExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> int:
        source = _source(execution_engine, metric_domain_kwargs)
        columns = tuple(metric_value_kwargs["key_columns"])
        row = _one_row(execution_engine, _repeated_sql(execution_engine, source, columns))
        return int(row[0])


class TotalsEqual(TableMetricProvider):
    """Whether an aggregate of the batch is the same as one of another table; null: both are."""

    metric_name = "table.totals_equal"
    value_keys = ("expression", "equals", "equals_table")

    @metric_value(engine=DuckDBExecutionEngine)
    def _duckdb(
        cls,
        execution_engine: SqlAlchemyExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> bool | None:
        source = _source(execution_engine, metric_domain_kwargs)
        values = metric_value_kwargs
        query = (
            "select if(here is null and there is null, null, here is not distinct from there)"
            f" from (select (select {values['expression']} from {source}) as here,"
            f" (select {values['equals']} from {values['equals_table']}) as there)"
        )
        equal: bool | None = _one_row(execution_engine, query)[0]
        return equal


class LikeThePast(TableMetricProvider):
    """Whether what is new in the table is like what was there before."""

    metric_name = "table.like_the_past"
    value_keys = ("rule_id",)

    @metric_value(engine=DuckDBExecutionEngine)
    def _duckdb(
        cls,
        execution_engine: DuckDBExecutionEngine,
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> bool:
        return execution_engine.holds_beside_past(metric_value_kwargs["rule_id"])


def _source(engine: SqlAlchemyExecutionEngine, domain: Mapping[str, Any]) -> str:
    """The batch as a FROM item."""
    records = engine.get_domain_records(dict(domain))
    query = sa.select(sa.text("*")).select_from(records)
    return f"({query.compile(engine.engine)}) as batch"


def _one_row(engine: SqlAlchemyExecutionEngine, query: str) -> Any:
    # exec_driver_sql, for the query is whole: a colon or a percent sign in it means itself
    with engine.get_connection() as connection:
        return connection.exec_driver_sql(query).one()


def _repeated_sql(engine: SqlAlchemyExecutionEngine, source: str, columns: tuple[str, ...]) -> str:
    """SQL for the number of repeats, by a bitmap where one fits: a sixth of hashing's cost."""
    names = ", ".join(identifier(column) for column in columns)
    present = " and ".join(f"{identifier(column)} is not null" for column in columns)
    if len(columns) == 1 and (span := _integer_span(engine, source, names)):
        distinct = f"bit_count(bitstring_agg({names}, {span[0]}, {span[1]}))"
    else:
        distinct = f"count(distinct ({names}))"
    return f"select count(*) - coalesce({distinct}, 0) from {source} where {present}"


def _integer_span(
    engine: SqlAlchemyExecutionEngine, source: str, name: str
) -> tuple[int, int] | None:
    """The least and greatest of an integer column when a bitmap of them is cheap."""
    query = f"select min({name}), max({name}), count(*) from {source}"
    least, greatest, count = _one_row(engine, query)
    if not isinstance(least, int) or isinstance(least, bool):
        return None
    span = greatest - least + 1
    # Sparser than a bit in 64, the bitmap outgrows the hash table it replaces.
    return (least, greatest) if span <= min(_WIDEST_BITMAP, 64 * count) else None


def _seen(holds: bool | None) -> bool:
    """Whether it holds; nothing compared with nothing, or with a bound, is an error."""
    if holds is None:
        raise ValueError(SAW_NO_ROWS)
    return bool(holds)


class ExpectRowsToSatisfy(BatchExpectation):
    """Every row, or at least the share `mostly`, satisfies an SQL condition."""

    expression: str
    mostly: float = 1.0

    metric_dependencies = ("table.row_count", "rows.unsatisfied_count")
    success_keys = ("expression", "mostly")
    args_keys = ("expression", "mostly")

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        rows, count = metrics["table.row_count"], metrics["rows.unsatisfied_count"]
        return {
            "success": rows - count >= self.mostly * rows,
            "result": {"unexpected_count": count},
        }


class ExpectAggregateToHold(BatchExpectation):
    """A condition on aggregates of the table holds."""

    condition: str

    metric_dependencies = ("table.aggregate_holds",)
    success_keys = ("condition",)
    args_keys = ("condition",)

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        return {"success": _seen(metrics["table.aggregate_holds"])}


class ExpectKeysToBeUnique(BatchExpectation):
    """No two rows have the same key."""

    key_columns: list[str]

    metric_dependencies = ("rows.repeated_count",)
    success_keys = ("key_columns",)
    args_keys = ("key_columns",)

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        count = metrics["rows.repeated_count"]
        return {"success": count == 0, "result": {"unexpected_count": count}}


class ExpectTotalToEqual(BatchExpectation):
    """An aggregate of the table equals one of another table."""

    expression: str
    equals: str
    equals_table: str

    metric_dependencies = ("table.totals_equal",)
    success_keys = ("expression", "equals", "equals_table")
    args_keys = ("expression", "equals", "equals_table")

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        return {"success": _seen(metrics["table.totals_equal"])}


class ExpectToBeLikeThePast(BatchExpectation):
    """What is new in the table is like what was there before, as a rule says that it must be."""

    rule_id: str

    metric_dependencies = ("table.like_the_past",)
    success_keys = ("rule_id",)
    args_keys = ("rule_id",)

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        return {"success": metrics["table.like_the_past"]}


class ExpectColumnsToBe(BatchExpectation):
    """The table has exactly these columns, of exactly these DuckDB types; in this order if told."""

    column_types: dict[str, str]
    ordered: bool = False

    metric_dependencies = ("table.column_types",)
    success_keys = ("column_types", "ordered")
    args_keys = ("column_types", "ordered")
    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id", "table")

    def _validate(
        self,
        metrics: Metrics,
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        found = {column["name"]: column["type"] for column in metrics["table.column_types"]}
        in_order = not self.ordered or list(found) == list(self.column_types)
        return {"success": found == self.column_types and in_order}
