"""What is tried again, how often, and how it is told."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import duckdb
import psycopg
import pytest
from handmade import payment
from sqlalchemy.exc import OperationalError
from works import Works

from flows import retrying
from flows.events import Events
from flows.retrying import passes_by_itself, tried
from flows.run import Options, Run
from warehouse import ingest
from warehouse.batch import Loaded
from warehouse.errors import (
    BatchRefusedError,
    BuildError,
    ConfigurationError,
    GateBlockedError,
    LakeError,
    StageTimeoutError,
    UnreachableError,
)
from warehouse.settings import Settings


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "input/output error"),
        ConnectionResetError("gone"),
        TimeoutError("slow"),
        OSError("a library's, without a number"),
        UnreachableError("S3 cannot be reached"),
        sqlite3.OperationalError("database is locked"),
        duckdb.TransactionException("Failed to commit DuckLake transaction: database is locked"),
        LakeError("the lake cannot be written: database is locked"),
        BuildError("model x failed: database is locked"),
        OperationalError("select", {}, psycopg.OperationalError("connection refused")),
        OperationalError("select", {}, psycopg.errors.SerializationFailure("could not serialize")),
        OperationalError("select", {}, sqlite3.OperationalError("database is locked")),
    ],
    ids=repr,
)
def test_what_may_pass_by_itself(error: Exception) -> None:
    assert passes_by_itself(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no space left on device"),
        PermissionError(errno.EACCES, "forbidden"),
        GateBlockedError("two rules failed"),
        ConfigurationError("a typing error: database is locked"),
        BatchRefusedError("the file is torn"),
        BuildError("model x does not keep its contract"),
        StageTimeoutError("stage load took longer than 1 s"),
        duckdb.BinderException("there is no column x"),
        OperationalError("select", {}, sqlite3.OperationalError("no such table: runs")),
        ValueError("a mistake of ours"),
    ],
    ids=repr,
)
def test_what_stays_as_it_is(error: Exception) -> None:
    assert not passes_by_itself(error)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def run(settings: Settings) -> Run:
    return Run(settings, Options(), "r1", Events("text", "r1"), datetime.now(UTC))


def failing(times: int, error: Exception) -> Callable[[Run], None]:
    left = [error] * times

    def stage(_run: Run) -> None:
        if left:
            raise left.pop()

    return stage


def test_stage_is_tried_again_after_a_longer_wait_each_time(
    run: Run, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    tried("load", failing(2, ConnectionResetError("the line was cut")), run)
    assert len(slept) == 2
    for seconds, least in zip(slept, retrying.RETRY_DELAYS_SECONDS, strict=True):
        assert least <= seconds <= least * (1 + retrying.JITTER)
    assert [told.partition(" in ")[0] for told in run.summary()["retries"]] == [
        "load: the line was cut; try 2 of 3",
        "load: the line was cut; try 3 of 3",
    ]
    assert capsys.readouterr().err.count("again     load: the line was cut; try") == 2


def test_third_failure_is_final(run: Run, slept: list[float]) -> None:
    with pytest.raises(ConnectionResetError, match="cut"):
        tried("load", failing(3, ConnectionResetError("cut")), run)
    assert len(slept) == 2


def test_gate_that_blocks_is_asked_once(run: Run, slept: list[float]) -> None:
    with pytest.raises(GateBlockedError):
        tried("audit", failing(1, GateBlockedError("two rules failed")), run)
    assert slept == []
    assert run.retries == []


def test_rows_of_a_try_that_broke_off_are_told_with_those_of_the_next(
    works: Works, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (4, 5, 6):
        works.put([payment(number, day=number)], f"payments{number}.csv")
    write, calls = ingest.load_batch, []

    def breaking(*arguments: Any) -> Loaded:
        calls.append(arguments)
        if len(calls) == 2:
            raise duckdb.TransactionException("Failed to commit: database is locked")
        return write(*arguments)

    monkeypatch.setattr(ingest, "load_batch", breaking)
    run = works.run("land", "load")
    assert run.exit_code == 0
    counts = run.summary()["sources"]["payments.transactions"]
    assert (counts["batches"], counts["loaded"]) == (3, 3)
    assert len(slept) == len(run.retries) == 1
    assert len(calls) == 4
