"""The gate in a process of its own, which imports Great Expectations while a build is made.

A thread would not do: the import and dbt are Python both, and would only take turns.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from expectations import gate
from warehouse.progress import Progress, Unit, untold
from warehouse.settings import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from expectations.gate import GateResult, TableScope
    from expectations.rules import Rule
    from warehouse.settings import Settings


class Auditor:
    """A process that is getting ready to audit one build."""

    def __init__(self) -> None:
        # From the project's folder, so that it imports the very modules that this process has.
        self._process = subprocess.Popen(  # noqa: S603 - our own program, without a shell
            [sys.executable, "-m", __name__],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def audit(
        self,
        settings: Settings,
        database: Path,
        scopes: Mapping[str, TableScope],
        rules: Sequence[Rule],
        progress: Progress = untold,
        **others: Any,
    ) -> GateResult:
        """What `gate.audit` says of the same arguments, or raises; the process is gone then.

        A process that ends without an answer has checked nothing: an error of every rule.
        """
        try:
            answer = self._answer(progress, (settings, database, scopes, rules), others)
        finally:
            self.close()
        if answer is None:
            code = self._process.returncode
            return gate.unchecked(rules, f"{gate.NO_GATE[1]} with {code}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, progress: Progress, *asked: object) -> GateResult | Exception | None:
        to_process, from_process = self._process.stdin, self._process.stdout
        assert to_process is not None
        assert from_process is not None
        try:
            pickle.dump(asked, to_process)
            to_process.flush()
            while isinstance(answer := pickle.load(from_process), tuple):  # noqa: S301 - our own
                progress(*answer)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            self._process.wait()
            return None
        told: GateResult | Exception = answer
        return told

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process, whatever it does; it writes nothing that must be whole."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent yet
                    pipe.close()


def start_auditor() -> Auditor | None:
    """A process for the next audit; None where this one must do it, or can at once."""
    if "great_expectations" in sys.modules:
        return None
    try:
        return Auditor()
    except OSError:  # no more processes, or no memory for one
        return None


def main() -> None:
    """Answer one request from stdin; end at once when whoever asked has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key pressed is our parent's to handle
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    with contextlib.suppress(Exception):  # the audit meets it again, and tells
        gate.load()
    try:
        arguments, others = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's
    except EOFError:
        return
    threading.Thread(target=_end_with_parent, args=(sys.stdin.buffer,), daemon=True).start()

    def tell(done: float, total: float, unit: Unit, detail: str = "") -> None:
        answers.write(pickle.dumps((done, total, unit, detail)))
        answers.flush()

    answers.write(_pickled(_audited(arguments, others | {"progress": tell})))
    answers.close()


def _end_with_parent(pipe: BinaryIO) -> None:
    pipe.read()
    os._exit(1)


def _audited(arguments: tuple[Any, ...], others: dict[str, Any]) -> GateResult | Exception:
    try:
        return gate.audit(*arguments, **others)
    except Exception as error:
        return error


def _pickled(answer: GateResult | Exception) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(answer).__name__}: {answer}"))


if __name__ == "__main__":
    main()
