"""`clearwater accept`: what was found, what is taken, and what is said of it."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from typer.testing import CliRunner, Result

from expectations.history import Shift, open_history
from flows.cli import app
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import Settings

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
    assert "raw_shop.orders, b1: the mean is 7" in done.stdout
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
