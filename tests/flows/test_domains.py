"""Domains in the pipeline: a bad one is held at its older state, the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from handmade import edit, payment
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from two_domains import FACT, TwoDomains, declare, write_project
from typer.testing import CliRunner

from expectations import rule_files
from expectations.history import open_history
from expectations.incidents import Tracked
from expectations.known_columns import mistakes, of_project
from expectations.reporting.words import moment_of
from flows.cli import app
from flows.pipeline import STAGES, Run
from warehouse import dbt_runner, releases
from warehouse.dbt_runner import parse
from warehouse.errors import BuildError, ConfigurationError, GateBlockedError
from warehouse.incident_log import open_incident_log
from warehouse.rebuild import rebuild
from warehouse.releases import Release

GOOD, BAD = {1: 5, 2: 7}, {2: -7, 3: 1}
ORDERS = "select id, amount from fct_orders order by id"
PAYMENTS = "select transaction_id from fct_transactions order by 1"
MODEL = "models/marts/shop/fct_orders.sql"


@pytest.fixture(scope="module", autouse=True)
def no_rules_on_rows() -> Iterator[None]:
    """Whatever is wrong with a row, it gets as far as the gate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("expectations.raw.load_rules", list)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project of two domains, which the pipeline takes for its own."""
    folder = tmp_path_factory.mktemp("domains") / "project"
    write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        yield folder


def use(project: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dbt_runner, "PROJECT", project)
    patch.setattr(rule_files.load_rules, "__defaults__", (project / "rules",))


@pytest.fixture(scope="module")
def begun(template: Path) -> TwoDomains:
    """A home with a release of both domains. Not to be changed."""
    home = TwoDomains(template.parent / "works")
    home.put([payment(n, day=n, customer=n) for n in (1, 2, 3)])
    home.order(GOOD, "1")
    run = home.run()
    assert run.exit_code == 0, run.failure
    return home


@pytest.fixture
def home(begun: TwoDomains, tmp_path: Path) -> TwoDomains:
    shutil.copytree(begun.folder, tmp_path / "works", symlinks=True)
    return TwoDomains(tmp_path / "works")


@pytest.fixture
def own_project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to change."""
    shutil.copytree(template, tmp_path / "project")
    use(tmp_path / "project", monkeypatch)
    return tmp_path / "project"


def bad_payment(home: TwoDomains, name: str = "payments_bad.csv") -> None:
    home.put([payment(1, day=1, fraud=""), payment(8, day=8)], name)


@dataclass(frozen=True)
class Held:
    """A home with a domain that is held, the run that blocked it, and the release before."""

    home: TwoDomains
    run: Run
    before: Release

    @property
    def release(self) -> Release:
        return self.home.release()


def _held(begun: TwoDomains, folder: Path, *, is_main: bool) -> Held:
    shutil.copytree(begun.folder, folder, symlinks=True)
    home = TwoDomains(folder)
    if is_main:
        bad_payment(home)
        home.order({4: 4}, "2")
    else:
        home.order(BAD, "2")
        home.put([payment(4, day=4)], "payments4.csv")
    return Held(home, home.run(), begun.release())


@pytest.fixture(scope="module")
def shop_held(begun: TwoDomains, template: Path) -> Held:
    """The shop's newest orders are bad, and a payment came. Not to be changed."""
    return _held(begun, template.parent / "shop_held", is_main=False)


@pytest.fixture(scope="module")
def main_held(begun: TwoDomains, template: Path) -> Held:
    """The newest payments are bad, and an order came. Not to be changed."""
    return _held(begun, template.parent / "main_held", is_main=True)


@pytest.mark.slow
def test_release_of_all_domains_tells_each(begun: TwoDomains) -> None:
    release = begun.release()
    assert list(release.lines) == ["main", "shop"]
    for line in release.lines.values():
        assert (line.release, line.held) == (release.id, "")
        assert (line.lake_snapshot, line.verdict) == (release.lake_snapshot, "pass")
    assert release.lines["shop"].tables == [FACT]
    assert release.is_whole


