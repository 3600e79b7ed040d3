"""A server of S3 for tests: moto's, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer


@contextmanager
def empty_s3(port: int = 0) -> Iterator[str]:
    """The address of a server that holds nothing, at a free port unless one is given.

    It is emptied first: all servers of a process share what they hold, also with stopped ones.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        tell(address, "reset")
        yield address
    finally:
        server.stop()


def tell(address: str, action: str, text: str = "") -> None:
    """Moto's own interface: `reset`, or how many requests go without authentication."""
    asked = Request(f"{address}/moto-api/{action}", text.encode(), {"Content-Type": "text/plain"})
    with urlopen(asked) as answer:
        answer.read()
