"""The newest figures as a file in Prometheus' text format, for whatever agent picks files up."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from warehouse.files import write_atomically
from warehouse.loads import noted_loads
from warehouse.releases import current, held_at

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from flows.run import Run
    from warehouse.settings import Settings

STATUSES = ("done", "refused", "blocked", "failed", "stopped")
VERDICTS = ("pass", "warn")
SEVERITIES = ("critical", "warning")
OUTCOMES = ("loaded", "quarantined", "already_known", "refused", "deleted")
_UNIT_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024
_WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def write_metrics(run: Run) -> None:
    """Write the figures of a run that is ending, and of its home. Raises OSError and StateError."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    figures = _Figures(registry)
    _of_run(run, figures)
    _of_sources(run, figures)
    _of_home(run, figures)
    write_atomically(run.settings.metrics, generate_latest(registry).decode())


class _Figures:
    """Gauges by name, each made with its first value."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def gauge(self, name: str, says: str, value: float) -> None:
        from prometheus_client import Gauge

        Gauge(f"clearwater_{name}", says, registry=self._registry).set(value)

    def by(
        self,
        name: str,
        says: str,
        labels: tuple[str, ...],
        values: Iterable[tuple[tuple[str, ...], float]],
    ) -> None:
        """A gauge with a value for each combination of its labels' values."""
        from prometheus_client import Gauge

        gauge = Gauge(f"clearwater_{name}", says, labels, registry=self._registry)
        for named, value in values:
            gauge.labels(*named).set(value)


def _of_run(run: Run, figures: _Figures) -> None:
    ended = time.time()
    figures.gauge(
        "run_start_timestamp_seconds",
        "When the last run began, with the writer lock.",
        run.started_at.timestamp(),
    )
    figures.gauge("run_end_timestamp_seconds", "When the last run ended.", ended)
    figures.gauge(
        "run_duration_seconds", "How long the last run took.", ended - run.started_at.timestamp()
    )
    figures.gauge("run_exit_code", "The last run's exit code, 0 if all is well.", run.exit_code)
    figures.by(
        "run_status",
        "1 for the status with which the last run ended, 0 for the others.",
        ("status",),
        (((status,), status == run.status) for status in STATUSES),
    )
    figures.by(
        "run_stage_duration_seconds",
        "How long each stage of the last run took.",
        ("stage",),
        (((name,), trace.seconds) for name, trace in run.trace.items()),
    )
    own, children = (resource.getrusage(who) for who in _WHOSE)
    figures.gauge(
        "run_cpu_seconds",
        "CPU time, user and system, of the last run's process and of those that it started.",
        own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
    )
    figures.gauge(
        "run_peak_memory_bytes",
        "Most memory that the last run's process, or one that it started, has had.",
        max(own.ru_maxrss, children.ru_maxrss) * _UNIT_OF_MAXRSS,
    )


def _of_sources(run: Run, figures: _Figures) -> None:
    figures.by(
        "source_rows",
        "Rows that the last run read of each source, by what became of them.",
        ("source", "outcome"),
        (
            ((name, outcome), getattr(summary.counts, outcome))
            for name, summary in run.summaries.items()
            for outcome in OUTCOMES
        ),
    )
    figures.by(
        "source_refused_files",
        "Files and listings of each source that the last run refused or could not read.",
        ("source",),
        (((name,), len(summary.problems)) for name, summary in run.summaries.items()),
    )
    figures.by(
        "source_last_new_timestamp_seconds",
        "When a new file with rows of the source was loaded last.",
        ("source",),
        (((name,), at) for name, at in _last_new(run.settings).items()),
    )


def _last_new(settings: Settings) -> dict[str, float]:
    """When each source brought something last, in seconds since 1970; landing knows it."""
    return {
        load.source: load.loaded_at.replace(tzinfo=UTC).timestamp()
        for load in noted_loads(settings).values()  # in their order
        if load.is_loaded and load.rows_in
    }


def _open_incidents(settings: Settings) -> dict[str, int]:
    """How many incidents are open, by severity."""
    from warehouse.incident_log import open_incident_log

    with open_incident_log(settings) as log:
        rows = log.rows(closed_since=datetime.now(UTC))
    counts = Counter(row["severity"] for row in rows if row["closed_at"] is None)
    return {severity: counts[severity] for severity in SEVERITIES}


def _of_home(run: Run, figures: _Figures) -> None:
    release = current(run.settings)
    if release is not None:
        figures.gauge(
            "release_created_timestamp_seconds",
            "When the release that is served was made.",
            datetime.fromisoformat(release.created_at).timestamp(),
        )
        figures.by(
            "release_verdict",
            "1 for the verdict on the release that is served, 0 for the other.",
            ("verdict",),
            (((word,), word == release.verdict) for word in VERDICTS),
        )
    figures.gauge(
        "release_held",
        "1 while the line is held after a rollback, else 0.",
        held_at(run.settings) is not None,
    )
    figures.by(
        "incidents_open",
        "Open incidents by severity.",
        ("severity",),
        (((word,), count) for word, count in _open_incidents(run.settings).items()),
    )
    figures.gauge(
        "disk_free_bytes",
        "Bytes that are free on the disk of CLEARWATER_HOME.",
        shutil.disk_usage(run.settings.home).free,
    )
