"""The retailer's year, all the way: what is wrong in it is found and counted, and sums add up."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pytest
from pyarrow import parquet

from flows import pipeline, retail
from flows.pipeline import Options, Run
from warehouse import releases
from warehouse.errors import ConfigurationError
from warehouse.settings import PROJECT, Settings
from warehouse.sources import load_sources

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(retail.PACKAGE) is None, reason="`make retail` installs the data"
)
MARTS = {
    "marts.dim_retail_households",
    "marts.dim_retail_products",
    "marts.fct_retail_campaigns",
    "marts.fct_retail_daily_sales",
    "marts.fct_retail_transactions",
    "marts.fct_retail_weekly_department_sales",
    "marts.fct_retail_weekly_promotions",
}
LOADED = {
    "campaign_descriptions": 27,
    "campaigns": 6_589,
    "coupon_redemptions": 2_102,
    "coupons": 111_332,
    "demographics": 801,
    "products": 92_331,
    "promotions": 20_940_529,
    "transactions": 1_469_307,
}
DIRT = {
    "dim_retail_households_demographics_known": 1_668,
    "dim_retail_products_category_known": 540,
    "dim_retail_products_package_size_known": 30_586,
    "dim_retail_products_type_known": 528,
    "fct_retail_transactions_product_known": 4_836,
    "fct_retail_transactions_quantity_fits_a_tank": 1,
    "fct_retail_transactions_quantity_positive": 8_869,
    "fct_retail_transactions_sales_not_a_trace": 20,
    "fct_retail_transactions_sales_not_zero": 11_226,
}
at = datetime.fromisoformat
# A little of everything, with what the year does not have: a campaign that was sent to nobody, a
# household that bought nothing.
SMALL: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "campaign_descriptions": (
        "campaign_id campaign_type start_date end_date",
        [
            (1, "Type A", at("2017-01-01"), at("2017-01-31")),
            (2, "Type B", at("2017-06-01"), at("2017-06-30")),
        ],
    ),
    "campaigns": ("campaign_id household_id", [(1, 1), (1, 2)]),
    "coupon_redemptions": (
        "household_id coupon_upc campaign_id redemption_date",
        [(1, 500, 1, at("2017-01-02")), (1, 500, 1, at("2017-01-03"))],
    ),
    "coupons": (
        "coupon_upc product_id campaign_id",
        [(500, 10, 1), (500, 11, 1), (501, 10, 1), (500, 10, 1)],
    ),
    "demographics": (
        "household_id age income home_ownership marital_status household_size household_comp"
        " kids_count",
        [
            (1, "45-54", "50-74K", "Renter", "Married", "2", "2 Adults No Kids", "0"),
            (3, "65+", "15-24K", None, "Unmarried", "1", "1 Adult No Kids", "0"),
        ],
    ),
    "products": (
        "product_id manufacturer_id department brand product_category product_type package_size",
        [
            (10, 2, "GROCERY", "National", "BREAD", "RYE", "1 LB"),
            (11, 2, "MEAT", "Private", "BEEF", "ROAST", None),
        ],
    ),
    "promotions": (
        "product_id store_id display_location mailer_location week",
        [
            (10, 1, "9", "0", 1),
            (10, 1, "9", "A", 1),
            (10, 2, "0", "A", 1),
            (12, 1, "0", "D", 1),
            (11, 1, "1", "0", 2),
        ],
    ),
    "transactions": (
        "household_id store_id basket_id product_id quantity sales_value retail_disc coupon_disc"
        " coupon_match_disc week transaction_timestamp",
        [
            (1, 1, 100, 10, 1, 1.15, 0.29, 0.0, 0.0, 1, at("2017-01-02 04:59:59")),
            (1, 1, 100, 12, 1, 2.0, 0.0, 0.5, 0.25, 1, at("2017-01-02 04:59:59")),
            (2, 1, 101, 10, 0, 0.0, 0.0, 0.0, 0.0, 2, at("2017-01-02 05:00:00")),
        ],
    ),
}


class Year:
    """A home after its run, the run, the released tables and the files as they arrived."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = settings.samples / "retail"
        self.run = self.again()

    def again(self) -> Run:
        return pipeline.execute(self.settings, Options(sources=retail.SOURCES))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of a query on the release; a source's name stands for its file."""
        with closing(duckdb.connect(self.settings.current / "warehouse.duckdb", True)) as con:
            for table in retail.TABLES:
                con.execute(f"create temp view {table} as from '{self.files}/{table}.parquet'")
            con.execute("set search_path = 'marts,temp'")
            return con.execute(sql).fetchall()

    def dirt(self) -> dict[str, int]:
        """What is wrong, from release.json: the rows that break each rule, tolerated or not."""
        release = releases.current(self.settings)
        assert release is not None
        return {
            result["rule_id"]: result["unexpected_count"]
            for result in release.gate["results"]
            if result["unexpected_count"]
        }


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    settings = Settings(tmp_path_factory.mktemp("retail") / "home", 2, "1GiB")
    retail.prepare(settings)
    return Year(settings)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Year:
    settings = Settings(tmp_path_factory.mktemp("small") / "home", 2, "1GiB")
    folder = settings.samples / "retail"
    folder.mkdir(parents=True)
    for table, (columns, rows) in SMALL.items():
        named = [dict(zip(columns.split(), row, strict=True)) for row in rows]
        parquet.write_table(pyarrow.Table.from_pylist(named), folder / f"{table}.parquet")
    return Year(settings)