def test_bad_domain_is_held_and_the_other_is_published(shop_held: Held) -> None:
    run, before, release = shop_held.run, shop_held.before, shop_held.release
    assert (run.exit_code, run.status, list(run.trace)) == (3, "blocked", list(STAGES))
    assert {run.trace[name].status for name in STAGES} == {"done"}
    assert release.id > before.id
    assert shop_held.home.ask(PAYMENTS) == [(1,), (2,), (3,), (4,)]
    assert shop_held.home.ask(ORDERS) == [(1, 5), (2, 7)]
    main, shop = release.lines["main"], release.lines["shop"]
    assert (main.release, main.lake_snapshot) == (release.id, release.lake_snapshot)
    assert (shop.release, shop.lake_snapshot) == (before.id, before.lake_snapshot)
    assert (release.verdict, main.verdict, shop.verdict) == ("pass", "pass", "pass")
    assert shop.held.startswith("the gate says block: fct_orders_amount_not_negative")
    assert shop_held.home.stale() == []


def test_held_release_has_the_code_rules_and_results_of_then(shop_held: Held) -> None:
    before, release = shop_held.before, shop_held.release
    assert {r["status"] for r in release.gate["results"]} <= {"pass", "carried"}
    assert (release.code, release.rules) == (before.code, before.rules)
    assert release.tables[FACT] == before.tables[FACT] == 2
    ids = [result["rule_id"] for result in release.gate["results"]]
    assert sorted(ids) == sorted(r["rule_id"] for r in before.gate["results"])


def test_past_is_remembered_of_what_was_published(shop_held: Held) -> None:
    """A blocked table is not what the next ones are compared with."""
    with open_history(shop_held.home.settings) as history:
        orders, customers = (
            history.profiles(f"marts.{name}", 9) for name in ("fct_orders", "dim_customers")
        )
    assert (len(orders), len(customers)) == (1, 2)


def test_message_says_what_stays_and_what_does_not(shop_held: Held) -> None:
    before, failure = shop_held.before, shop_held.run.failure
    assert isinstance(failure, GateBlockedError)
    assert failure.where == FACT
    assert failure.what.startswith("domain shop: the gate says block: fct_orders_amount")
    stays = f"shop stays as in release {before.id}, lake snapshot {before.lake_snapshot}"
    assert stays in failure.next_step
    assert "main is not held back" in failure.next_step


def test_summary_and_report_tell_it(shop_held: Held) -> None:
    told = shop_held.run.summary()["domains"]["shop"]
    assert (told["release"], bool(told["held"])) == (shop_held.before.id, True)
    page = (shop_held.home.settings.reports / "latest" / "index.html").read_text()
    assert (
        f"Blocked, but for main. Served: the release of {moment_of(shop_held.release.id)}." in page
    )


def test_report_has_the_figures_that_readers_see_and_the_blocked_ones_apart(
    shop_held: Held, tmp_path: Path
) -> None:
    assert shop_held.home.ask(ORDERS) == [(1, 5), (2, 7)]
    rows = shop_held.run.blocked
    assert set(rows) == {FACT}
    assert rows[FACT] > 2
    shutil.copytree(shop_held.home.folder, tmp_path / "works", symlinks=True)
    again = TwoDomains(tmp_path / "works")
    assert again.run().trace["publish"].status == "skipped"  # the blocked build is all there is
    for home in (shop_held.home, again):
        latest = home.settings.reports / "latest"
        told = json.loads((latest / "index.json").read_text())
        assert {t["name"]: t["rows"] for t in told["tables"]}[FACT] == 2
        assert told["blocked"] == rows
        assert not [change for change in told["changes"] if FACT in change["text"]
                    and "rows" in change["text"]]  # fmt: skip
        assert f"blocked: {rows[FACT]}" in (latest / "index.html").read_text()
        assert "In the blocked build" in (latest / "tables" / f"{FACT}.html").read_text()


def test_status_and_releases_tell_it(shop_held: Held) -> None:
    home = ["--home", str(shop_held.home.settings.home)]
    status = CliRunner().invoke(app, ["status", *home]).output
    assert f"shop: stays as in release {shop_held.before.id} (lake snapshot" in status
    assert "main: pass, lake snapshot" in status
    told = CliRunner().invoke(app, ["releases", *home]).output.splitlines()
    assert "main, shop (held)" in told[2]
    assert "held" not in told[3]


@pytest.mark.slow
def test_held_domain_is_published_when_it_passes(home: TwoDomains) -> None:
    home.order(BAD, "2")
    assert home.run().exit_code == 3
    home.order({2: 8}, "3")
    run = home.run()
    assert (run.exit_code, run.status) == (0, "done")
    assert home.release().is_whole
    assert home.ask(ORDERS) == [(1, 5), (2, 8), (3, 1)]
    assert home.stale() == []


