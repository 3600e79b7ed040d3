"""The command line: what it says, its exit codes, and what it must not cost or leave."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pyarrow.parquet
import pytest
import typer
from command_line import Clearwater
from handmade import PAYMENTS, payment, sources_file, write_csv
from works import MERGE, Works

from expectations.gate import GateResult, RuleResult, told_as
from expectations.rules import Severity
from flows import cli
from flows.events import Events
from flows.options import home_option, say
from flows.pipeline import Options, Run
from flows.run_summary import print_run
from warehouse import duck, releases
from warehouse.lock import writer_lock
from warehouse.settings import PROJECT, Settings

HEAVY = ("duckdb", "dbt", "prefect", "great_expectations", "sqlalchemy", "pydantic", "pandas")


@pytest.fixture
def served(clearwater: Clearwater, works: Works, monkeypatch: pytest.MonkeyPatch) -> Works:
    """A home with a release, which commands take for theirs."""
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))
    return works


def commands(
    group: click.Group | None = None, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    group = group or typer.main.get_command(cli.app)  # type: ignore[assignment]
    for name, command in group.commands.items():  # type: ignore[union-attr]
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = [pytest.param(names, command, id=" ".join(names)) for names, command in commands()]


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_command_has_an_example_that_it_accepts(
    names: tuple[str, ...], command: click.Command
) -> None:
    (example,) = [line for line in (command.help or "").splitlines() if "Example:" in line]
    words = shlex.split(example.partition("Example: clearwater ")[2])
    assert tuple(words[: len(names)]) == names
    command.make_context(" ".join(names), words[len(names) :])


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_command_takes_a_home_and_speaks_json(
    names: tuple[str, ...], command: click.Command
) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--home" in options
    assert "--json" in options or names in (("sql",), ("lake", "bytes"))


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_option_has_its_help(names: tuple[str, ...], command: click.Command) -> None:
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


def test_help_shows_the_example(clearwater: Clearwater) -> None:
    said = clearwater("run", "--help")
    assert said.code == 0
    assert "clearwater run --sources my.yml" in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run", "--surces", "x"],
        ["query"],
        ["query", "select 1", "--format", "xml"],
        ["rollback"],
        ["features", "exract"],
        ["run", "--log", "loud"],
        [],
    ],
)
def test_wrong_usage_is_2(clearwater: Clearwater, arguments: list[str]) -> None:
    said = clearwater(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--sources", "none.yml"], 2, "no such sources file"),
        (["source", "list", "--sources", "none.yml"], 2, "no such sources file"),
        (["run", "--only", "shop.orders"], 2, "no source 'shop.orders'"),
        (["query", "select 1"], 1, "nothing is published yet"),
        (["query", "select 1", "--lake"], 1, "there is no lake yet"),
        (["query", "select 1", "--at", "3"], 2, "--at goes with --lake"),
        (["query", "select 1", "--release", "a"], 2, "no release 'a'"),
        (["rollback", "a"], 2, "no release 'a'"),
        (["features", "list"], 1, "nothing is published yet"),
        (["features", "extract", "x", "--from", "2026-01-01"], 2, "--out"),
        (["sql"], 1, "nothing is published yet"),
        (["audit"], 1, "there is no build"),
        (["publish"], 1, "there is no build"),
        (["build"], 1, "there is no lake yet"),
    ],
)
def test_mistake_is_one_message_with_the_next_step(
    clearwater: Clearwater, arguments: list[str], code: int, words: str
) -> None:
    said = clearwater(*arguments)
    assert said.code == code
    assert words in said.told
    assert "\n  next: " in said.told


@pytest.mark.parametrize("command", [["run"], ["query", "select 1"], ["status"], ["releases"]])
def test_home_that_is_a_file_is_one_message(
    clearwater: Clearwater, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").touch()
    said = clearwater(*command, "--home", tmp_path / "file")
    assert (said.code, "not a folder" in said.told) == (2, True)


def test_threads_that_are_no_number_are_2(
    clearwater: Clearwater, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARWATER_THREADS", "many")
    assert "CLEARWATER_THREADS" in clearwater("status").told


def test_run_prints_its_summary_as_json(clearwater: Clearwater, served: Works) -> None:
    served.put([payment(4, day=4)], "payments4.csv")
    file = sources_file(served.folder, MERGE)
    said = clearwater("run", "--sources", file, "--json", "--log", "json")
    told = json.loads(said.out)
    assert (said.code, told["status"], told["release"]) == (0, "done", served.served())
    assert all(json.loads(line)["run_id"] == told["run_id"] for line in said.err.splitlines())


@pytest.mark.slow
def test_run_tells_people_where_quarantined_rows_are(clearwater: Clearwater, served: Works) -> None:
    served.put([payment(4, day=4), payment(5, amount="much")], "payments4.csv")
    said = clearwater("run", "--sources", sources_file(served.folder, MERGE))
    assert said.code == 0
    assert "1 row of payments.transactions is in quarantine" in said.out
    (show,) = [line for line in said.out.splitlines() if "quarantine show" in line]
    found = clearwater(*shlex.split(show)[1:], "--json")
    assert [row["reason"] for row in json.loads(found.out)] == ["not_of_type"]


def test_printed_steps_are_for_the_home_that_was_given(
    clearwater: Clearwater, served: Works, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "another home"
    said = clearwater("query", "select 1", "--home", home)
    assert said.code == 1
    commands = re.findall(r"`(clearwater [^`]*)`", said.told)
    assert commands
    assert all(command.endswith(f" --home '{home}'") for command in commands)
    clearwater("status")  # of CLEARWATER_HOME
    assert home_option() == ""
    say("`clearwater run --home x` or `clearwater` or clearwater run")
    assert (
        capsys.readouterr().out == "`clearwater run --home x` or `clearwater` or clearwater run\n"
    )


def test_status_tells_what_waits_and_the_next_command(
    clearwater: Clearwater, served: Works
) -> None:
    assert json.loads(clearwater("status", "--json").out)["waiting"] == {
        "quarantined": {},
        "refused": [],
        "problem": None,
    }
    assert "quarantine" not in clearwater("status").out
    served.put([payment(4, day=4), payment(5, amount="much")], "payments4.csv")
    for number in range(6):
        (served.folder / f"payments5{number}.csv").write_text(f"not,payments\n1,{number}\n")
    clearwater("ingest", "--sources", sources_file(served.folder, MERGE))
    said = clearwater("status")
    assert "payments.transactions: 1 row in quarantine" in said.out
    assert "refused   payments.transactions: payments50.csv: the column" in said.out
    assert "payments53.csv" not in said.out
    assert "3 files more" in said.out
    (listed,) = [line for line in said.out.splitlines() if "quarantine list" in line]
    assert json.loads(clearwater(*shlex.split(listed)[1:], "--json").out)[0]["rows"] == 1
    told = json.loads(clearwater("status", "--json").out)["waiting"]
    assert told["quarantined"] == {"payments.transactions": 1}
    assert len(told["refused"]) == 6
    report = json.loads((served.settings.reports / "latest" / "index.json").read_text())
    assert report["waiting"]["held"] == []
    clearwater("report")
    report = json.loads((served.settings.reports / "latest" / "index.json").read_text())
    assert (report["waiting"]["held"][0]["first_line"], len(report["waiting"]["refused"])) == (3, 6)


def test_query_of_the_lakes_table_is_told_the_way(clearwater: Clearwater, served: Works) -> None:
    said = clearwater("query", "from raw_payments.transactions")
    assert said.code == 1
    assert "raw_payments.transactions is in the lake: add --lake" in said.told


def test_run_with_a_refused_batch_is_1(clearwater: Clearwater, served: Works) -> None:
    (served.folder / "payments4.csv").write_text("not,payments\n1,2\n")
    said = clearwater("run", "--sources", sources_file(served.folder, MERGE))
    assert said.code == 1
    assert "refused: payments.transactions: payments4.csv" in said.err
    assert "Traceback" not in said.err


def test_blocked_run_is_3(clearwater: Clearwater, served: Works, no_raw_rules: None) -> None:
    served.put([payment(4, day=4, fraud="")], "payments4.csv")
    said = clearwater("run", "--sources", sources_file(served.folder, MERGE))
    assert said.code == 3
    assert "the gate says block" in said.told


@pytest.mark.parametrize("command", [["run"], ["ingest"], ["build"], ["resume"], ["report"]])
def test_second_writer_is_4(clearwater: Clearwater, served: Works, command: list[str]) -> None:
    file = sources_file(served.folder, MERGE)
    sources = ["--sources", file] if command[0] in ("run", "ingest") else []
    with writer_lock(served.settings):
        said = clearwater(*command, *sources)
    assert said.code == 4
    assert f"process {os.getpid()}" in said.told


def test_readers_need_no_lock(clearwater: Clearwater, served: Works) -> None:
    with writer_lock(served.settings):
        for command in (["status"], ["releases"], ["query", "select 1"], ["features", "list"]):
            assert clearwater(*command).code == 0


def test_missing_extension_is_one_message(
    clearwater: Clearwater, served: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duck, "LAKE_EXTENSIONS", ("not_there",))
    for command in (
        ["query", "--lake", "select 1"],
        ["ingest", "--sources", sources_file(served.folder, MERGE)],
    ):
        said = clearwater(*command)
        assert said.code == 1
        assert "extension not_there" in said.told
        assert "make setup" in said.told


@pytest.mark.parametrize(
    "command",
    [["status"], ["releases"], ["features", "list"], ["query", "from fct_transactions"]],
)
def test_json_parses(clearwater: Clearwater, served: Works, command: list[str]) -> None:
    said = clearwater(*command, "--json")
    assert said.code == 0
    assert json.loads(said.out)


def test_sources_are_listed_with_their_files(clearwater: Clearwater, served: Works) -> None:
    said = clearwater("source", "list", "--json", "--sources", sources_file(served.folder, MERGE))
    (source,) = json.loads(said.out)
    assert (source["name"], source["files"]) == ("payments.transactions", 1)
    assert source["schedule"] == ""


def test_sources_are_listed_with_their_schedules(
    clearwater: Clearwater, settings: Settings, tmp_path: Path
) -> None:
    scheduled = PAYMENTS | {"schedule": [{"every": "15m"}, {"when": "new files"}]}
    file = sources_file(tmp_path, scheduled)
    said = clearwater("source", "list", "--json", "--sources", file, "--home", settings.home)
    (source,) = json.loads(said.out)
    assert source["schedule"] == "every 15m; new files (every 1m)"


def test_rollback_and_resume_tell_what_they_did(clearwater: Clearwater, served: Works) -> None:
    older = served.served()
    assert json.loads(clearwater("rollback", older, "--json").out) == {
        "release": older,
        "held": True,
    }
    assert "held" in clearwater("status").out
    (release,) = json.loads(clearwater("releases", "--json").out)
    assert (release["id"], release["state"]) == (older, "current, held")
    assert json.loads(clearwater("resume", "--json").out) == {"was_held": True}
    assert releases.held_at(served.settings) is None


def test_query_prints_every_format(clearwater: Clearwater, served: Works) -> None:
    query = ["query", "select transaction_id as id, amount_cents from fct_transactions order by 1"]
    table = clearwater(*query, "--format", "table")
    assert table.out.splitlines()[0].split() == ["id", "amount_cents"]
    assert clearwater(*query, "--format", "csv").out == "id,amount_cents\n1,1000\n2,1000\n3,1000\n"
    expected = [{"id": n, "amount_cents": 1000} for n in (1, 2, 3)]
    assert json.loads(clearwater(*query, "--format", "json").out) == expected


def test_query_reads_the_lake_through_time(clearwater: Clearwater, served: Works) -> None:
    rows = ["query", "--lake", "select count(*) as n from raw_payments.transactions", "--json"]
    release = releases.current(served.settings)
    assert release is not None
    served.put([payment(4, day=4)], "payments4.csv")
    served.run("land", "load")
    assert json.loads(clearwater(*rows).out) == [{"n": 4}]
    for at in (release.lake_snapshot, release.created_at):
        assert json.loads(clearwater(*rows, "--at", at).out) == [{"n": 3}]
    assert "no snapshot 9999" in clearwater(*rows, "--at", "9999").told
    assert "ISO 8601" in clearwater(*rows, "--at", "yesterday").told


def test_query_refuses_what_is_no_select(clearwater: Clearwater, served: Works) -> None:
    assert "only SELECT" in clearwater("query", "drop table fct_transactions").told


def test_features_are_extracted_to_a_folder(
    clearwater: Clearwater, served: Works, tmp_path: Path
) -> None:
    name, out = "feat_transactions__behaviour", tmp_path / "out"
    said = clearwater("features", "extract", name, "--to", "2026-01-03", "--out", out, "--json")
    told = json.loads(said.out)
    assert (told["rows"], told["release"], told["folder"]) == (1, served.served(), str(out))
    assert pyarrow.parquet.read_table(out / "data.parquet").num_rows == 1
    assert "not empty" in clearwater("features", "extract", name, "--out", out).told


def process(
    *arguments: object, folder: Path, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command line as a process of its own, in a folder of its own."""
    variables = {"PYTHONPATH": str(PROJECT)} | variables
    return subprocess.run(
        [sys.executable, "-m", "flows", *map(str, arguments)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["query", "--help"], {"pydantic"}),  # typer's own, for a command with arguments
        (["query", "select 1"], {"pydantic", "duckdb"}),
        (["status"], {"pydantic", "duckdb", "sqlalchemy"}),
    ],
)
def test_light_commands_import_nothing_heavy(
    first: Works, arguments: list[str], allowed: set[str]
) -> None:
    code = (
        "import sys\nfrom flows.cli import main\n"
        f"try: main()\nfinally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        env=os.environ | {"CLEARWATER_HOME": str(first.settings.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stderr.splitlines()[-1].replace("'", '"'))) <= allowed


@pytest.mark.slow
def test_run_writes_nothing_outside_its_home(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "work")}
    for place in places.values():
        place.mkdir()
    write_csv(tmp_path / "in" / "payments.csv", [payment(1), payment(2, day=3)])
    file = sources_file(tmp_path / "in", MERGE)
    variables = {name: str(places[name]) for name in ("HOME", "TMPDIR")}
    before = project_files()
    done = process(
        *("run", "--sources", file, "--home", tmp_path / "home", "--json"),
        folder=places["work"],
        **variables,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["status"] == "done"
    assert [list(place.rglob("*")) for place in places.values()] == [[], [], []]
    assert project_files() - before == set()


def project_files() -> set[Path]:
    """What dbt or DuckDB might leave in the project: all that is not Python's own."""
    return {path for path in PROJECT.iterdir() if not path.name.startswith(".")} | {
        *(PROJECT / "logs").glob("*"),
        *(PROJECT / "target").glob("*"),
    }


def test_parquet_goes_to_a_pipe(first: Works, tmp_path: Path) -> None:
    query = ["query", "from fct_transactions", "--format", "parquet"]
    done = process(*query, "--home", first.settings.home, folder=tmp_path)
    assert pyarrow.parquet.read_table(io.BytesIO(done.stdout)).num_rows == 3


def test_reader_that_leaves_is_no_failure(first: Works) -> None:
    command = f"{sys.executable} -m flows query 'from range(300000)' --format csv"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -n 2"],
        cwd=PROJECT,
        env=os.environ | {"CLEARWATER_HOME": str(first.settings.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "range\n0\n", "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where the machine lets us make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_full_disk_is_one_message_and_the_next_run_mends_it(
    small_disk: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "in" / "payments.csv", [payment(1), payment(2, day=3)])
    run = ["run", "--sources", sources_file(tmp_path / "in", MERGE), "--home", small_disk / "home"]
    done = process(*run, folder=tmp_path)
    text = done.stderr.decode()
    assert (done.returncode, "Traceback" in text) == (1, False), text
    assert "disk is full" in text
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    assert process(*run, folder=tmp_path).returncode == 0


def test_what_only_informs_is_printed_as_that(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def result(rule_id: str, severity: Severity) -> RuleResult:
        status = told_as(severity)
        return RuleResult(
            rule_id, "marts.a", "marts", "between", severity, status, 9, 1, "1 row", ""
        )

    run = Run(settings, Options(), "run", Events("text", "run"), datetime.now(UTC))
    run.gate = GateResult("warn", (result("mild", "info"), result("odd", "warning")), 0.1)
    print_run(run)
    assert capsys.readouterr().out.splitlines()[:2] == ["warning: odd: 1 row", "info: mild: 1 row"]