@pytest.mark.slow
@needs_package
def test_every_row_is_loaded_or_counted(year: Year) -> None:
    counts = {name: summary.counts for name, summary in year.run.summaries.items()}
    assert {name.removeprefix("retail."): c.loaded for name, c in counts.items()} == LOADED
    known = {name: c.already_known for name, c in counts.items() if c.already_known}
    assert known == {"retail.coupons": 4_872}
    assert sum(c.quarantined + c.refused for c in counts.values()) == 0
    assert sum(c.rows_in for c in counts.values()) == 22_627_890


@pytest.mark.slow
@needs_package
def test_what_is_wrong_is_usual_and_counted_and_shown_and_published(year: Year) -> None:
    assert (year.run.exit_code, year.run.release and year.run.release.verdict) == (0, "pass")
    assert year.dirt() == DIRT
    assert year.run.release is not None
    assert set(year.run.release.tables) == MARTS
    assert year.run.report is not None
    page = year.run.report.read_text()
    shown = [count for count in (4_872, *DIRT.values()) if f"{count:,}" not in page]
    assert shown == []


@pytest.mark.slow
@needs_package
def test_greatest_quantity_is_shown(year: Year) -> None:
    assert year.run.gate is not None
    (detail,) = (r.detail for r in year.run.gate.results if r.rule_id.endswith("fits_a_tank"))
    assert "quantity=89638" in detail


