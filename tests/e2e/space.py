"""A namespace with runs in it: creating, watching, and reading what came of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.e2e.api_server import Cluster, Object
from tests.e2e.operator_process import OperatorProcess

from nexus.adapters.kube.client.api import CONFIG_MAPS, EVENTS, JOBS, PODS, WORKFLOW_RUNS, WORKFLOWS, Kind
from nexus.api.base import API_VERSION
from nexus.core.names import LABEL_RUN, LABEL_TASK

IMAGE = "nexus/task-bash:dev"
"""An image that is on the node."""
BUSY = (429, 500, 503, 504)
"""What an API server answers that has much to do: a watch is tried again, as every client does."""


def bash(name: str, command: str, *after: str, **fields: Any) -> Object:
    """A bash task that runs after others."""
    return {"name": name, "bash": {"command": command}, **_after(after), **fields}


def python(name: str, code: str, *after: str, **fields: Any) -> Object:
    """A python task that runs after others."""
    return {"name": name, "python": {"code": code}, **_after(after), **fields}


def container(name: str, *command: str, after: tuple[str, ...] = (), **fields: Any) -> Object:
    """A container task: the cheapest there is."""
    body = {"image": IMAGE, "command": list(command or ("true",))}
    return {"name": name, "container": body, **_after(after), **fields}


def _after(names: tuple[str, ...]) -> Object:
    return {"dependsOn": list(names)} if names else {}


def chain(length: int, *command: str) -> list[Object]:
    """Container tasks, one after the other."""
    return [container(f"t{i}", *command, after=(f"t{i - 1}",) if i else ()) for i in range(length)]


def is_finished(run: Object) -> bool:
    """Whether the condition Finished is True."""
    conditions = run.get("status", {}).get("conditions") or ()
    return any(entry["type"] == "Finished" and entry["status"] == "True" for entry in conditions)


def task(run: Object, name: str) -> Object:
    """The status of one task."""
    found = [entry for entry in run.get("status", {}).get("tasks") or () if entry["name"] == name]
    return found[0] if found else {"name": name, "phase": None}


def phases(run: Object) -> dict[str, str]:
    """The phase of every task."""
    return {entry["name"]: entry["phase"] for entry in run["status"].get("tasks") or ()}


def reasons(run: Object) -> dict[str, str | None]:
    """The reason of every task."""
    return {entry["name"]: entry.get("reason") for entry in run["status"].get("tasks") or ()}


class Space(Cluster):
    """The API server in one namespace of the tests' own."""

    operator: OperatorProcess | None = None
    """The operator that works in it."""

    def get(self, kind: Kind, name: str) -> Object | None:
        """An object, None where it is not there."""
        answer = self.http.get(kind.path(self.namespace, name))
        return None if answer.status_code == 404 else self._checked(answer)

    def list(self, kind: Kind, labels: str = "", fields: str = "") -> list[Object]:
        """The objects of a kind."""
        parameters = {"labelSelector": labels, "fieldSelector": fields}
        return list(self._checked(self.http.get(kind.path(self.namespace), params=parameters))["items"])

    def post(self, kind: Kind, body: Object, subresource_of: str = "", subresource: str = "") -> Object:
        """Create an object; it has to be accepted."""
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        address = kind.path(self.namespace, subresource_of, subresource)
        return self._checked(self.http.post(address, params={"fieldValidation": "Strict"}, json=head | body))

    def patch(self, kind: Kind, name: str, body: Object, subresource: str = "") -> Object:
        """Merge into an object."""
        headers = {"Content-Type": "application/merge-patch+json"}
        address = kind.path(self.namespace, name, subresource)
        return self._checked(self.http.patch(address, headers=headers, content=json.dumps(body)))

    def remove(self, kind: Kind, name: str, policy: str = "Background", **options: Any) -> None:
        """Delete an object."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy, **options}
        self._checked(self.http.request("DELETE", kind.path(self.namespace, name), json=body))

    @staticmethod
    def _checked(answer: httpx.Response) -> Object:
        assert answer.status_code < 300, f"{answer.request.method} {answer.request.url}: {answer.text}"
        return dict(answer.json())

    def workflow(self, name: str, *tasks: Object, **spec: Any) -> Object:
        """Create a Workflow."""
        return self.post(WORKFLOWS, {"metadata": {"name": name}, "spec": {"tasks": list(tasks), **spec}})

    def run(self, name: str, *tasks: Object, params: Object | None = None, **spec: Any) -> Object:
        """Start a run of a definition of its own."""
        inline = {"workflowSpec": {"tasks": list(tasks), **spec}}
        return self.post(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": inline | _params(params)})

    def run_of(self, workflow: str, name: str, params: Object | None = None) -> Object:
        """Start a run of a Workflow, as a plain `kubectl create` does."""
        spec = {"workflowRef": {"name": workflow}} | _params(params)
        return self.post(WORKFLOW_RUNS, {"metadata": {"name": name}, "spec": spec})

    def watch(self, kind: Kind, seconds: float, labels: str = "", fields: str = "") -> Iterator[tuple[str, Object]]:
        """What there is, and then what happens, for so long."""
        deadline = time.monotonic() + seconds
        parameters = {"watch": "1", "labelSelector": labels, "fieldSelector": fields}
        while (left := deadline - time.monotonic()) > 0:
            if self.operator is not None and self.operator.died:
                pytest.fail(f"the operator died\n{self.operator.tail(60)}")
            parameters["timeoutSeconds"] = str(max(int(min(left, 10)), 1))
            with self.http.stream("GET", kind.path(self.namespace), params=parameters, timeout=left + 10) as stream:
                if stream.status_code in BUSY:
                    time.sleep(0.2)
                    continue
                assert stream.is_success, stream.read()
                for line in stream.iter_lines():
                    event = json.loads(line)
                    yield event["type"], event["object"]

    def until(self, name: str, holds: Callable[[Object], bool], seconds: float = 60) -> Object:
        """The run as soon as something holds of it."""
        last: Object = {}
        for kind, last in self.watch(WORKFLOW_RUNS, seconds, fields=f"metadata.name={name}"):
            if kind != "DELETED" and holds(last):
                return last
        status = json.dumps(last.get("status"), indent=1)
        pytest.fail(f"run {name} of {self.namespace} did not get there in {seconds} s: {status}")

    def finished(self, name: str, seconds: float = 90) -> Object:
        """The run once it has finished."""
        return self.until(name, is_finished, seconds)

    def running(self, name: str, *tasks: str, seconds: float = 60) -> Object:
        """The run once the containers of these tasks run."""
        body: Object = {}
        for wanted in tasks:
            selector = f"{LABEL_RUN}={name},{LABEL_TASK}={wanted}"
            for _, pod in self.watch(PODS, seconds, labels=selector):
                if any("running" in entry["state"] for entry in pod["status"].get("containerStatuses") or ()):
                    break
            else:
                pytest.fail(f"task {wanted} of run {name} was not running within {seconds} s")
            body = self.until(name, lambda run, wanted=wanted: task(run, wanted)["phase"] == "Running", seconds)
        return body

    def jobs(self, run: str, task_name: str = "") -> list[Object]:
        """The Jobs of a run, or of one of its tasks."""
        return self.list(JOBS, _selector(run, task_name))

    def without_jobs(self, run: str, task_name: str, seconds: float = 15) -> bool:
        """Whether the Jobs of a task are gone, at the latest after so long: they go after the status that says why."""
        deadline = time.monotonic() + seconds
        while (left := self.jobs(run, task_name)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return not left

    def pods(self, run: str, task_name: str = "") -> list[Object]:
        """The pods of a run, or of one of its tasks."""
        return self.list(PODS, _selector(run, task_name))

    def events(self, run: Object, reason: str = "") -> list[Object]:
        """The Events about a run that has finished: they are published in order, after its status, its own one last."""
        of_run = f"involvedObject.uid={run['metadata']['uid']}"
        found = self.list(EVENTS, fields=of_run)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not any(event["reason"].startswith("Run") for event in found):
            time.sleep(0.2)
            found = self.list(EVENTS, fields=of_run)
        return [event for event in found if reason in ("", event["reason"])]

    def output(self, run: Object, name: str) -> Any:
        """The output of a task, from wherever it lies."""
        status = task(run, name)
        if "outputRef" not in status:
            return status.get("output", {})
        body = self.get(CONFIG_MAPS, status["outputRef"]["configMap"])
        assert body is not None
        return json.loads(body["data"]["output.json"])

    def everything(self, *kinds: Kind) -> str:
        """All objects of some kinds as one text, in which a secret may not be found."""
        return json.dumps([self.list(kind) for kind in kinds], ensure_ascii=False)


def _params(params: Object | None) -> Object:
    return {} if params is None else {"params": params}


def _selector(run: str, task_name: str) -> str:
    return f"{LABEL_RUN}={run}" + (f",{LABEL_TASK}={task_name}" if task_name else "")


__all__ = ["API_VERSION", "Object", "Space"]
