"""The benchmarks' own parts: a yardstick that is wrong measures nothing."""

import numpy as np
import pytest

from benchmarks.exact import disagreements
from benchmarks.figures import Figure
from benchmarks.gate import COUNT, RULES, by_gate, by_sql
from benchmarks.gate_faults import FAULTS, plant
from benchmarks.reference import DAY, features
from benchmarks.reference import WINDOW_DAYS as DAYS
from expectations.known_columns import mistakes, of_project
from expectations.rule_files import load_rules
from warehouse.dbt_runner import parse


def random_rows(seed, count=120):
    """Few entities and few moments, whole days among them, so that ties and edges are common."""
    rng = np.random.default_rng(seed)
    return {
        "transaction_id": rng.permutation(count),
        "transacted_at": rng.integers(0, 60, count) * DAY + rng.integers(0, 2, count),
        "customer_id": rng.integers(0, 4, count),
        "terminal_id": rng.integers(0, 3, count),
        "amount_cents": rng.integers(0, 10_000, count),
        "is_fraud": rng.integers(0, 2, count),
    }


def by_definition(rows, i):
    """The features of row i, row by row as they are described."""
    at, row_id = rows["transacted_at"], rows["transaction_id"]
    every = range(len(at))
    day = np.datetime64(int(at[i]), "us").astype(object)
    told = {"is_weekend": day.isoweekday() >= 6, "is_night": day.hour <= 6}
    for n in DAYS:
        mine = [
            rows["amount_cents"][j]
            for j in every
            if rows["customer_id"][j] == rows["customer_id"][i]
            and at[i] - n * DAY < at[j]
            and (at[j], row_id[j]) <= (at[i], row_id[i])
        ]
        known = [
            rows["is_fraud"][j]
            for j in every
            if rows["terminal_id"][j] == rows["terminal_id"][i]
            and at[i] - (7 + n) * DAY < at[j] <= at[i] - 7 * DAY
        ]
        told[f"customer_transaction_count_{n}d"] = len(mine)
        told[f"customer_amount_avg_{n}d"] = sum(mine) / len(mine) / 100
        told[f"terminal_transaction_count_{n}d"] = len(known)
        told[f"terminal_risk_{n}d"] = sum(known) / len(known) if known else 0
    return told


def test_reference_is_the_definition():
    for seed in range(3):
        rows = random_rows(seed)
        found = features(rows)
        for i in range(len(rows["transaction_id"])):
            assert {name: found[name][i] for name in found} == by_definition(rows, i)


def test_disagreements_are_counted_by_row_and_missing_values_disagree():
    rows = random_rows(0) | {"transaction_id": np.arange(120)}
    right = {"transaction_id": rows["transaction_id"]} | features(rows)
    assert disagreements(right, right) == (0, "")
    wrong = right | {"customer_amount_avg_7d": right["customer_amount_avg_7d"].copy()}
    wrong["customer_amount_avg_7d"][[3, 5]] = [np.nan, 1e6]
    assert disagreements(wrong, right) == (2, "customer_amount_avg_7d: 2")
    missing = np.ma.masked_array(right["terminal_risk_1d"], mask=np.arange(120) == 7)
    assert disagreements(right | {"terminal_risk_1d": missing}, right)[0] == 1
    fewer = {name: values[1:] for name, values in right.items()}
    assert disagreements(fewer, right)[0] == 120


def test_a_figure_knows_whether_it_meets_its_bar():
    assert Figure("a", 2.0, "s", at_most=2.0).verdict == "ok"
    assert Figure("a", 2.1, "s", at_most=2.0).verdict == "MISSED"
    assert Figure("a", 14, "kills", at_least=15).verdict == "MISSED"
    assert Figure("a", 1.0, "s").verdict == ""


def test_rules_of_the_gate_fit_the_models(settings):
    assert list(mistakes(load_rules(RULES), of_project(parse(settings)))) == []


@pytest.mark.parametrize("name", FAULTS)
def test_gate_and_hand_written_sql_count_the_same(first, tmp_path, name):
    released = first.settings.database(first.settings.current.resolve())
    faulty = tmp_path / "warehouse.duckdb"
    plant(released, name, faulty)
    for database in (released, faulty):
        gate, sql = by_gate(database, first.settings), by_sql(database, first.settings)
        assert gate.counts == sql.counts
        assert len(gate.counts) == COUNT
    assert gate.broken