@pytest.mark.slow
@needs_package
def test_money_is_the_files(year: Year) -> None:
    columns = {
        "sales_value": "sales_value_cents",
        "retail_disc": "retail_discount_cents",
        "coupon_disc": "coupon_discount_cents",
        "coupon_match_disc": "coupon_match_discount_cents",
    }
    arrived = ", ".join(f"sum(cast({name} as decimal(18, 2)))" for name in columns)
    told = ", ".join(f"sum({name}) / 100" for name in columns.values())
    wanted = [float(value) for value in year.ask(f"select {arrived} from transactions")[0]]
    for mart in (
        "fct_retail_transactions",
        "fct_retail_daily_sales",
        "fct_retail_weekly_department_sales",
        "dim_retail_households",
    ):
        assert list(year.ask(f"select {told} from {mart}")[0]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow
@needs_package
def test_trading_days_are_the_stores_own(year: Year) -> None:
    """The retailer's weeks end with a day, and at Christmas the stores are closed."""
    split = (
        "select count(*) from (select {} from fct_retail_transactions group by all"
        " having count(distinct week) > 1)"
    )
    assert year.ask(split.format("sold_on")) == [(0,)]
    assert year.ask(split.format("cast(transacted_at as date)")) == [(51,)]
    closed = "from range(date '2017-01-01', date '2018-01-01', interval 1 day) as d(day)"
    assert year.ask(
        f"select cast(day as date)::text {closed} anti join fct_retail_daily_sales on sold_on = day"
    ) == [("2017-12-25",)]


@pytest.mark.slow
@needs_package
def test_campaigns_are_what_the_files_say(year: Year) -> None:
    told = (
        "select campaign_id, household_count, coupon_count, redemption_count,"
        " redeeming_household_count, redeeming_household_share from fct_retail_campaigns"
    )
    counted = (
        "select d.campaign_id, count(distinct c.household_id), count(distinct o.coupon_upc),"
        " (select count(*) from coupon_redemptions r where r.campaign_id = d.campaign_id),"
        " count(distinct c.household_id) filter (where r.coupon_upc is not null) as redeeming,"
        " redeeming / count(distinct c.household_id) from campaign_descriptions d"
        " join campaigns c using (campaign_id) join (select distinct campaign_id, coupon_upc"
        " from coupons) o using (campaign_id) left join coupon_redemptions r"
        " on (r.campaign_id, r.household_id, r.coupon_upc)"
        " = (d.campaign_id, c.household_id, o.coupon_upc) group by 1"
    )
    assert year.ask(f"{told} order by 1") == year.ask(f"{counted} order by 1")
    assert year.ask("select sum(redemption_count) from fct_retail_campaigns") == [(2_102,)]


@pytest.mark.slow
@needs_package
def test_promotions_are_what_the_file_says(year: Year) -> None:
    told = "sum(promotion_count), sum(display_count), sum(mailer_count)"
    counted = (
        "count(*), count(*) filter (where display_location <> '0'),"
        " count(*) filter (where mailer_location <> '0')"
    )
    assert year.ask(
        f"select week, {told} from fct_retail_weekly_promotions group by 1 order by 1"
    ) == year.ask(f"select week, {counted} from promotions group by 1 order by 1")


@pytest.mark.slow
@needs_package
def test_same_year_again_changes_nothing(year: Year) -> None:
    again = year.again()
    assert (again.status, again.trace["build"].status) == ("done", "skipped")
    assert sum(summary.counts.loaded for summary in again.summaries.values()) == 0


def test_small_year_is_published_with_its_warnings(small: Year) -> None:
    assert small.run.exit_code == 0, small.run.failure
    assert small.run.summaries["retail.coupons"].counts.already_known == 1
    assert small.dirt() == {
        "dim_retail_households_demographics_known": 1,
        "dim_retail_products_package_size_known": 1,
        "fct_retail_campaigns_sent": 1,
        "fct_retail_transactions_product_known": 1,
        "fct_retail_transactions_quantity_positive": 1,
        "fct_retail_transactions_sales_not_zero": 1,
    }


def test_small_year_adds_up(small: Year) -> None:
    assert small.ask(
        "select sold_on::text, transaction_count, basket_count, household_count,"
        " sales_value_cents, retail_discount_cents, coupon_discount_cents,"
        " coupon_match_discount_cents, basket_value_cents_avg"
        " from fct_retail_daily_sales order by sold_on"
    ) == [
        ("2017-01-01", 2, 1, 1, 315, 29, 50, 25, 315.0),
        ("2017-01-02", 1, 1, 1, 0, 0, 0, 0, 0.0),
    ]
    assert small.ask(
        "select week, department, transaction_count, sales_value_cents"
        " from fct_retail_weekly_department_sales order by all"
    ) == [(1, "GROCERY", 1, 115), (1, "UNKNOWN", 1, 200), (2, "GROCERY", 1, 0)]
    assert small.ask(
        "select household_id, is_demographics_known, age_band, basket_count, sales_value_cents,"
        " last_sold_on::text from dim_retail_households order by all"
    ) == [
        (1, True, "45-54", 1, 315, "2017-01-01"),
        (2, False, None, 1, 0, "2017-01-02"),
        (3, True, "65+", 0, 0, None),
    ]


def test_small_year_has_its_campaigns_and_promotions(small: Year) -> None:
    assert small.ask(
        "select * exclude (campaign_type, started_on, ended_on)"
        " from fct_retail_campaigns order by campaign_id"
    ) == [(1, 2, 2, 2, 2, 1, 1, 0.5), (2, 0, 0, 0, 0, 0, 0, None)]
    assert small.ask("from fct_retail_weekly_promotions order by all") == [
        (1, "GROCERY", 1, 3, 2, 2),
        (1, "UNKNOWN", 1, 1, 0, 1),
        (2, "MEAT", 1, 1, 1, 0),
    ]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the package that cannot be imported, in the place of the real one."""
    folder = tmp_path / "installed" / retail.PACKAGE
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('no pandas')")
    for table in retail.TABLES:
        (folder / "data" / f"{table}.parquet").write_bytes(table.encode())
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    assert retail.PACKAGE not in sys.modules


def test_files_of_the_package_are_linked_once(settings: Settings, package: Path) -> None:
    folder = retail.prepare(settings)
    links = {link.name: link.lstat().st_ino for link in folder.iterdir()}
    assert sorted(links) == [f"{table}.parquet" for table in sorted(retail.TABLES)]
    assert (folder / "coupons.parquet").read_bytes() == b"coupons"
    retail.prepare(settings)
    assert {link.name: link.lstat().st_ino for link in folder.iterdir()} == links


def test_link_to_another_place_is_replaced(settings: Settings, package: Path) -> None:
    folder = settings.samples / "retail"
    folder.mkdir(parents=True)
    (folder / "coupons.parquet").symlink_to("gone/coupons.parquet")
    retail.prepare(settings)
    assert (folder / "coupons.parquet").read_bytes() == b"coupons"
    assert len(list(folder.iterdir())) == len(retail.TABLES)


def test_package_that_is_missing_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"not installed(.|\n)*make retail"):
        retail.prepare(settings)
    assert not settings.home.exists()


def test_package_without_a_file_is_told(settings: Settings, package: Path) -> None:
    (package / "data" / "coupons.parquet").unlink()
    with pytest.raises(ConfigurationError, match="not whole"):
        retail.prepare(settings)


def test_every_table_is_a_source(settings: Settings) -> None:
    sources = load_sources(retail.SOURCES, settings)
    assert [source.name for source in sources] == [f"retail.{table}" for table in retail.TABLES]


def test_plain_dbt_leaves_the_retailer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbt.cli.main import dbtRunner

    monkeypatch.setenv("CLEARWATER_HOME", str(tmp_path))
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    monkeypatch.setenv("DBT_LOG_PATH", str(tmp_path / "logs"))
    place = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]

    def listed(*arguments: str) -> set[str]:
        result = dbtRunner().invoke(["--quiet", "ls", *place, "--output", "name", *arguments])
        assert result.success, result.exception
        return set(result.result)

    everything = listed("--select", "*")
    named = {name for name in everything if "retail" in name}
    assert listed() == everything - named
    assert listed("--selector", "retail") == {n for n in named if not n.startswith("source:")}
