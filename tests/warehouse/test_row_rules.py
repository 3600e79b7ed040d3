"""The raw boundary: rows that break a rule wait in quarantine, with the rule and its reason."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest
from handmade import sources_file
from shop import ORDERS, Connection, Shop

from expectations.raw import with_rules
from expectations.rule_files import load_rules
from expectations.rules import Rule
from warehouse import lake, quarantine, replaying
from warehouse.batch import Judged
from warehouse.errors import ConfigurationError
from warehouse.ingest import land_sources, load_sources
from warehouse.loading_order import ranks
from warehouse.quarantine import Chosen
from warehouse.rebuild import rebuild
from warehouse.settings import Settings
from warehouse.sources import RowRule, Source
from warehouse.sources import load_sources as read_sources
from warehouse.waiting import waiting

ENTRY = ORDERS | {"columns": {"id": "bigint", "amount": "double", "day": "date"}}
HEADER = "id,amount,kind,day\n"
RULES = """\
table: raw_shop.orders
owner: shop
rules:
  - {id: positive, check: between, column: amount, min: 0, severity: critical, reason: no refunds}
  - id: kinds
    check: in_set
    column: kind
    values: [a, b]
    severity: critical
    reason: no other kind is sold
  - {id: dated, check: not_null, column: day, severity: warning, reason: days are known}
