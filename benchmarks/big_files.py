"""Large files of simulated orders, for what depends on size alone."""

from __future__ import annotations

from pathlib import Path

from warehouse.duck import connect, quoted
from warehouse.settings import load_settings

COLUMNS = {
    "order_id": "BIGINT",
    "ordered_at": "TIMESTAMP",
    "customer_id": "BIGINT",
    "shop_id": "INTEGER",
    "amount": "DECIMAL(10,2)",
    "weight_kg": "DOUBLE",
    "delivered_on": "DATE",
    "status": "VARCHAR",
}
ORDERS = """
select
    range as order_id,
    timestamp '2026-01-01' + to_seconds(range * 3) as ordered_at,
    hash(range) % 200000 as customer_id,
    hash(range, 1) % 500 as shop_id,
    (hash(range, 2) % 50000 / 100)::decimal(10, 2) as amount,
    (hash(range, 3) % 30000) / 1000 as weight_kg,
    date '2026-01-01' + (range / 28800)::integer as delivered_on,
    ['new', 'paid', 'sent', 'back'][(hash(range, 4) % 4 + 1)::bigint] as status
from range({rows})
"""


def write_orders(file: Path, rows: int) -> None:
    """A CSV file of so many orders, in the order of their time; the same at each call."""
    con = connect(load_settings(file.parent / "generator"))
    con.execute(f"copy ({ORDERS.format(rows=rows)}) to {quoted(file)} (header, delimiter ',')")
    con.close()


def sources_entry(file: Path, *, key: bool) -> str:
    """A sources file that declares the orders."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
    return (
        f"version: 1\nsources:\n  - name: shop.orders\n    path: {file}\n"
        f"    columns: {{{columns}}}\n" + ("    key: [order_id]\n" if key else "")
    )