@pytest.mark.slow
def test_bad_main_is_held_and_the_independent_one_is_published(main_held: Held) -> None:
    before, release = main_held.before, main_held.release
    assert (main_held.run.exit_code, main_held.run.status) == (3, "blocked")
    assert main_held.home.ask(PAYMENTS) == [(1,), (2,), (3,)]
    assert main_held.home.ask(ORDERS) == [(1, 5), (2, 7), (4, 4)]
    assert release.lines["main"].release == before.id
    assert release.lines["shop"].release == release.id
    assert release.features == before.features
    assert main_held.home.stale() == []


def test_extract_tells_its_lines_snapshot(main_held: Held) -> None:
    before, release = main_held.before, main_held.release
    features = main_held.home.settings.features / "feat_transactions__behaviour"
    told = json.loads((features / release.id / "manifest.json").read_text())
    assert (told["release"], told["domain"]) == (release.id, "main")
    assert told["domain_release"] == before.id
    assert told["lake_snapshot"] == before.lake_snapshot < release.lake_snapshot
    assert told["rows"] == 3


@pytest.mark.slow
def test_held_main_is_built_on_from_its_own_snapshot(main_held: Held, tmp_path: Path) -> None:
    """Incrementally: what changed since the line's snapshot is read, not since the release's."""
    shutil.copytree(main_held.home.folder, tmp_path / "works", symlinks=True)
    home = TwoDomains(tmp_path / "works")
    home.put([payment(5, day=5, customer=1)], "payments5.csv")
    home.order({5: 5}, "3")
    assert home.run().exit_code == 3
    home.put([payment(1, day=1, customer=2)], "payments6.csv")
    run = home.run()
    assert run.exit_code == 0, run.failure
    assert run.build is None
    assert run.trace["build"].detail == "9 models, 7 in full"  # the two incremental ones are not
    assert home.ask(PAYMENTS) == [(1,), (2,), (3,), (5,), (8,)]
    assert home.stale() == []


@pytest.mark.slow
def test_blocked_domain_alone_makes_one_release_not_one_a_run(home: TwoDomains) -> None:
    home.order(BAD, "2")
    assert home.run().exit_code == 3
    served = home.served()
    for _ in range(2):
        run = home.run()
        assert (run.exit_code, run.trace["build"].status) == (3, "done")
        assert run.trace["publish"].detail == "nothing new but what is blocked"
        assert home.served() == served
    home.order({3: -3}, "3")  # nor does another load that is as bad
    assert home.run().exit_code == 3
    assert home.served() == served


