"""The REST interface of our own Prefect server, as far as we need it; imports nothing of Prefect.

Whoever only tells the server how a run goes, or asks what is due, is spared a second of imports.
The server's version is locked, and so is its interface.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from warehouse.errors import ClearwaterError

FLOW = "clearwater"
UNFINISHED = ("RUNNING", "PENDING", "CANCELLING")
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PAGE = 200  # the most that the server tells at once

Json = dict[str, Any]


class ApiError(ClearwaterError):
    """The server did not answer, or refused; `status` is the answer's, 0 where there is none."""

    status = 0


def state(kind: str, message: str = "", *, name: str = "") -> Json:
    """A state of the kind (`COMPLETED`, …), with the words that the UI shows of it."""
    return {"type": kind, "name": name or kind.capitalize(), "message": message}


class Api:
    """A client of the server at this address (`http://127.0.0.1:4200/api`).

    Each call raises ApiError when the server does not do what it is asked.
    """

    def __init__(self, url: str, *, seconds: float = 15.0) -> None:
        self._url = url
        self._seconds = seconds
        # No proxy: the address is this machine's own.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, None where it has no content."""
        request = urllib.request.Request(
            f"{self._url}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                told = answer.read()
        except (OSError, HTTPException) as error:
            status = error.code if isinstance(error, HTTPError) else 0
            raise self._failure(f"{method} {path}", str(error), status) from error
        try:
            return json.loads(told) if told else None
        except ValueError as error:
            raise self._failure(f"{method} {path}", "no JSON", 0) from error

    def _failure(self, asked: str, told: str, status: int) -> ApiError:
        failure = ApiError(
            f"the Prefect server does not do {asked}: {told}",
            where=self._url,
            next_step="look into prefect/server.log of the home; `clearwater up` starts it again",
        )
        failure.status = status
        return failure

    def flow_id(self) -> str:
        """The flow's id; the flow is made if it is not there."""
        return str(self.ask("POST", "flows/", {"name": FLOW})["id"])

    def deployments(self) -> list[Json]:
        """All deployments of the flow."""
        asked = {"flows": {"name": {"any_": [FLOW]}}, "limit": PAGE}
        return list(self.ask("POST", "deployments/filter", asked))

    def put_deployment(self, body: Json) -> Json:
        """Make a deployment, or change the one of its name."""
        return dict(self.ask("POST", "deployments/", body))

    def delete_deployment(self, deployment: str) -> None:
        """Delete it with the runs that it has planned; what ran is kept."""
        self.ask("DELETE", f"deployments/{quote(deployment)}")

    def planned(self, deployments: Sequence[str], upto: datetime) -> list[Json]:
        """The runs of these deployments that should have started by then, earliest first."""
        asked = {"deployment_ids": list(deployments), "scheduled_before": upto.isoformat()}
        return list(self.ask("POST", "deployments/get_scheduled_flow_runs", asked))

    def unfinished(self) -> list[Json]:
        """The flow's runs that are shown as being at work."""
        asked = {
            "flows": {"name": {"any_": [FLOW]}},
            "flow_runs": {"state": {"type": {"any_": list(UNFINISHED)}}},
            "limit": PAGE,
        }
        return list(self.ask("POST", "flow_runs/filter", asked))

    def flow_run(self, run: str) -> Json:
        """One run."""
        return dict(self.ask("GET", f"flow_runs/{run}"))

    def new_run_of(self, deployment: str) -> Json:
        """A run of the deployment that is due now."""
        body = {"state": state("SCHEDULED")}
        return dict(self.ask("POST", f"deployments/{deployment}/create_flow_run", body))

    def new_run(self, flow: str, parameters: Json, key: str) -> Json:
        """A run of the flow that is at work already; the same one when the key is the same."""
        body = {"flow_id": flow, "parameters": parameters, "idempotency_key": key}
        return dict(self.ask("POST", "flow_runs/", body | {"state": state("RUNNING")}))

    def set_state(self, run: str, new: Json) -> None:
        """Put a run into a state, whatever it was in."""
        self.ask("POST", f"flow_runs/{run}/set_state", {"state": new, "force": True})

    def new_task(self, run: str, name: str) -> str:
        """The id of a task of the run, which is at work now."""
        body = {"flow_run_id": run, "task_key": name, "dynamic_key": "0", "name": f"{name}-0"}
        return str(self.ask("POST", "task_runs/", body | {"state": state("RUNNING")})["id"])

    def set_task_state(self, task: str, new: Json) -> None:
        """Put a task into a state, whatever it was in."""
        self.ask("POST", f"task_runs/{task}/set_state", {"state": new, "force": True})

    def tasks_left_open(self, before: datetime, after: datetime) -> list[Json]:
        """Tasks shown as being at work of runs whose end was before the one or after the other.

        An end of the future is one of before the clock was set back.
        """
        found: list[Json] = []
        for span in ({"before_": before.isoformat()}, {"after_": after.isoformat()}):
            asked = {
                "flows": {"name": {"any_": [FLOW]}},
                "flow_runs": {"state": {"type": {"any_": list(FINAL)}}, "end_time": span},
                "task_runs": {"state": {"type": {"any_": list(UNFINISHED)}}},
            }
            found += self.ask("POST", "task_runs/filter", asked)
        return found

    def unfinished_tasks(self, run: str) -> list[Json]:
        """The run's tasks that are shown as being at work."""
        asked = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"type": {"any_": list(UNFINISHED)}}},
        }
        return list(self.ask("POST", "task_runs/filter", asked))
