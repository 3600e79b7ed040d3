"""Faults of time: zones, days, epochs, clocks."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import Frame, Mask, Values, changed
from benchmarks.faults.kinds import Files, Scene, kind, row_kind
from benchmarks.faults.worlds import PAYMENTS

DAY = np.timedelta64(1, "D")


@kind("critical", strengths=(1, 2, 5, 12), unit="hours later")
def zone_shifted(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Times in another zone."""
    return _moved(scene, np.timedelta64(int(strength), "h"))


@kind("critical", strengths=(1, 2, 5, 12), unit="hours earlier")
def zone_shifted_back(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Times in another zone."""
    return _moved(scene, -np.timedelta64(int(strength), "h"))


@kind("critical", unit="hours later", feeds=(PAYMENTS,), strengths=(1, 2, 5, 12))
def zone_shifted_throughout(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Times and what is counted from them in another zone."""
    seconds = scene.today["TX_TIME_SECONDS"] + int(strength) * 3_600
    moved = _frame(scene, np.timedelta64(int(strength), "h"))
    return {scene.file: moved | {"TX_TIME_SECONDS": seconds, "TX_TIME_DAYS": seconds // 86_400}}


@kind("critical", strengths=(1,), unit="day")
def one_day_late(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """The day after."""
    return _moved(scene, int(strength) * DAY)


@kind("critical", strengths=(1,), unit="day")
def one_day_early(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """The day before."""
    return _moved(scene, -int(strength) * DAY)


@row_kind("critical")
def time_ahead(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Times of the future: 400 days ahead."""
    return changed(scene.today, scene.feed.roles.time, hit, lambda values: values + 400 * DAY)


@row_kind("critical")
def time_a_year_back(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Times of the year before."""
    return changed(scene.today, scene.feed.roles.time, hit, lambda values: values - 365 * DAY)


@row_kind("critical")
def time_of_1970(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Milliseconds taken for microseconds: January 1970."""
    return _time(scene, hit, lambda values: (values.astype(np.int64) // 1_000).astype(values.dtype))


@row_kind("critical")
def time_of_9999(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The last day there is: 9999-12-31."""
    last = np.datetime64("9999-12-31T00:00:00", "s")
    return changed(scene.today, scene.feed.roles.time, hit, lambda v: np.full_like(v, last))


@row_kind("critical")
def time_at_midnight(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Times lack their hours: midnight."""
    return _time(scene, hit, lambda values: values.astype("datetime64[D]").astype(values.dtype))


@row_kind("critical")
def time_constant(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Every row has the same moment."""
    return _time(scene, hit, lambda values: np.full_like(values, values[len(values) // 2]))


@row_kind("critical")
def time_as_epoch(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Times as seconds since 1970, in digits."""

    def digits(values: Values) -> Values:
        seconds = values.astype("datetime64[s]").astype(np.int64)
        return np.array([str(second) for second in seconds], dtype=object)

    return _as_text(scene, hit, digits)


@row_kind("critical")
def day_and_month_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Day and month are swapped where that is a date, and else not a date."""

    def swapped(values: Values) -> Values:
        texts = np.datetime_as_string(values, unit="s")
        return np.array([f"{t[:5]}{t[8:10]}-{t[5:7]} {t[11:]}" for t in texts], dtype=object)

    return _as_text(scene, hit, swapped)


@kind("warning", strengths=(0.01, 0.1, 0.5), unit="of the places")
def clocks_slow(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Clocks of some terminals or stores are three hours slow."""
    places = np.unique(scene.today[scene.feed.roles.where])
    slow = rng.choice(places, size=max(1, round(strength * len(places))), replace=False)
    hit = np.isin(scene.today[scene.feed.roles.where], slow)
    shift = np.timedelta64(3, "h")
    return {
        scene.file: changed(scene.today, scene.feed.roles.time, hit, lambda values: values - shift)
    }


def _frame(scene: Scene, by: np.timedelta64) -> Frame:
    time = scene.feed.roles.time
    return scene.today | {time: scene.today[time] + by}


def _moved(scene: Scene, by: np.timedelta64) -> Files:
    return {scene.file: _frame(scene, by)}


def _time(scene: Scene, hit: Mask, change: object) -> Frame:
    assert callable(change)
    return changed(scene.today, scene.feed.roles.time, hit, change)


def _as_text(scene: Scene, hit: Mask, change: object) -> Frame:
    """The times as texts, those that are hit in another form."""
    assert callable(change)
    time = scene.feed.roles.time
    values = scene.today[time]
    plain = [text.replace("T", " ") for text in np.datetime_as_string(values, unit="s")]
    texts = np.array(plain, dtype=object)
    texts[hit] = change(values[hit])
    return scene.today | {time: texts}