@pytest.mark.slow
def test_build_that_took_tables_over_is_not_audited_again(
    home: TwoDomains, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process killed before it published: the orders of then would pass for today's."""
    before = home.served()
    home.order(BAD, "2")

    def killed(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(releases, "publish", killed)
        with pytest.raises(ZeroDivisionError):
            home.run()
    assert home.served() == before
    with pytest.raises(BuildError, match="there is no build"):
        home.run("audit")
    assert home.run().exit_code == 3
    assert home.ask(ORDERS) == [(1, 5), (2, 7)]


@pytest.mark.slow
def test_all_domains_blocked_publish_nothing(home: TwoDomains) -> None:
    before = home.served()
    home.order(BAD, "2")
    bad_payment(home)
    run = home.run()
    assert (run.exit_code, home.served()) == (3, before)
    assert "publish" not in run.trace
    told = str(run.failure)
    assert "nothing was published" in told
    assert len(told.splitlines()) <= 4
    assert "ask the sender of " in told
    assert ".yml, line " in told
    assert "domain main: " in str(run.failure)
    assert "domain shop: " in str(run.failure)


@pytest.mark.slow
def test_domain_that_never_passed_is_not_in_the_release(template: Path, tmp_path: Path) -> None:
    home = TwoDomains(tmp_path)
    home.put([payment(1)])
    home.order({1: -1}, "1")
    run = home.run()
    assert run.exit_code == 3
    assert FACT not in home.release().tables
    assert home.release().lines["shop"].release is None
    assert home.ask("select table_name from duckdb_tables() where table_name = 'fct_orders'") == []
    home.order({1: 1}, "2")
    assert home.run().exit_code == 0
    assert home.ask(ORDERS) == [(1, 1)]


@pytest.mark.slow
def test_first_release_may_lack_main(template: Path, tmp_path: Path) -> None:
    home = TwoDomains(tmp_path)
    bad_payment(home)
    home.order(GOOD, "1")
    assert home.run().exit_code == 3
    assert list(home.release().tables) == [FACT]
    home.put([payment(1)])
    assert home.run().exit_code == 0
    assert home.stale() == []


@pytest.mark.slow
def test_domain_whose_model_fails_is_held(home: TwoDomains, own_project: Path) -> None:
    edit(own_project, MODEL, "    amount\n", "    error('no')::bigint as amount\n")
    home.put([payment(4, day=4)], "payments4.csv")
    run = home.run()
    assert run.exit_code == 3
    assert run.failure is not None
    assert "model fct_orders failed" in str(run.failure)
    assert home.ask(PAYMENTS) == [(1,), (2,), (3,), (4,)]
    assert home.ask(ORDERS) == [(1, 5), (2, 7)]
    assert "model fct_orders failed" in home.release().lines["shop"].held
    with open_incident_log(home.settings) as log:
        (incident,) = (Tracked.from_row(row).incident for row in log.rows())
    assert "fct_orders" in incident.title
    assert "✕ blocked" in (home.settings.reports / "latest" / "index.html").read_text()


@pytest.mark.slow
def test_main_whose_model_fails_is_held(home: TwoDomains, own_project: Path) -> None:
    daily = "models/marts/fct_daily_transactions.sql"
    right, wrong = (f"{sql} as transaction_count" for sql in ("count(*)", "error('no')::bigint"))
    edit(own_project, daily, right, wrong)
    home.order({4: 4}, "2")
    assert home.run().exit_code == 3
    assert home.ask(ORDERS)[-1] == (4, 4)
    edit(own_project, daily, wrong, right)
    home.put([payment(4, day=4)], "payments4.csv")
    assert home.run().exit_code == 0
    assert home.stale() == []


@pytest.mark.slow
def test_changed_code_of_a_blocked_domain_stays_out(home: TwoDomains, own_project: Path) -> None:
    before = home.release()
    edit(own_project, MODEL, "    amount\n", "    -amount as amount\n")
    assert home.run().exit_code == 3
    assert home.release().code["fct_orders"] == before.code["fct_orders"]
    edit(own_project, MODEL, "    -amount as amount\n", "    amount + 1 as amount\n")
    assert home.run().exit_code == 0
    assert home.ask(ORDERS) == [(1, 6), (2, 8)]


@pytest.mark.slow
def test_stages_one_by_one_hold_the_domain_as_a_run_does(home: TwoDomains) -> None:
    home.order(BAD, "2")
    home.put([payment(4, day=4)], "payments4.csv")
    assert home.run("land", "load").exit_code == 0
    assert home.run("build").exit_code == 0
    assert home.run("audit", "report").exit_code == 3
    assert home.run("publish", "features").exit_code == 3
    assert home.ask(ORDERS) == [(1, 5), (2, 7)]
    assert home.ask(PAYMENTS)[-1] == (4,)


@pytest.mark.slow
def test_rollback_takes_all_lines_back(home: TwoDomains) -> None:
    home.order({4: 4}, "2")
    home.run()
    older = home.served()
    home.order(BAD, "3")
    home.put([payment(4, day=4)], "payments4.csv")
    home.run()
    releases.rollback(home.settings, older)
    assert (len(home.ask(ORDERS)), len(home.ask(PAYMENTS))) == (3, 3)
    releases.resume(home.settings)
    assert home.run().exit_code == 3
    assert (len(home.ask(ORDERS)), len(home.ask(PAYMENTS))) == (3, 4)
    assert home.stale() == []


@pytest.mark.slow
def test_domain_held_over_a_lake_made_again_is_built_in_full(home: TwoDomains) -> None:
    before = home.release()
    bad_payment(home)
    home.run()
    assert rebuild(home.settings, []).swapped
    run = home.run(full_refresh=True)
    assert run.exit_code == 3
    main = home.release().lines["main"]
    assert (main.release, main.lake) == (before.id, before.lake)
    assert home.release().lake != before.lake
    home.put([payment(1, day=1)], "payments5.csv")
    run = home.run()
    assert run.trace["build"].detail == "9 models, 9 in full"
    assert home.release().is_whole
    assert home.stale() == []


@pytest.mark.slow
def test_domain_declared_later_keeps_what_was_published_of_it(
    home: TwoDomains, own_project: Path
) -> None:
    declare(own_project)
    assert home.run().exit_code == 0
    assert list(home.release().lines) == ["main"]
    as_one = home.served()
    home.order(BAD, "2")
    home.put([payment(4, day=4)], "payments4.csv")
    assert home.run().exit_code == 3
    assert home.served() == as_one  # not independent: it holds all back
    declare(own_project, "shop")
    assert home.run().exit_code == 3
    assert home.release().lines["shop"].release == as_one
    assert home.ask(ORDERS) == [(1, 5), (2, 7)]
    assert home.ask(PAYMENTS)[-1] == (4,)


def test_unknown_domain_is_told_with_the_nearest(home: TwoDomains, own_project: Path) -> None:
    declare(own_project, "shpo")
    run = home.run()
    assert isinstance(run.failure, ConfigurationError)
    assert run.failure.where == "dbt_project.yml"
    assert "did you mean 'shop'" in run.failure.next_step


@pytest.mark.parametrize(
    ("file", "read", "reader", "other"),
    [
        (MODEL, "fct_transactions", "fct_orders", "'main'"),
        ("models/marts/dim_customers.sql", "fct_orders", "dim_customers", "'shop'"),
    ],
)
def test_model_that_reads_another_line_is_refused(
    home: TwoDomains, own_project: Path, file: str, read: str, reader: str, other: str
) -> None:
    with (own_project / file).open("a") as handle:
        handle.write(f"\n-- {{{{ ref('{read}') }}}}\n")
    run = home.run()
    assert isinstance(run.failure, BuildError)
    assert f"model {reader}" in run.failure.what
    assert f"reads {read} of {other}" in run.failure.what
    assert run.failure.where == file


@pytest.mark.parametrize(
    "check",
    [
        "check: references\n    column: id\n    references_table: marts.fct_transactions\n"
        "    references_columns: [transaction_id]",
        "check: row_count\n    equals_table: marts.dim_customers",
        "check: row_count\n    equals_table: raw_payments.transactions",
        "check: total\n    expression: sum(amount)\n    equals_table: marts.dim_customers\n"
        "    equals: count(*)",
        "check: expression\n    expression: id in (select customer_id from marts.dim_customers)",
        "check: between\n    column: id\n    max: (select max(customer_id) from dim_customers)",
    ],
)
def test_rule_that_looks_into_another_line_is_refused(
    begun: TwoDomains, own_project: Path, check: str
) -> None:
    known = of_project(parse(begun.settings))
    published = [rule for rule in rule_files.load_rules() if rule.boundary != "raw"]
    assert list(mistakes(published, known)) == []
    with (own_project / "rules" / "marts" / "fct_orders.yml").open("a") as handle:
        handle.write(f"  - id: across\n    {check}\n    severity: warning\n    reason: none\n")
    published = [rule for rule in rule_files.load_rules() if rule.boundary != "raw"]
    (mistake,) = mistakes(published, known)
    assert "rule across: it is on marts.fct_orders of the domain 'shop'" in mistake.what


@pytest.mark.slow
@given(steps=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=5))
@search(max_examples=search().max_examples // 2 + 1)
def test_any_history_of_blocks_leaves_each_line_as_built_in_full(
    begun: TwoDomains, steps: list[tuple[bool, bool]]
) -> None:
    """Good and bad loads in both: a line is at the newest snapshot that it was good at."""
    with TemporaryDirectory() as folder:
        shutil.copytree(begun.folder, Path(folder) / "works", symlinks=True)
        home = TwoDomains(Path(folder) / "works")
        orders, last = dict(GOOD), dict(GOOD)
        for number, (is_main_good, is_shop_good) in enumerate(steps, 10):
            fraud = 0 if is_main_good else ""
            rows = [payment(1, day=1, fraud=fraud), payment(number, day=number, customer=1)]
            home.put(rows, f"payments{number}.csv")
            orders |= {1: 5 if is_shop_good else -5, number: number}
            home.order({n: orders[n] for n in (1, number)}, str(number))
            run = home.run()
            assert run.exit_code == (0 if is_main_good and is_shop_good else 3)
            last = dict(orders) if is_shop_good else last
            assert dict(home.ask(ORDERS)) == last
            assert home.stale() == []
