"""The command line in this process: how a command ends and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import cli


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """The one message of a failure."""
        assert "Traceback" not in self.err
        assert self.err.count("error: ") == 1
        return self.err[self.err.index("error: ") :]


Clearwater = Callable[..., Said]


@pytest.fixture
def clearwater(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Clearwater:
    """The command line in this process, with an empty home unless one is given."""
    monkeypatch.setenv("CLEARWATER_HOME", str(tmp_path / "empty"))

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["clearwater", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Said(code or 0, *capsys.readouterr())

    return call
