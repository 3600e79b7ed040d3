"""What a person is told of a rule file with a mistake: the place, what is wrong, what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from expectations.rule_files import read_rules
from warehouse.wording import known_names, nearest

HEAD = "table: {table}\nowner: me\nrules:\n"
RULE = "  - id: r\n    severity: critical\n    reason: b\n"


def told(folder: Path, text: str | bytes, name: str = "t.yml") -> list[str]:
    """What is said of the file, without its path."""
    file = folder / "rules" / "marts" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    _, errors = read_rules(folder / "rules")
    assert all(error.next_step for error in errors)
    return [str(error).replace(f"rules/marts/{name}, ", "") for error in errors]


def of_rule(folder: Path, lines: str, table: str = "marts.t") -> str:
    """What is said of one rule; its lines are parted by `; `."""
    more = "".join(f"    {line}\n" for line in lines.split("; "))
    (message,) = told(folder, HEAD.format(table=table) + RULE + more)
    return message


@pytest.mark.parametrize(
    ("lines", "message", "step"),
    [
        ("check: in_sett", "line 7: unknown check 'in_sett'; the nearest is 'in_set'", "in_set, "),
        ("check: Not_Null", "unknown check 'Not_Null'; the nearest is 'not_null'", "not_null, "),
        ("check: zzz", "line 7: unknown check 'zzz'\n", "not_null, unique, between, in_set, "),
        ("check: zzz", "unknown check 'zzz'", "anomaly"),
        ("check: yes", "'check' is `yes`, which is true or false to YAML", "check: 'yes'"),
        ("check:", "'check' is empty", "write"),
        ("column: a", "line 4: 'check' is missing", "with one of: not_null, "),
        ("chek: unique", "line 7: unknown key 'chek'; the nearest is 'check'", "write `check: "),
        ("check: unique; coulmns: [a]", "unknown key 'coulmns'; the nearest is 'columns'", "one"),
        ("check: length; column: a; max: -5", "'max' is -5", "a whole number from 0 on"),
        ("check: drift; column: a; max: 2020-01-01", "'max' is 2020-01-01", "number from 0 on"),
        ("check: in_set; column: a; values: '[a'", "'values' is '[a', not a list", "[a, b]"),
        ("check: volume; false_alarm_rate: 5", "'false_alarm_rate' is 5", "such as 0.01"),
        ("check: volume; false_alarm_rate: 0", "'false_alarm_rate' is 0", "a share above 0 to 1"),
        (
            "check: unique; column: a; mostly: 0.9",
            "line 9: `mostly` does not go with the check `unique`",
            "its own keys: column, columns (`mostly` goes with not_null, between,",
        ),
        (
            "check: freshness; columns: [a]",
            "`columns` does not go with the check `freshness`",
            "did you mean `column`?",
        ),
        ("check: unique; column: a; zzz: 1", "unknown key 'zzz'\n", "one of: column, columns, id"),
        ("check: unique; column: a; on: 1", "line 9: unknown key 'on'", "one of: column"),
        ("check: unique; column: a; tolerance: 1", "`tolerance` is of raw rules", "leave it out"),
        ("check: unique; column: no", "'column' is `no`, which is true or false", "column: 'no'"),
        ("check: unique; column: 12", "'column' is `12`, which is a number to YAML", "'12'"),
        ("check: unique; column: 2020-01-01", "which is a date to YAML", "'2020-01-01'"),
        ("check: unique; columns: a", "'columns' is 'a', not a list", "write `columns: [a]`"),
        ("check: unique; columns: [on]", "'columns' has true, which is no name", "quotes"),
        ("check: unique; column: a; columns: [b]", "both 'column' and 'columns'", "`columns`"),
        ("check: unique", "'column' is missing", "add `column: …`, or `columns: [a, b]`"),
        ("check: between; column: a; min: '2020-01-31'", "no date to SQL", "min: 2020-01-31"),
        (
            "check: between; column: a; min: '2026-13-01'",
            "'min' is '2026-13-01', which is no date\n",
            "write `min: 2026-01-31`, or",
        ),
        ("check: between; column: a; max: '2026-1-3'", "which is no date\n", "`max: 2026-01-31`"),
        ("check: between; column: a; min: .nan", "'min' is nan", "write a number"),
        ("check: between; column: a; min: ' '", "'min' is empty", "leave it out"),
        ("check: between; column: a; min: 2026-02-31", "cannot be read: day is out", "mend"),
        (
            "check: between; column: a; min: 2026-02-03; max: 2026-02-01",
            "line 9: 'min' 2026-02-03 is above 'max' 2026-02-01",
            "exchange",
        ),
        ("check: aggregate; expression: sum(a); min: 1e5", "'min' is '1e5'", "quotes: 100000"),
        (
            "check: row_count; min: '12'",
            "'min' is '12'",
            "whole number from 0 on, without quotes: 12",
        ),
        ("check: row_count; min: few", "'min' is 'few'", "write a whole number"),
        ("check: row_count; min: 1; equals_table: marts.x", "both bounds and", "two rules"),
        (
            "check: total; expression: sum(a); equals_table: marts.x",
            "line 4: 'equals' is missing",
            "add `equals: …`",
        ),
        ("check: row_count", "'r' has no bound", "or name an `equals_table`"),
        ("check: null_share; column: a; max: 5", "'max' is 5", "a share from 0 to 1"),
        ("check: not_null; column: a; mostly: 95%", "'mostly' is '95%'", "such as 0.95"),
        ("check: in_set; column: a; values: [a, null]", "has a null", "a null keeps the rule"),
        ("check: in_set; column: a; values: [a, [b]]", "has ['b'] in it", "single values"),
        ("check: in_set; column: a", "'values' is missing", "write `values: [a, b]`"),
        ("check: freshness; column: a; max_age: 36", "'max_age' is '36'", "`36 hours`"),
        ("check: freshness; column: a; max_age: 9 seconds", "'9 seconds'", "minutes, hours, days"),
        (
            "check: between; column: a; strict_min: 0",
            "'strict_min' is 0",
            "with `min: 0` ",
        ),
        ("check: between; column: a; max: 1; strict_max: 1", "is 1", "`strict_max: true` is less"),
        ("check: freshness; column: a; max_age: 1 month", "'max_age' is '1 month'", "weeks"),
        ("check: regex; column: a; pattern: '[a'", "regular expression: missing ]", "quotes"),
        ("check: columns; columns: [a]", "'columns' is not a mapping", "{name: type}"),
        ("check: columns; columns: {a: integr}", "no type 'integr'", "bigint"),
        ("check: drift; column: a; measure: kl", "unknown measure 'kl'", "psi, ks, js"),
        ("check: volume; severity: info", "the key 'severity' stands twice, on line 5", "one of"),
    ],
)
def test_of_a_rule(tmp_path: Path, lines: str, message: str, step: str) -> None:
    said, _, next_step = of_rule(tmp_path, lines).partition("  next: ")
    assert message in said
    assert step in next_step


@pytest.mark.parametrize(
    ("lines", "message", "step"),
    [
        (
            "check: volum",
            "unknown check 'volum'; the nearest is 'volume'",
            "use one of: volume, not_null",
        ),
        (
            "check: aggregate; expression: sum(a); min: 1",
            "line 7: `aggregate` is not for raw rules, which judge single rows, or a file beside",
            "there: not_null, between, in_set, length, regex, references, expression, volume,",
        ),
        (
            "check: not_null; column: a; mostly: 0.9",
            "line 9: `mostly` is of published tables, not of raw rules",
            "leave it out; `tolerance` is the share",
        ),
        ("check: volume; by: day", "`by` is of published tables", "leave it out"),
        ("check: volume; tolerance: 0.1", "`tolerance` does not go with", "its own keys: false"),
    ],
)
def test_of_a_raw_rule(tmp_path: Path, lines: str, message: str, step: str) -> None:
    said, _, next_step = of_rule(tmp_path, lines, table="raw_s.t").partition("  next: ")
    assert message in said
    assert step in next_step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty"),
        ("# nothing yet\n", "line 1: the file is empty"),
        ("- a\n- b\n", "line 1: not a rule file"),
        ("just words", "line 1: not a rule file"),
        ("table: marts.t\nowner: me\nrules:\n\t- id: a\n", "line 4: not YAML: a tab"),
        ("table: marts.t\nowner: me\nrule: []\n", "line 3: unknown key 'rule'; the nearest is 'r"),
        ("tables: marts.t\nowner: me\n", "line 1: unknown key 'tables'; the nearest is 'table'"),
        ("table: marts.t\nowner: me\nseverity: info\n", "line 3: unknown key 'severity'\n"),
        ("table: marts.t\nowner: me\n", "line 1: 'rules' is missing"),
        ("table: marts.t\nowner: me\nrules:\n", "line 3: 'rules' is empty"),
        ("table: marts.t\nowner: me\nrules: {id: a}\n", "line 3: 'rules' is not a list"),
        ("table: marts.t\nowner: me\nrules: [a]\n", "line 3: 'a', below 'rules', is not a rule"),
        ("table: marts.t\nowner: 12\nrules: []\n", "line 2: 'owner' is `12`, which is a number"),
        (
            "table: mart.t\nowner: me\n",
            "neither a published table nor one of the lake\n  next: did",
        ),
        ("table: t\nowner: me\n", "line 1: 't' is neither a published table"),
        ("table: marts.t\ntable: marts.u\n", "line 2: the key 'table' stands twice, on line 1 too"),
        ("table: marts.t\n---\ntable: marts.u\n", "not YAML: but found another document"),
        ("table: !py marts.t\n", "line 1: not YAML: could not determine a constructor"),
        ("a: &a [*a]\n", "line 1: "),
        (b"table: \xff\xfe\n", "it cannot be read: 'utf-8' codec"),
        (b"table: a\x01\n", "line 1: not YAML: "),
        ("table: marts.t\nowner: me\nrules:\n  - check: unique\n", "line 4: rule 1 has no 'id'"),
    ],
)
def test_of_a_file(tmp_path: Path, text: str | bytes, message: str) -> None:
    (said,) = told(tmp_path, text)
    assert message in said


def test_folder_that_is_called_like_a_rule_file(tmp_path: Path) -> None:
    (tmp_path / "rules" / "marts" / "old.yml").mkdir(parents=True)
    _, (error,) = read_rules(tmp_path / "rules")
    assert error.where == "rules/marts/old.yml"


def test_anchors_and_merges_are_read_and_their_lines_known(tmp_path: Path) -> None:
    rules = (
        "  - &base {id: a, check: unique, column: x, severity: info, reason: &why once}\n"
        "  - <<: *base\n    id: b\n    column: y\n"
        "  - {<<: *base, id: c, reason: *why, colum: z}\n"
    )
    (said,) = told(tmp_path, HEAD.format(table="marts.t") + rules)
    assert "line 8: unknown key 'colum'; the nearest is 'column'" in said
    first, second = read_rules(tmp_path / "rules")[0]
    assert (first.columns, second.columns) == (("x",), ("y",))
    assert (second.id, second.reason, second.check) == ("b", "once", "unique")


def test_file_is_parsed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expectations.rule_yaml import RuleFile

    parsed: list[str] = []
    parse = RuleFile.parse
    monkeypatch.setattr(
        RuleFile, "parse", lambda self, text: parsed.append(self.name) or parse(self, text)
    )
    text = HEAD.format(table="marts.once") + RULE + "    check: unique\n    column: a\n"
    for _ in range(3):
        assert told(tmp_path, text) == []
    (wrong,) = told(tmp_path, text.replace("column", "colum"))
    assert told(tmp_path, text.replace("column", "colum")) == [wrong]
    assert parsed == ["rules/marts/t.yml"] * 2


def test_only_what_is_alike_is_near() -> None:
    assert nearest("Customr_ID", ["customer_id", "amount"]) == "customer_id"
    assert nearest("zzz", ["customer_id", "amount"]) == ""
    assert known_names([f"c{n}" for n in range(12)], "c9") == (
        "c9, c0, c1, c2, c3, c4, c5, c6 (and 4 more)"
    )
    assert known_names([]) == "none"


def test_unknown_key_of_a_file_hides_none_of_its_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules" / "marts" / "t.yml"
    file.parent.mkdir(parents=True)
    rule = "{id: a, check: not_null, column: x, severity: info, reason: b}"
    file.write_text(f"table: marts.t\nowner: me\nseverity: info\nrules: [{rule}]\n")
    rules, (mistake,) = read_rules(tmp_path / "rules")
    assert [rule.id for rule in rules] == ["a"]
    assert "unknown key 'severity'" in mistake.what
