"""What is told of a model that does not build: the engine's words, and the SQL that is meant."""

from __future__ import annotations

from warehouse.failed_models import AROUND, MOST_LINES, failed_model

FILE = "models/marts/fct_a.sql"
SQL = "\n".join(
    [*(f"line_{n}," for n in range(1, 30)), "count(nope) as n,", "other", *"abcdefghijk"]
)


def message(shown: str, number: int = 32) -> str:
    return (
        f"Runtime Error in model fct_a ({FILE})\n"
        '  Binder Error: Referenced column "nope" not found!\n  Candidate bindings: "a"\n  \n'
        f"  LINE {number}:         {shown}\n                 ^"
    )


def test_lines_around_the_one_that_the_engine_means() -> None:
    told = failed_model("marts.fct_a", FILE, message("count(nope) as n,"), SQL)
    assert told.line == 30  # not 32, which counts what dbt wraps around
    assert told.first_line == 30 - AROUND
    assert told.sql[told.line - told.first_line] == "count(nope) as n,"
    assert len(told.sql) == 2 * AROUND + 1
    assert told.message == (
        'Binder Error: Referenced column "nope" not found!\nCandidate bindings: "a"'
    )


def test_of_equal_lines_the_nearest_is_meant() -> None:
    sql = "\n".join(["union all", "a", "b", "c", "union all", "d"])
    assert failed_model("a.b", FILE, message("union all", 6), sql).line == 5


def test_long_line_that_is_shown_in_part_is_found() -> None:
    assert failed_model("a.b", FILE, message("...unt(nope) as..."), SQL).line == 30


def test_without_a_line_the_beginning_is_shown() -> None:
    told = failed_model("a.b", FILE, "IO Error: could not read", SQL + "\nx" * 99)
    assert (told.line, told.first_line, len(told.sql)) == (0, 1, MOST_LINES)
    assert told.message == "IO Error: could not read"


def test_macros_that_dbt_went_through_are_left_out() -> None:
    said = "Compilation Error in model fct_a (models/fct_a.sql)\n  No window\n  \n"
    said += "  > in macro window (macros/window.sql)\n  > called by model fct_a (models/fct_a.sql)"
    assert failed_model("a.b", FILE, said, SQL).message == "No window"


def test_values_of_the_data_are_not_told() -> None:
    said = (
        "Runtime Error in model a (b.sql)\n  Conversion Error: Could not convert string 'Mrs Smith'"
    )
    assert "Smith" not in failed_model("a.b", FILE, said, SQL).message


def test_model_that_was_not_compiled_has_no_sql() -> None:
    told = failed_model("a.b", FILE, message("count(nope) as n,"), "")
    assert (told.sql, told.line) == ((), 0)
    assert "LINE 32" in told.message
