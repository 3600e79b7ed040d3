"""Builds with faults planted, so that each of the 40 rules is broken in one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

FCT, FEATURES = "marts.fct_transactions", "features.feat_transactions__behaviour"

# Rows that are wrong here and there, as sources and models go wrong.
SCATTERED = (
    f"insert into {FCT} from {FCT} limit 5",
    f"update {FCT} set amount_cents = null where transaction_id % 1000 = 1",
    f"update {FCT} set amount_cents = -1 where transaction_id % 1000 = 2",
    f"update {FCT} set is_fraud = true where transaction_id % 7 = 3",
    f"update {FCT} set is_fraud = true, amount_cents = 0 where transaction_id % 1000 = 3",
    f"update {FCT} set transacted_at = timestamp '2060-01-01' where transaction_id % 1000 = 4",
    f"update {FCT} set customer_id = 12345678 where transaction_id % 1000 = 5",
    f"update {FCT} set terminal_id = 999999999 where transaction_id % 1000 = 6",
    f"update {FCT} set terminal_id = null where transaction_id % 100 = 7",
    f"alter table {FCT} add column more integer",
    "insert into marts.dim_customers from marts.dim_customers limit 3",
    "update marts.dim_customers set transaction_count = null where customer_id % 100 = 1",
    "update marts.dim_customers set first_transacted_at = timestamp '2060-01-01'"
    " where customer_id % 100 = 2",
    "update marts.dim_customers set fraud_count = fraud_count + 1 where customer_id % 100 = 3",
    "insert into marts.dim_terminals from marts.dim_terminals limit 2",
    "update marts.dim_terminals set fraud_count = transaction_count + 1 where terminal_id % 9 = 1",
    "update marts.dim_terminals set terminal_id = -terminal_id where terminal_id % 100 = 2",
    "insert into marts.fct_daily_transactions from marts.fct_daily_transactions limit 1",
    "update marts.fct_daily_transactions set transacted_on = transacted_on - interval 20 year"
    " where day(transacted_on) = 2",
    f"insert into {FEATURES} from {FEATURES} limit 4",
    f"update {FEATURES} set customer_amount_avg_7d = null where transaction_id % 1000 = 1",
    f"update {FEATURES} set customer_transaction_count_1d = 9999 where transaction_id % 1000 = 2",
    f"update {FEATURES} set terminal_risk_7d = 2 where transaction_id % 4 = 3",
    f"update {FEATURES} set terminal_risk_30d = -1 where transaction_id % 1000 = 4",
    f"update {FEATURES} set customer_amount_avg_1d = 99999 where transaction_id % 50 = 5",
    f"update {FEATURES} set is_night = not is_night where transaction_id % 1000 = 6",
    f"alter table {FEATURES} drop column is_weekend",
)
# A feed that stands still, and next to nothing left.
EMPTIED = (
    f"delete from {FCT} where transaction_id >= 50",
    f"update {FCT} set amount_cents = amount_cents * 1000, _loaded_at = timestamp '2001-01-01'",
    "delete from marts.fct_daily_transactions where transacted_on >"
    " (select min(transacted_on) from marts.fct_daily_transactions)",
)
FAULTS = {"scattered": SCATTERED, "emptied": EMPTIED}


def plant(database: Path, name: str, to: Path) -> None:
    """Copy a release's database to `to` and plant the faults of that name in it."""
    shutil.copyfile(database, to)
    with duckdb.connect(str(to)) as con:
        for statement in FAULTS[name]:
            con.execute(statement)
