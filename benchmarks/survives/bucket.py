"""An S3 server in a process of its own, which can hang, be killed and come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from benchmarks.figures import SkippedError
from warehouse.settings import PROJECT

BUCKET = "shop"
START_SECONDS = 60.0
SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "clearwater",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-benchmark",
    "AWS_REGION": "us-east-1",
}


class Bucket:
    """The server with its one bucket; objects are kept here too, for when it has lost them.

    Raises SkippedError without moto and boto3, which only developers have.
    """

    def __init__(self) -> None:
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
        except ImportError as error:
            raise SkippedError(str(error)) from error
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._objects: dict[str, bytes] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=ENVIRONMENT["AWS_REGION"],
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return ENVIRONMENT | {"AWS_ENDPOINT_URL": self.endpoint}

    def start(self) -> None:
        """Start it, with all objects that it ever had, and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self._port)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait()
        self.client.create_bucket(Bucket=BUCKET)
        for key, content in list(self._objects.items()):
            self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def put(self, key: str, content: bytes) -> None:
        """Keep the object. Raises OSError while the server cannot be reached."""
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        try:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error
        self._objects[key] = content

    def hang(self) -> None:
        """Connections are taken and nothing is answered, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Nobody listens, until `start`."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _wait(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client.list_buckets()
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return
