"""`schedule:` in sources.yml: what may stand there, and what its mistakes are called."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from textwrap import indent

import pytest

from warehouse.errors import ConfigurationError
from warehouse.schedule_entries import ScheduleEntry, span_text, zone
from warehouse.settings import Settings
from warehouse.sources import Source, SourcesFile, read_sources_file

ORDERS = """\
version: 1
sources:
  - name: shop.orders
    path: orders/*.csv
"""


def read(settings: Settings, folder: Path, text: str) -> SourcesFile:
    file = folder / "sources.yml"
    file.write_text(text)
    return read_sources_file(file, settings)


def of_source(settings: Settings, folder: Path, schedule: str) -> tuple[ScheduleEntry, ...]:
    text = f"{ORDERS}    schedule: {schedule}\n"
    return read(settings, folder, text).sources[0].schedule


def mistake(settings: Settings, folder: Path, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(settings, folder, text)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return caught.value


def test_without_a_schedule_there_is_none(settings: Settings, tmp_path: Path) -> None:
    file = read(settings, tmp_path, ORDERS)
    assert (file.schedule, file.sources[0].schedule) == ((), ())


def test_one_or_several_for_the_pipeline_and_for_a_source(
    settings: Settings, tmp_path: Path
) -> None:
    text = (
        'schedule: {cron: "0  6 * * mon-fri", timezone: Europe/Berlin}\n'
        f"{ORDERS}"
        "    schedule:\n"
        "      - every: 15m\n"
        "      - {when: new files, check: 10s}\n"
        "      - when: new files\n"
    )
    file = read(settings, tmp_path, text)
    (cron,) = file.schedule
    assert (cron.cron, cron.timezone) == ("0 6 * * mon-fri", "Europe/Berlin")
    every, often, usual = file.sources[0].schedule
    assert (every.every, every.timezone) == (timedelta(minutes=15), "UTC")
    assert [entry.when for entry in (every, often, usual)] == [None, "new files", "new files"]
    assert [often.check, usual.check] == [timedelta(seconds=10), timedelta(minutes=1)]


def test_schedule_decides_nothing_of_how_rows_are_loaded() -> None:
    plain = Source(name="shop.orders", path="*.csv")
    scheduled = Source(name="shop.orders", path="*.csv", schedule=({"every": "15m"},))
    assert scheduled.fingerprint() == plain.fingerprint()
    assert scheduled.definition() == plain.definition()


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("{}", "not none of them"),
        ('{cron: "0 6 * * *", every: 1d}', "not `cron` and `every`"),
        ("{timezone: UTC}", "not none of them"),
        ('{cron: "0 6 * *"}', "five fields"),
        ('{cron: "0 0 6 * * *"}', "five fields"),
        ('{cron: "@daily"}', "five fields"),
        ('{cron: "0 25 * * *"}', "bad hour"),
        ('{cron: "0 6 * * FOO"}', "bad day-of-week"),
        ('{cron: "*/0 6 * * *"}', "bad minute"),
        ('{cron: "0 6 30 2 *"}', "bad day-of-month"),
        ("{every: 0m}", "not a span"),
        ("{every: -1h}", "not a span"),
        ("{every: 15}", "not a span"),
        ("{every: 15 minutes}", "not a span"),
        ("{every: 99999999999999d}", "not a span"),
        ("{every: 367d}", "more than 366d"),
        ("{when: new files, check: 0s}", "not a span"),
        ("{when: new file}", "'new files'"),
        ("{every: 1h, check: 1m}", "`check` goes with `when: new files`"),
        ("{every: 36h, timezone: Europe/Berlin}", "`timezone` goes with `cron`"),
        ("{when: new files, timezone: Europe/Berlin}", "`timezone` goes with `cron`"),
        ('{cron: "0 6 * * *", timezone: Europe/Berlyn}', "did you mean 'Europe/Berlin'?"),
        ('{cron: "0 6 * * *", timezone: new york}', "did you mean 'America/New_York'?"),
        ('{cron: "0 6 * * *", timezone: Europe}', "there is no time zone 'Europe'"),
        ('{cron: "0 6 * * *", timezone: ../../etc/passwd}', "there is no time zone"),
        ('{cron: "0 6 * * *", timezone: ""}', "there is no time zone"),
        ("every 15m", "give it as"),
        ("[15m]", "give it as"),
        ("null", "give it as"),
    ],
)
def test_mistake_is_told_with_its_line(
    settings: Settings, tmp_path: Path, schedule: str, told: str
) -> None:
    error = mistake(settings, tmp_path, f"{ORDERS}    schedule: {schedule}\n")
    assert told in error.what
    assert error.where.endswith("sources.yml:5")
    error = mistake(settings, tmp_path, f"{ORDERS}schedule: {schedule}\n")
    assert told in error.what
    assert error.where.endswith("sources.yml:5")


@pytest.mark.parametrize("dash", ["", "- "])
def test_mistake_of_a_block_is_told_with_the_line_of_the_key(
    settings: Settings, tmp_path: Path, dash: str
) -> None:
    body = f"{dash}cron: 0 6 * * *\n{' ' * len(dash)}timezone: Mars\n"
    text = f"{ORDERS}    schedule:\n{indent(body, ' ' * 6)}"
    error = mistake(settings, tmp_path, text)
    assert error.what.startswith("timezone: there is no time zone 'Mars'")
    assert error.where.endswith(":7")


def test_second_of_a_list_is_named_by_the_key_of_the_list(
    settings: Settings, tmp_path: Path
) -> None:
    text = f"{ORDERS}    schedule:\n      - every: 15m\n      - check: 1m\n"
    error = mistake(settings, tmp_path, text)
    assert error.what.startswith("schedule: give one of")
    assert error.where.endswith(":7")


def test_unknown_key_is_named_with_the_nearest(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, f'{ORDERS}    schedule: {{crn: "0 6 * * *"}}\n')
    assert (error.what, error.next_step) == ("unknown key 'crn'", "did you mean 'cron'?")
    error = mistake(settings, tmp_path, f"{ORDERS}schedules: {{every: 1h}}\n")
    assert error.next_step == "did you mean 'schedule'?"


def test_cron_has_the_words_of_cron(settings: Settings, tmp_path: Path) -> None:
    for text in ("*/15 8-18 * * MON-FRI", "0 6 L * *", "30 5 * JAN,jul 1#2", "0 0 29 2 *"):
        (entry,) = of_source(settings, tmp_path, f'{{cron: "{text}"}}')
        assert entry.cron == text


def test_utc_needs_no_table_of_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.schedule_entries.ZoneInfo", None)
    assert zone("UTC").utcoffset(None) == timedelta()


@pytest.mark.parametrize("text", ["90s", "15m", "36h", "7d"])
def test_span_is_told_as_it_is_written(settings: Settings, tmp_path: Path, text: str) -> None:
    (entry,) = of_source(settings, tmp_path, f"{{every: {text}}}")
    assert entry.every is not None
    assert span_text(entry.every) == text


def test_day_of_hours_is_a_day(settings: Settings, tmp_path: Path) -> None:
    (entry,) = of_source(settings, tmp_path, "{every: 24h, timezone: Asia/Kolkata}")
    assert entry.every == timedelta(days=1)
