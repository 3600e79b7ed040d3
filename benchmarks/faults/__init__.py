"""A seeded injector of faults, and the share of them that is found before anything is published."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Figure, Options, SkippedError

WORLDS, DAYS, TRIALS = 8, 25, 1
SHORT_KINDS = ("amount missing", "amount x100", "rows repeated")


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Every kind of fault at every strength in both domains, and 200 clean days of each.

    With `--work` the trials are kept in `faults/trials.ndjson` there, those that are done are not
    made again, and the table is in `faults/table.md`. Raises SkippedError without the retailer's
    data.
    """
    from benchmarks.faults.run import Plan, Record, run_all
    from benchmarks.faults.summary import figures, markdown

    plan = Plan(WORLDS, DAYS, TRIALS, options.seed)
    if options.short:
        plan = Plan(1, 1, 1, options.seed, full_only=True, kinds=SHORT_KINDS)
    work = options.work / "faults"
    work.mkdir(parents=True, exist_ok=True)
    record = Record(work / "trials.ndjson")
    try:
        run_all(plan, work, options.data if options.data.exists() else None, record)
    except FileNotFoundError as absent:
        raise SkippedError(str(absent)) from absent
    told = markdown(record.lines)
    (work / "table.md").write_text(told + "\n", encoding="utf-8")
    return figures(record.lines), {"seed": options.seed, "table": told.splitlines()}
