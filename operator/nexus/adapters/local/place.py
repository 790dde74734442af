"""LocalPlace: one run on this machine. The port `Place` of the loop, with subprocesses for Jobs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from nexus import bootstrap
from nexus.adapters.local.attempt import Attempt
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.expansion import expand
from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.core.definition import Definition
from nexus.core.facts import Facts, JobFact, Refusal, RunFact
from nexus.core.outputs import find_frame
from nexus.core.plan import LoadOutput, Payload, ReadFrame, RunEvent, StartTask, StopJob, StoreOutput
from nexus.runtime.ports import RunKey, View

# As in a pod, a task sees nothing of the environment it is started from, but what a program needs to work here.
INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "DOCKER_HOST"),
)
SPILL_LIMIT = 96 * 1024


class Observer(Protocol):
    """Who watches a local run."""

    def status(self, status: WorkflowRunStatus) -> None:
        """The status changed."""

    def line(self, task: str, line: str) -> None:
        """A task wrote a line."""


class LocalPlace:
    """One run, its status in memory, its attempts as subprocesses in folders below `folder`.

    `search_path` is the manifest's folder: `call` finds its modules there. `changed` is called when there is
    something new to decide.
    """

    def __init__(
        self,
        run: RunFact,
        definition: Definition,
        bindings: Bindings,
        folder: Path,
        search_path: Path,
        observer: Observer,
        changed: Callable[[], None],
    ) -> None:
        self.run = run
        self.key = RunKey(run.namespace, run.name)
        self.recorded: WorkflowRunStatus | None = None
        self.cancelled = False
        self._definition = definition
        self._bindings = bindings
        self._folder = folder
        self._search_path = search_path
        self._observer = observer
        self._changed = changed
        self._attempts: dict[str, Attempt] = {}
        self._outputs: dict[str, str] = {}
        self._stopping: list[asyncio.Task[None]] = []

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    async def view(self, key: RunKey) -> View | None:
        """The run as it is now."""
        jobs: dict[str, tuple[JobFact, ...]] = {}
        for attempt in self._attempts.values():
            jobs[attempt.job.task] = (*jobs.get(attempt.job.task, ()), attempt.job)
        facts = Facts(self.run, self.recorded, jobs, cancel=self.cancelled, native_backoff=False)
        return View(key, facts, self._definition, self.recorded)

    async def load_output(self, view: View, read: LoadOutput) -> Mapping[str, Any] | None:
        """A stored output."""
        return self.output(read.config_map)

    def output(self, config_map: str) -> dict[str, Any] | None:
        """The output that a status refers to by this name."""
        text = self._outputs.get(config_map)
        value = json.loads(text) if text is not None else None
        return value if isinstance(value, dict) else None

    async def read_frame(self, view: View, read: ReadFrame) -> str | None:
        """A framed output from the log of an attempt."""
        attempt = self._attempts[read.pod]
        return find_frame(attempt.log.read_bytes(), read.size, read.sha256)

    async def store_output(self, view: View, store: StoreOutput) -> None:
        """Keep an output."""
        self._outputs[store.config_map] = store.text

    async def start_task(self, view: View, start: StartTask) -> JobFact | Refusal:
        """Start an attempt as a subprocess."""
        folder = self._folder / start.job_name
        (folder / "input").mkdir(parents=True)
        job = JobFact(start.job_name, f"local-{start.job_name}", start.task, start.ordinal, self.now())
        environment = self._environment(start.payload, folder)
        argv = self._argv(start, folder, environment)
        if isinstance(argv, Refusal):
            return argv
        attempt = Attempt(job, folder, argv, environment, start.timeout_seconds, self._observer.line, self._changed)
        self._attempts[start.job_name] = attempt
        await attempt.start()
        return attempt.job

    def _environment(self, payload: Payload, folder: Path) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= self._bindings.environment(payload.env_from)
        environment |= {
            "NEXUS_DIR": str(folder),
            "NEXUS_TERMINATION_LOG": str(folder / "termination-log"),
            "PYTHONPATH": str(self._search_path),
        }
        _hand_over("NEXUS_CONTEXT_JSON", folder / "context.json", payload.context_json, environment)
        if payload.task_json is not None:
            _hand_over("NEXUS_TASK_JSON", folder / "task.json", payload.task_json, environment)
        for task, stored in payload.inputs.items():
            (folder / "input" / f"{task}.json").write_text(self._outputs[stored], encoding="utf-8")
        environment |= payload.variables
        for variable in payload.env:
            if variable.value_from is not None:
                value = self._bindings.value(variable)
                if value is not None:
                    environment[variable.name] = value
            else:
                environment[variable.name] = expand(variable.value or "", environment)
        return environment

    def _argv(self, start: StartTask, folder: Path, environment: dict[str, str]) -> list[str] | Refusal:
        payload = start.payload
        match payload.type:
            case "bash":
                script = payload.script or ""
                if len(script.encode()) > SPILL_LIMIT:
                    (folder / "command").write_text(script, encoding="utf-8")
                    return ["bash", "-c", bootstrap.text("bash"), "nexus"]
                return ["bash", "-c", bootstrap.text("bash"), "nexus", script]
            case "container":
                return _container(start, folder, environment)
            case "python" | "http" | "sql" as kind:
                return [sys.executable, "-c", bootstrap.text(kind)]
        return Refusal(Reason.JOB_REFUSED, f"{payload.type} tasks do not run locally")

    async def write_status(self, view: View, status: WorkflowRunStatus) -> None:
        """Keep the status and show it."""
        self.recorded = status
        self._observer.status(status)

    async def stop_job(self, view: View, stop: StopJob) -> None:
        """Stop an attempt, without waiting for its grace period."""
        self._stopping.append(asyncio.create_task(self._attempts[stop.job_name].stop()))

    async def record(self, view: View, events: tuple[RunEvent, ...]) -> None:
        """Nobody reads Events of a local run; its observer sees the status."""

    async def close(self) -> None:
        """Wait for what is being stopped, and leave no attempt behind."""
        await asyncio.gather(*self._stopping)
        await self.kill()

    async def kill(self) -> None:
        """End every attempt at once, and wait for the last of them."""
        for attempt in self._attempts.values():
            await attempt.stop(now=True)
        await asyncio.gather(*(attempt.ended() for attempt in self._attempts.values()))


def container_runtime() -> str | None:
    """The program that runs containers here, None where there is none."""
    return next((path for name in ("docker", "podman") if (path := shutil.which(name)) is not None), None)


def _hand_over(variable: str, file: Path, text: str, environment: dict[str, str]) -> None:
    """By environment where it is short, by file where it is not: the contract of the bootstraps."""
    if len(text.encode()) > SPILL_LIMIT:
        file.write_text(text, encoding="utf-8")
    else:
        environment[variable] = text


def _container(start: StartTask, folder: Path, environment: dict[str, str]) -> list[str] | Refusal:
    runtime = container_runtime()
    if runtime is None:
        return Refusal(Reason.JOB_REFUSED, "container tasks need docker or podman here, and neither is installed")
    payload = start.payload
    hidden = {*INHERITED, "NEXUS_DIR", "NEXUS_TERMINATION_LOG", "NEXUS_CONTEXT_JSON", "PYTHONPATH"}
    names = [name for name in environment if name not in hidden or any(name == entry.name for entry in payload.env)]
    argv = [runtime, "run", "--rm", "--init", "--network=host", "--user=65532:65532", "--env=HOME=/tmp"]
    argv += [f"--volume={folder / 'termination-log'}:/dev/termination-log"]
    # By name only: a value on the command line could be read by everybody on this machine.
    argv += [f"--env={name}" for name in names]
    command = [expand(text, environment) for text in payload.command or ()]
    arguments = [expand(text, environment) for text in payload.args or ()]
    if command:
        argv += [f"--entrypoint={command[0]}"]
    return [*argv, payload.image or "", *command[1:], *arguments]
