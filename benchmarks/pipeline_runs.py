"""Runs of the pipeline in this process, where imports are paid once, stage by stage."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import own_cpu_seconds
from warehouse.settings import Settings

if TYPE_CHECKING:
    from flows.pipeline import Run


class RunFailedError(Exception):
    """A run that should have succeeded did not."""


def run_here(settings: Settings, sources: Path, *, full_refresh: bool = False) -> dict[str, float]:
    """A whole run that must succeed; returns the CPU seconds of each stage."""
    from expectations.gx_loading import load_great_expectations
    from flows import pipeline

    load_great_expectations()
    used: dict[str, float] = {}

    def call(name: str, stage: Callable[[Run], None], run: Run) -> None:
        before = own_cpu_seconds()
        stage(run)
        used[name] = own_cpu_seconds() - before

    options = pipeline.Options(sources=sources, full_refresh=full_refresh)
    with contextlib.redirect_stderr(io.StringIO()):
        run = pipeline.execute(settings, options, call=call)
    if run.exit_code != 0:
        raise RunFailedError(f"{run.status}: {run.failure or '; '.join(run.problems)}")
    return used