"""


@pytest.fixture
def shop(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(lake, "connect", Connection)
    monkeypatch.setattr(quarantine, "connect", Connection)
    return Shop(settings, tmp_path / "shop")


def rules_of(shop: Shop, text: str) -> list[Rule]:
    folder = shop.folder.parent / "rules"
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    (folder / "raw" / "orders.yml").write_text(dedent(text))
    return load_rules(folder)


def declared(shop: Shop, text: str, **entry: Any) -> list[Source]:
    file = sources_file(shop.folder, ENTRY | entry)
    return with_rules(read_sources(file, shop.settings), rules_of(shop, text))


def send(shop: Shop, rows: str, name: str = "orders.csv", rules: str = RULES, **entry: Any) -> Any:
    shop.put(HEADER + rows, name)
    sources = declared(shop, rules, **entry)
    landed = land_sources(shop.settings, sources)
    return load_sources(shop.settings, sources, landed, "a run")[0]["shop.orders"]


def test_rows_that_break_a_rule_wait_and_the_others_load(shop: Shop) -> None:
    summary = send(shop, "1,1,a,2024-01-01\n2,-1,b,\n3,-2,c,\n4,4,,\n5,5,b,2024-01-02\n")
    assert (summary.counts.loaded, summary.counts.quarantined) == (3, 2)
    assert [row[0] for row in shop.orders()] == [1, 4, 5]
    assert shop.quarantine() == [
        (2, "rule:positive", "positive: no refunds"),
        (3, "rule:positive", "positive: no refunds; kinds: no other kind is sold"),
    ]
    told = "3 rows, 1 of them loaded, in breach of the rule dated: days are known"
    assert f"orders.csv: {told}" in summary.changes


@pytest.mark.parametrize(
    ("rows", "told", "broken"),
    [
        ("4,4,a,\n5,5,b,\n", "2 rows loaded", {"dated": 2}),
        (
            "4,4,a,\n5,-5,c,\n6,6,z,\n",
            "3 rows, 1 of them loaded,",
            {"positive": 1, "kinds": 2, "dated": 3},
        ),
        ("4,-4,a,\n", "1 row, not loaded,", {"positive": 1, "dated": 1}),
    ],
)
def test_rows_are_counted_by_each_rule_whatever_the_others_say(
    shop: Shop, rows: str, told: str, broken: dict[str, int]
) -> None:
    """Also by one that only warns, of rows that another sends to the quarantine."""
    summary = send(shop, "1,1,a,2024-01-01\n2,2,b,2024-01-01\n" + rows)
    assert f"orders.csv: {told} in breach of the rule dated: days are known" in summary.changes
    assert summary.judged == Judged(1, summary.counts.rows_in, Counter(broken))


def test_more_than_the_tolerance_refuses_the_batch(shop: Shop) -> None:
    rules = RULES.replace("min: 0,", "min: 0, tolerance: 0.2,")
    summary = send(shop, "1,1,a,\n2,-1,a,\n3,-2,a,\n4,4,a,\n", rules=rules)
    (problem,) = summary.problems
    assert "2 of 4 rows break the rule positive (no refunds)" in problem
    assert "more than its tolerance of 20%; the first is row 2: {" in problem
    assert summary.counts.refused == 4
    assert summary.judged_refused == Judged(0, 4, Counter(positive=2, dated=4))
    assert summary.judged == Judged()
    assert send(shop, "1,1,a,\n2,-1,a,\n3,2,a,\n4,4,a,\n5,5,a,\n", rules=rules).counts.loaded == 4


def test_a_refusal_quotes_no_personal_value(shop: Shop) -> None:
    rules = RULES.replace("min: 0,", "min: 0, tolerance: 0.2,")
    rows = "1,-8675309,secret,\n2,-1,a,\n"
    (problem,) = send(shop, rows, rules=rules, personal=["AMOUNT", "kind"]).problems
    assert '"amount":"•••","kind":"•••"' in problem
    assert "8675309" not in problem
    assert "secret" not in problem


def test_replay_after_the_rule_is_mended(shop: Shop) -> None:
    send(shop, "1,1,a,\n2,-1,a,\n3,3,x,\n")
    mended = RULES.replace("min: 0", "min: -1")
    [done] = replaying.replay(shop.settings, declared(shop, mended), Chosen("shop.orders"), "again")
    assert (done.counts.loaded, done.counts.quarantined) == (1, 1)
    assert [row[0] for row in shop.orders()] == [1, 2]


def counts_by_rule(shop: Shop) -> dict[str, tuple[int, int]]:
    found = quarantine.groups(shop.settings, Chosen("shop.orders"))
    by_rule = {group.reason: (group.rows, group.first_rows) for group in found}
    held = waiting(shop.settings).held
    assert {group.reason: (group.rows, group.first_rows) for group in held} == by_rule
    return by_rule


BOTH_BROKEN = "1,1,a,\n2,-1,x,\n3,-2,y,\n4,-3,b,\n5,5,z,\n" + "".join(
    f"{n},1,a,\n" for n in range(6, 12)
)


def test_row_that_breaks_two_rules_counts_for_both_and_once_in_all(shop: Shop) -> None:
    send(shop, BOTH_BROKEN)
    assert counts_by_rule(shop) == {"rule:positive": (3, 3), "rule:kinds": (3, 1)}
    assert waiting(shop.settings).rows == {"shop.orders": 4}
    chosen = Chosen("shop.orders", reason="rule:kinds")
    assert [r["_source_row"] for r in quarantine.rows(shop.settings, chosen, None)] == [2, 3, 5]
    [given_up] = quarantine.drop(shop.settings, chosen)
    assert (given_up.reason, given_up.rows, given_up.first_rows) == ("rule:kinds", 3, 3)
    assert counts_by_rule(shop) == {"rule:positive": (1, 1)}


def test_replay_forgets_the_one_rule_that_was_mended_and_keeps_the_other(shop: Shop) -> None:
    send(shop, BOTH_BROKEN)
    mended = declared(shop, RULES.replace("[a, b]", "[a, b, x, y]"))
    [done] = replaying.replay(shop.settings, mended, Chosen("shop.orders"), "again")
    assert (done.counts.loaded, done.counts.quarantined) == (0, 4)
    assert counts_by_rule(shop) == {"rule:positive": (3, 3), "rule:kinds": (1, 1)}
    mended = declared(shop, RULES.replace("min: 0", "min: -9"))
    [done] = replaying.replay(shop.settings, mended, Chosen("shop.orders"), "again")
    assert (done.counts.loaded, done.counts.quarantined) == (1, 3)
    assert counts_by_rule(shop) == {"rule:kinds": (3, 3)}


def test_rows_of_an_older_lake_count_for_their_first_rule_until_replayed(shop: Shop) -> None:
    send(shop, BOTH_BROKEN)
    with lake.writing(shop.settings) as con:
        for table in ("quarantine", "dropped"):
            con.execute(f"alter table lake.meta.{table} drop column reasons")
    assert counts_by_rule(shop) == {"rule:positive": (3, 3), "rule:kinds": (1, 1)}
    replaying.replay(shop.settings, declared(shop, RULES), Chosen("shop.orders"), "again")
    assert counts_by_rule(shop) == {"rule:positive": (3, 3), "rule:kinds": (3, 1)}


def test_rebuild_keeps_all_rules_of_a_row_that_was_given_up(shop: Shop) -> None:
    send(shop, BOTH_BROKEN)
    quarantine.drop(shop.settings, Chosen("shop.orders", reason="rule:kinds"))
    sql = (
        "select _source_row, reasons from lake.meta.dropped order by 1",
        "select _source_row, reasons from lake.meta.quarantine",
    )
    before = shop.ask(*sql)
    assert before[0][0] == (2, ["rule:positive", "rule:kinds"])
    shutil.rmtree(shop.settings.lake_catalog.parent)
    assert rebuild(shop.settings, []).swapped
    assert shop.ask(*sql) == before


def test_row_that_breaks_a_rule_replaces_nothing(shop: Shop) -> None:
    send(shop, "1,1,a,\n", write="merge")
    send(shop, "1,-1,a,\n2,2,a,\n", "orders2.csv", write="merge")
    assert [row[:2] for row in shop.orders()] == [(1, 1.0), (2, 2.0)]


def test_rebuild_knows_the_rules_of_each_load(shop: Shop) -> None:
    send(shop, "1,1,a,\n2,-1,a,\n")
    send(shop, "3,-3,a,\n4,1,a,\n", "orders2.csv", rules=RULES.replace("min: 0", "min: -3"))
    before = shop.orders(), shop.quarantine()
    shutil.rmtree(shop.settings.lake_catalog.parent)
    assert rebuild(shop.settings, []).swapped
    assert (shop.orders(), shop.quarantine()) == before


KNOWN_KIND = """\
    table: raw_shop.orders
    owner: shop
    rules:
      - id: known_kind
        check: references
        column: kind
        references_table: raw_shop.kinds
        severity: critical
        reason: kinds are listed
