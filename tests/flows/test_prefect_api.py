"""The interface of the Prefect server where it hangs: nobody waits for it for long."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import server
from flows.prefect_api import Api, ApiError
from flows.server import ServerInfo
from warehouse.processes import this_process


@pytest.fixture
def hung() -> Iterator[ServerInfo]:
    """An address where connections are taken and nothing is answered, as by a stopped process."""
    with socket.create_server((server.HERE, 0), backlog=8) as listener:
        port = listener.getsockname()[1]
        yield ServerInfo(server.HERE, port, this_process(), str(Path("sources.yml")))


def test_a_call_of_a_server_that_hangs_fails_in_time(hung: ServerInfo) -> None:
    started = time.monotonic()
    with pytest.raises(ApiError, match="timed out") as failure:
        Api(hung.api_url, seconds=0.2).unfinished()
    assert time.monotonic() - started < 5
    assert failure.value.status == 0


def test_a_server_that_hangs_is_not_well(hung: ServerInfo) -> None:
    started = time.monotonic()
    assert not server.answers(hung)
    assert time.monotonic() - started < server.HEALTH_SECONDS + 4
