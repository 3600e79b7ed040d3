"""`clearwater accept`: what was found, what is taken, and what is said of it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from handmade import sources_file
from typer.testing import CliRunner, Result

from expectations.history import Shift, open_history
from expectations.profiling import Profile
from flows.cli import app
from warehouse.batch import landed_batches
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.ingest import land_sources
from warehouse.settings import Settings
from warehouse.sources import load_sources as read_sources

DAY = datetime(2026, 3, 2)  # noqa: DTZ001 - times are UTC
MEAN = (("amount", "mean"),)


@pytest.fixture(autouse=True)
def found(settings: Settings) -> None:
    with open_history(settings) as history:
        for shift in (
            Shift("raw_shop.orders", "b1", DAY, MEAN, "the mean is 7", False),
            Shift("raw_shop.orders", "b0", DAY, MEAN, "the mean is 5", False, stops=False),
            Shift("marts.orders by day", "2026-03-02", DAY, MEAN, "it is 9", False, stops=False),
        ):
            history.note(shift)


def accept(settings: Settings, *arguments: str) -> Result:
    done = CliRunner().invoke(app, ["accept", *arguments, "--home", str(settings.home)])
    if isinstance(done.exception, ClearwaterError):
        raise done.exception
    return done


def left(settings: Settings) -> list[str]:
    with open_history(settings) as history:
        return sorted(shift.slice for shift in history.open_shifts())


def test_without_a_name_it_lists_what_was_stopped_and_what_was_told(settings: Settings) -> None:
    listed = accept(settings).stdout
    assert "shop.orders" in listed
    assert "stopped" in listed
    assert "told" in listed
    assert left(settings) == ["2026-03-02", "b0", "b1"]


def test_several_names_are_accepted_at_once_and_said_in_words(settings: Settings) -> None:
    done = accept(settings, "shop.orders", "marts.orders")
    assert done.exit_code == 0, done.output
    assert "shop.orders, b1: the mean is 7" in done.stdout
    assert "marts.orders by day, 2026-03-02: it is 9" in done.stdout
    assert "2 changes accepted" in done.stdout
    assert left(settings) == ["b0"]  # what was stopped goes first


def test_what_was_only_told_is_accepted_when_nothing_is_stopped(settings: Settings) -> None:
    taken = json.loads(accept(settings, "marts.orders", "--json").stdout)
    assert [shift["stops"] for shift in taken] == [False]
    said = accept(settings, "shop.orders", "--only", "b0").stdout
    assert "the next `clearwater run`" not in said
    assert left(settings) == ["b1"]


def test_one_unknown_name_accepts_nothing(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'marts\.orders'\?"):
        accept(settings, "shop.orders", "marts.order")
    assert left(settings) == ["2026-03-02", "b0", "b1"]


def test_several_that_wait_are_named_before_one_is_taken(settings: Settings) -> None:
    with open_history(settings) as history:
        history.note(Shift("raw_shop.orders", "b2", DAY, MEAN, "the mean is 8", False))
    with pytest.raises(ConfigurationError) as asked:
        accept(settings, "marts.orders", "shop.orders")
    assert "2 changes of shop.orders wait" in str(asked.value)
    assert f"clearwater accept shop.orders --only b1 --home {settings.home}" in str(asked.value)
    assert asked.value.exit_code == 2
    assert left(settings) == ["2026-03-02", "b0", "b1", "b2"]
    accept(settings, "shop.orders", "--only", "b1")
    assert left(settings) == ["2026-03-02", "b0", "b2"]


@pytest.mark.parametrize("said", [["--all"], ["--only", "b1", "--only", "b2"]])
def test_all_or_several_are_taken_where_that_is_said(settings: Settings, said: list[str]) -> None:
    with open_history(settings) as history:
        history.note(Shift("raw_shop.orders", "b2", DAY, MEAN, "the mean is 8", False))
    accept(settings, "shop.orders", *said)
    assert left(settings) == ["2026-03-02", "b0"]


@pytest.mark.parametrize("only", ["b7", ""])
def test_an_only_that_names_nothing_accepts_nothing(settings: Settings, only: str) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing of shop\.orders under"):
        accept(settings, "shop.orders", "--only", "b1", "--only", only)
    assert left(settings) == ["2026-03-02", "b0", "b1"]


def test_what_was_accepted_is_taken_back_until_a_run_has_used_it(settings: Settings) -> None:
    accept(settings, "shop.orders")
    listed = accept(settings).stdout
    assert "shop.orders, b1: accepted, for the next run" in listed
    assert f"clearwater accept shop.orders --only b1 --undo --home {settings.home}" in listed
    assert "1 acceptance taken back" in accept(settings, "shop.orders", "--undo").stdout
    assert left(settings) == ["2026-03-02", "b0", "b1"]
    accept(settings, "shop.orders")
    with open_history(settings) as history:
        history.keep("raw_shop.orders", "r", {"b1": Profile(DAY, 300)})
    with pytest.raises(ConfigurationError, match="accepted, and not used yet"):
        accept(settings, "shop.orders", "--undo")


def test_a_file_is_called_by_its_name_and_no_more_than_three_things_are_told(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "a day.csv").write_text("id\n1\n")
    declared = sources_file(tmp_path, {"name": "shop.orders", "path": "*.csv"})
    (source,) = read_sources(declared, settings)
    land_sources(settings, [source])
    (batch,) = landed_batches(settings)
    with open_history(settings) as history:
        told = "; ".join(f"fault {n}" for n in range(5))
        history.note(Shift("raw_shop.orders", batch, DAY, MEAN, told, False))
    listed = accept(settings).stdout
    assert "shop.orders, a day.csv: stopped\n  fault 0\n  fault 1\n  fault 2\n  and 2 more\n" in (
        listed
    )
    assert "--only 'a day.csv'" in listed
    assert accept(settings, "shop.orders", "--only", "a day.csv").exit_code == 0
    assert left(settings) == ["2026-03-02", "b0", "b1"]


def test_without_a_name_nothing_is_chosen(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="which source or table"):
        accept(settings, "--all")
