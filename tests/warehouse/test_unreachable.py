"""Sources that cannot be reached for a while: tried again, and nobody else waits for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from s3_server import empty_s3

from warehouse import places
from warehouse.errors import BatchRefusedError, UnreachableError
from warehouse.ingest import land_sources
from warehouse.settings import Settings
from warehouse.sources import Source

S3 = Source(name="shop.orders", path="s3://shop/in/*.csv")
ERROR = "<Error><Code>{}</Code><Message>no</Message></Error>"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ATTEMPTS", 1)
    monkeypatch.setattr(places, "SILENCE_SECONDS", 1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "clearwater")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """What a server says to each request: the status and the code that is in the list."""
    said: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, code = said[0]
            body = ERROR.format(code).encode() if code else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - as http.server has it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield said
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "passes"),
    [
        (503, "SlowDown", True),
        (503, "ServiceUnavailable", True),
        (500, "InternalError", True),
        (502, "", True),
        (504, "GatewayTimeout", True),
        (403, "AccessDenied", False),
        (403, "SignatureDoesNotMatch", False),
        (404, "NoSuchBucket", False),
        (400, "InvalidRequest", False),
    ],
)
def test_what_may_pass_by_itself(
    answers: list[tuple[int, str]], status: int, code: str, passes: bool
) -> None:
    answers.append((status, code))
    with pytest.raises(BatchRefusedError) as caught:
        list(places.standing(S3))
    assert isinstance(caught.value, UnreachableError) is passes, str(caught.value)


def test_source_that_comes_back_is_landed_and_the_others_did_not_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    settings.home.mkdir()
    file = settings.home.with_name("b.csv")
    file.write_text("id\n1\n")
    local = Source(name="shop.customers", path=str(file))
    asked: list[tuple[str, int]] = []

    def again(names: str, error: Exception, tries: int) -> bool:
        assert "S3 cannot be reached" in str(error)
        assert len(list(settings.landing.glob("??/*.shop.customers.json"))) == 1
        asked.append((names, tries))
        if tries == 2:
            import boto3

            client = boto3.client("s3", endpoint_url=servers.enter_context(empty_s3(port)))
            client.create_bucket(Bucket="shop")
            client.put_object(Bucket="shop", Key="in/a.csv", Body=b"id\n7\n")
        return True

    with ExitStack() as servers:
        found = land_sources(settings, [S3, local], again=again)
    assert asked == [("shop.orders", 1), ("shop.orders", 2)]
    assert found.new_files == 2
    assert [summary.problems for summary in found.summaries.values()] == [(), ()]


def test_source_that_stays_away_is_a_problem_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    found = land_sources(settings, [S3], again=lambda _names, _error, tries: tries < 3)
    (problem,) = found.summaries["shop.orders"].problems
    assert "S3 cannot be reached" in problem
