"""How the report says numbers, times and trends."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from expectations.missing import Dependence, LittleTest, MissingColumn, TableMissing
from expectations.reporting.charts import HEIGHT, SHOWN_POINTS, WIDTH, sentence, sparkline
from expectations.reporting.missing_words import told_missing
from expectations.reporting.words import away, change, number, p_value, rounded, share, without_rows
from expectations.trends import Trend, TrendPoint

RUN = datetime(2026, 11, 21, 12, tzinfo=UTC)


NUMBERS = {
    0: "0",
    1234: "1,234",
    1234.6: "1,235",
    12.345: "12.35",
    0.02104: "0.02104",
    -0.5: "-0.5",
    1e-9: "1e-09",
    math.inf: "inf",
    math.nan: "nan",
}


@pytest.mark.parametrize(("value", "told"), NUMBERS.items())
def test_numbers(value, told):
    assert number(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0%"), (1, "100%"), (1e-6, "<0.1%"), (0.1234, "12.3%"), (0.99999, ">99.9%")],
)
def test_shares_are_none_and_all_only_when_they_are(value, told):
    assert share(value) == told


def test_changes():
    assert [change(*pair) for pair in ((5, 5), (6, 5), (4, 5), (5, 0), (500, 5))] == [
        "",
        "+1 (+20.0%)",
        "−1 (−20.0%)",
        "+5",
        "+495 (×100)",
    ]


def test_p_values():
    assert [p_value(p) for p in (0.0, 0.00099, 0.0312, 1.0)] == [
        "p < 0.001",
        "p < 0.001",
        "p = 0.031",
        "p = 1",
    ]


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (timedelta(seconds=1), "1 second before this run"),
        (timedelta(minutes=90), "90 minutes before this run"),
        (timedelta(hours=30), "30 hours before this run"),
        (timedelta(days=13), "13 days before this run"),
        (timedelta(days=400), "57 weeks before this run"),
        (timedelta(days=3241), "8 years before this run"),
        (timedelta(seconds=-30), "in this run"),
        (timedelta(minutes=-2), "2 minutes after this run"),
    ],
)
def test_how_far_a_moment_is_from_the_run(before, told):
    moment = (RUN - before).replace(tzinfo=None)  # as the lake keeps times
    assert away(moment, RUN, RUN + timedelta(minutes=1)) == told


def test_how_far_a_day_is_from_the_run():
    days = (date(2026, 11, 21), date(2026, 11, 20), date(2026, 11, 23))
    assert [away(day, RUN) for day in days] == [
        "the day of this run",
        "1 day before this run",
        "2 days after this run",
    ]


def test_excerpts_are_cut_up_to_the_next_step():
    text = "a.csv: 2 of 9 rows; the first is row 1,204: x: 'y'\nz\n  next: mend it"
    assert without_rows(text) == "a.csv: 2 of 9 rows; the first is row 1,204\n  next: mend it"
    assert without_rows("nothing: of the kind") == "nothing: of the kind"
    blocked = "r: 9 rows break it, e.g. a=1\n; a=(and 3 more), b= (and 1 more)\n  next: see it"
    assert without_rows(blocked) == "r: 9 rows break it (and 1 more)\n  next: see it"


def points(*values, band=(90.0, 110.0), alarm=False):
    days = range(len(values))
    return tuple(
        TrendPoint(RUN + timedelta(days=n), value, *band, alarm and n == len(values) - 1)
        for n, value in zip(days, values, strict=True)
    )


def test_a_trend_in_words():
    assert sentence(Trend("t", "", "row count", points(100.0))) == "100, expected 90 to 110"
    shares = Trend("t", "a", "null share", points(0.25, band=(0.0, 0.0004)))
    assert sentence(shares) == "25.0%, expected 0% to <0.1%"
    young = Trend("t", "", "row count", points(100.0, band=(None, None)))
    assert sentence(young) == "100; too little past to expect anything"


@pytest.mark.parametrize(
    "values",
    [
        (1.0, 2.0),
        (5.0, 5.0, 5.0),
        (1e18, -1e18),
        (0.0, math.nan, 3.0),
        tuple(map(float, range(99))),
    ],
)
@pytest.mark.parametrize("band", [(None, None), (90.0, 110.0), (-math.inf, math.inf), (0.0, 0.0)])
def test_a_picture_stays_within_its_frame(values, band):
    svg = sparkline(Trend("t", "", "m", points(*values, band=band, alarm=True)))
    assert "nan" not in svg
    assert 'class="alarm"' in svg or math.isnan(values[-1])
    paths = re.findall(r' d="(.*?)"', svg)
    assert paths
    for path in paths:
        for shape in filter(None, path.split("M")):
            start, _, steps = shape.rstrip("z").partition("l")
            x, y = map(int, start.split())
            numbers = list(map(int, re.findall(r"-?\d+", steps)))
            assert numbers
            assert len(numbers) <= 2 * 2 * SHOWN_POINTS
            for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
                assert -6 <= x <= WIDTH + 6
                assert 0 <= y <= HEIGHT
                x, y = x + dx, y + dy


@pytest.mark.parametrize("values", [(1.0,), (math.nan,), (math.nan, 1.0)])
def test_a_trend_of_one_value_or_none_has_no_picture(values):
    assert sparkline(Trend("t", "", "m", points(*values))) == ""


def test_far_bounds_do_not_flatten_the_values():
    near = sparkline(Trend("t", "", "m", points(1.0, 2.0, 1.0, band=(0.0, 3.0))))
    far = sparkline(Trend("t", "", "m", points(1.0, 2.0, 1.0, band=(-1e9, 1e9))))

    def height(svg):
        line = re.search(r'class="line" d="M\d+ \d+l(.*?)"', svg)[1]
        return abs(int(re.findall(r"-?\d+", line)[1]))

    assert height(far) >= height(near) / 4


def missing(**parts):
    columns = (MissingColumn("a", 40, 0.4),)
    told = {
        "table": "marts.t",
        "rows": 100,
        "analysed_rows": 100,
        "analysed_at": RUN,
        "columns": columns,
        "patterns": (),
        "is_monotone": True,
        "complete_rows": 60,
        "dependences": (),
        "little": None,
        "little_note": "not tested, too few columns",
        "imputations": (),
    }
    return told_missing(TableMissing(**told | parts))


def test_missing_data_in_sentences():
    told = missing()
    assert told.cost.endswith("would cost 40.0% of the rows: 40 of 100")
    assert told.shape == "One column alone has missing values."
    assert told.little == "Little's test: not tested, too few columns."
    assert told.analysed.startswith(
        "Counts are of all rows; tests and comparisons were made on all"
    )
    nothing_left = missing(complete_rows=0)
    assert "would leave nothing of 100" in nothing_left.cost


def test_dependences_are_told_by_column_the_strongest_first():
    among = [
        Dependence("a", f"x{n}", "chi-square", effect, "phi", 1e-5)
        for n, effect in enumerate((0.2, -0.9, 0.3, 0.4, 0.5))
    ]
    told = missing(dependences=(*among, Dependence("b", "x", "t", 0.1, "V", 0.04)))
    assert told.dependences == (
        "Whether a is missing depends on x1 (phi −0.90), x4 (phi 0.50), x3 (phi 0.40),"
        " x2 (phi 0.30) and 1 more; p < 0.001, corrected for all tests on the table",
        "Whether b is missing depends on x (V 0.10); p = 0.04,"
        " corrected for all tests on the table",
    )


def test_a_table_that_was_not_tested_yet_claims_no_test():
    told = missing(analysed_rows=0, notes=("left out",))
    assert told.analysed == "Counts are of all rows."
    assert told.notes == ("left out",)


@pytest.mark.parametrize(
    ("p", "said"), [(0.2, "does not prove it"), (0.001, "not missing completely at random")]
)
def test_littles_test_says_no_more_than_it_can(p, said):
    assert said in missing(little=LittleTest(12.5, 3, p, 100, ("a", "b")), little_note="").little


@pytest.mark.parametrize(
    ("value", "others", "told"),
    [
        (3.5355682199128395, (), "3.53557"),
        (1234567.8912, (None,), "1234568.0"),
        (4.5000000001, (4.5,), "4.5000000001"),
        (4.5000000001, (Decimal("4.4"), 9), "4.5"),
        (0.1 + 0.2, (0.3,), "0.30000000000000004"),
        (-2 / 3, (0,), "-0.666667"),
        (math.inf, (1,), "inf"),
        (12345678, (), "12345678"),
        (date(2026, 1, 31), (date(2026, 2, 1),), "2026-01-31"),
    ],
)
def test_rounded_figures_are_still_on_their_side_of_the_others(value, others, told):
    assert str(rounded(value, *others)) == told