"""


def test_reference_to_another_table_of_the_lake(shop: Shop) -> None:
    (missing,) = send(shop, "1,1,a,\n2,2,c,\n", rules=KNOWN_KIND).problems
    assert "it looks into raw_shop.kinds, and no file of that is loaded" in missing
    assert "put a file of shop.kinds there and run again" in missing
    shop.put("kind\na\nb\n", "kinds.csv")
    shop.load_all({"name": "shop.kinds", "path": "kinds.csv"})
    assert send(shop, "1,1,a,\n2,2,c,\n", rules=KNOWN_KIND).counts.quarantined == 1


def test_file_refused_for_a_reference_is_told_to_see_first_what_became_of_the_other_table(
    shop: Shop,
) -> None:
    rule = KNOWN_KIND + "        tolerance: 0\n"
    kinds = {"name": "shop.kinds", "path": "kinds*.csv", "columns": {"n": "bigint"}}
    shop.put("kind,n\na,1\nb,2\n", "kinds1.csv")
    shop.load_all(kinds)
    (late,) = send(shop, "1,1,c,\n", rules=rule).problems
    assert (
        "next: see whether a file of shop.kinds is late: these rows refer to it; else ask" in late
    )
    shop.put("kind,n\nc,none\nd,none\n", "kinds2.csv")
    shop.load_all(kinds)
    (refused,) = send(shop, "1,1,c,\n", rules=rule).problems
    why = "2 of 2 rows cannot be loaded, more than the tolerance of 50%"
    assert f"next: these rows refer to shop.kinds, whose file kinds2.csv was refused ({why}" in (
        refused
    )
    shop.put("kind,n\nb,1\n", "kinds2.csv")
    shop.load_all(kinds)
    (mended,) = send(shop, "1,1,c,\n", rules=rule).problems
    assert "see whether a file of shop.kinds is late" in mended


def test_what_a_rule_looks_up_is_loaded_first_and_a_rebuild_does_it_so_again(shop: Shop) -> None:
    shop.put(HEADER + "1,1,a,\n2,2,c,\n")
    shop.put("kind\na\nb\n", "kinds.csv")
    kinds = {"name": "shop.kinds", "path": "kinds.csv"}
    file = sources_file(shop.folder, ENTRY, kinds)
    sources = with_rules(read_sources(file, shop.settings), rules_of(shop, KNOWN_KIND))
    assert [source.name for source in sources] == ["shop.orders", "shop.kinds"]
    landed = land_sources(shop.settings, sources)
    summaries, _ = load_sources(shop.settings, sources, landed, "a run")
    assert [summary.problems for summary in summaries.values()] == [(), ()]
    assert shop.quarantine() == [(2, "rule:known_kind", "known_kind: kinds are listed")]
    before = shop.orders(), shop.quarantine()
    shutil.rmtree(shop.settings.lake_catalog.parent)
    assert rebuild(shop.settings, []).swapped
    assert (shop.orders(), shop.quarantine()) == before


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ({}, {"a": 0, "b": 0, "c": 0}),
        ({"a": "b", "b": "c"}, {"a": 2, "b": 1, "c": 0}),
        ({"a": "c", "c": "a"}, {"a": 0, "b": 0, "c": 1}),
        ({"a": "b", "b": "c", "c": "b"}, {"a": 1, "b": 0, "c": 1}),
        ({"a": "a", "b": "elsewhere"}, {"a": 0, "b": 0, "c": 0}),
    ],
)
def test_sources_are_ranked_by_who_looks_into_whom(
    shop: Shop, references: dict[str, str], expected: dict[str, int]
) -> None:
    entries = [{"name": f"s.{name}", "path": f"{name}.csv"} for name in "abc"]
    sources = [
        source.with_rules(
            RowRule(id="r", broken="false", columns=(), reason="x", references=f"raw_s.{other}")
            for name, other in references.items()
            if source.name == f"s.{name}"
        )
        for source in read_sources(sources_file(shop.folder, *entries), shop.settings)
    ]
    assert ranks(sources) == {f"s.{name}": rank for name, rank in expected.items()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "column: kind",
            "column: kinds",
            r"'kinds'\n  next: mend the rule at rules/raw/orders.yml, line \d+: .* 'kind'\?",
        ),
        (
            "not_null, column: day",
            "expression, expression: 'amonut > 0'",
            r"cannot be checked: (?s:.*)next: mend it at rules/raw/orders.yml, line \d",
        ),
    ],
)
def test_rule_that_does_not_fit_refuses_the_batch(
    shop: Shop, old: str, new: str, message: str
) -> None:
    (problem,) = send(shop, "1,1,a,\n", rules=RULES.replace(old, new)).problems
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(problem)


def test_file_that_cannot_be_read_to_its_end_is_no_fault_of_a_rule(shop: Shop) -> None:
    file = shop.folder / "orders.parquet"
    shop.folder.mkdir(exist_ok=True)
    with duckdb.connect() as con:
        con.execute(
            "copy (select range::bigint as id, range::double as amount, 'a' as kind,"
            f" date '2026-01-01' as day from range(50_000)) to '{file}' (row_group_size 10_000)"
        )
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 2, len(content) * 3 // 4, 97):
        content[place] ^= 0xFF
    file.write_bytes(content)
    (source,) = declared(shop, RULES, path="orders.parquet", columns={})
    landed = land_sources(shop.settings, [source])
    done, _ = load_sources(shop.settings, [source], landed, "run")
    (problem,) = done[source.name].problems
    assert "the file cannot be read to its end" in problem
    assert "rule" not in problem


def test_wrong_table_or_check_is_a_mistake(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'raw_shop\.orders'") as caught:
        declared(shop, RULES.replace("raw_shop.orders", "raw_shop.order"))
    assert caught.value.where == "rules/raw/orders.yml, line 4"
    with pytest.raises(ConfigurationError, match="`unique` is not for raw rules"):
        declared(shop, RULES.replace("check: not_null", "check: unique"))
    assert declared(shop, RULES.replace("raw_shop", "raw_other"))[0].row_rules == ()


MANY = [(-1, "c"), (-2, "a"), (-3, "x"), (4, "x"), (5, "y"), (6, "y"), (7, "a"), (8, "b")]


def test_refusal_tells_of_every_rule_the_worst_first(shop: Shop) -> None:
    rules = RULES.replace("min: 0,", "min: 0, tolerance: 0.2,").replace(
        "values: [a, b]", "values: [a, b]\n    tolerance: 0.2"
    )
    rows = "".join(f"{n},{amount},{kind},\n" for n, (amount, kind) in enumerate(MANY))
    summary = send(shop, rows, rules=rules)
    (problem,) = summary.problems
    kinds = "5 of 8 rows break the rule kinds (no other kind is sold), more than its tolerance"
    positive = "3 of 8 rows break the rule positive (no refunds), more than its tolerance of 20%"
    assert f"orders.csv: {kinds} of 20%; besides, {positive}; the first is row 1: {{" in problem
    assert [kind.partition(" (")[0] for kind, _ in summary.reasons] == [
        "# of # rows break the rule kinds",
        "# of # rows break the rule positive",
    ]


def test_rows_that_cannot_be_loaded_are_told_before_the_rules_that_the_others_break(
    shop: Shop,
) -> None:
    rules = RULES.replace("min: 0,", "min: 0, tolerance: 0.1,")
    shifted, broken = "1,a,3.5,\n", "2,-1,a,\n"
    summary = send(shop, shifted * 3 + broken, rules=rules)
    (problem,) = summary.problems
    told = "3 of 4 rows cannot be loaded, more than the tolerance of 50%; besides, 1 of 4 rows"
    assert f"{told} break the rule positive" in problem
    assert "the first is row 1: not of the type of the column: amount ('a')" in problem
    assert len(summary.reasons) == 2
    (problem,) = send(shop, broken + shifted + "3,1,a,\n", "orders2.csv", rules=rules).problems[1:]
    assert "1 of 3 rows break the rule positive" in problem
    assert "; besides, 1 of 3 rows cannot be loaded; the first is row 1: {" in problem


def test_rules_may_speak_of_the_lakes_own_columns(shop: Shop) -> None:
    rules = """\
        table: raw_shop.orders
        owner: shop
        rules:
          - id: past
            check: expression
            expression: day <= _loaded_at + interval 1 day
            severity: critical
            reason: nothing is sold tomorrow
          - {id: own, check: not_null, column: _loaded_at, severity: warning, reason: it is set}
          - id: named
            check: expression
            expression: starts_with(_source_file, 'orders') and _source_row < 4
            severity: critical
            reason: the first rows of orders
    """
    days = ("2024-01-01", "2999-01-01", "2024-01-01", "2024-01-02")
    rows = "".join(f"{n},{n},a,{day}\n" for n, day in enumerate(days, 1))
    assert not send(shop, rows, rules=rules).problems
    assert [row[0] for row in shop.orders()] == [1, 3]
    assert [row[:2] for row in shop.quarantine()] == [(2, "rule:past"), (4, "rule:named")]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "id,price,day",
            "it lacks the columns 'amount', 'kind' and has the new column 'price'; ",
        ),
        ("id,amount,day", "it lacks the column 'kind'; "),
        ("id,amount,kind", ""),  # no row had a day before
    ],
)
def test_refusal_tells_first_which_columns_are_missing_and_new(
    shop: Shop, header: str, told: str
) -> None:
    rules = """\
        table: raw_shop.orders
        owner: shop
        rules:
          - id: late
            check: expression
            expression: id < 9
            tolerance: 0
            severity: critical
            reason: no later ones
    """
    send(shop, "1,1,a,\n", rules=rules)
    shop.put(f"{header}\n10,2,\n")
    sources = declared(shop, rules)
    landed = land_sources(shop.settings, sources)
    summary = load_sources(shop.settings, sources, landed, "a run")[0]["shop.orders"]
    (problem,) = summary.problems
    assert f"orders.csv: {told}1 of 1 row break the rule late" in problem
    ((kind, text),) = summary.reasons
    assert kind.startswith("# of # row break the rule late")
    assert told in text
