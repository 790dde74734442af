"""LocalBackend: one run on this machine. The port `Backend` of the loop, with subprocesses for Jobs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from nexus import bootstrap
from nexus.adapters.local.attempt import Attempt, Command
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.child_runs import Below, ChildRuns
from nexus.adapters.local.expansion import expand
from nexus.adapters.local.family import Family
from nexus.adapters.local.fork_server import ForkServer
from nexus.adapters.local.observer import Observer
from nexus.adapters.local.transfer import LOCAL_STORE, mounted, task_variables, wrapped
from nexus.api.reasons import Reason
from nexus.api.run import Cancel, WorkflowRunStatus
from nexus.core.data.log_lines import TAIL_READ, tail
from nexus.core.data.outputs import find_frame
from nexus.core.model.definition import Definition, Node
from nexus.core.model.facts import Checkpoint, ChildFact, Earlier, Facts, JobFact, RunFact, SlotGrant
from nexus.core.model.plan import (
    AskSlot,
    CancelRun,
    ListPods,
    LoadItems,
    LoadOutput,
    Payload,
    RaiseParallelism,
    ReadFrame,
    ReadLog,
    ReturnSlot,
    RunEvent,
    StartChild,
    StartTask,
    StopJob,
    StoreItems,
    StoreOutput,
)
from nexus.core.model.refusal import Refusal
from nexus.core.pods.policy import PodPolicy
from nexus.core.task_types import TYPES
from nexus.core.task_types.record import Bootstrap
from nexus.core.tasks.payload import SPILL_LIMIT
from nexus.core.text.sha256 import sha256
from nexus.runtime.ports import Refused, RunKey, Stale, StartRejected, View

# As in a pod, a task sees nothing of the environment it is started from, but what a program needs to work here.
INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    "DOCKER_HOST",
)
_UTF8 = {"PYTHONUTF8": "1"}


class LocalBackend:
    """One run, its status in memory, its attempts as subprocesses in folders below `folder`.

    `search_path` is the manifest's folder: `call` finds its modules there. `changed` is called when there is
    something new to decide.
    """

    def __init__(
        self,
        run: RunFact,
        definition: Definition | StartRejected,
        bindings: Bindings,
        folder: Path,
        search_path: Path,
        observer: Observer,
        changed: Callable[[], None],
        family: Family,
        path: str = "",
    ) -> None:
        self.run = run
        self.key = RunKey(run.namespace, run.name)
        self.recorded: WorkflowRunStatus | None = None
        self.earlier: Earlier | None = None
        """The run that this one reruns."""
        self._definition = definition
        self._bindings = bindings
        self._folder = folder
        self._search_path = search_path
        self._observer = observer
        self._changed = changed
        self._attempts: dict[str, Attempt] = {}
        self._family = family
        self.children = ChildRuns(family, self._child, changed)
        self._stopping: list[asyncio.Task[None]] = []
        self._now = datetime.now(UTC)
        self._path = path

    def _child(
        self, run: RunFact, definition: Definition | StartRejected, task: str, changed: Callable[[], None]
    ) -> LocalBackend:
        observer = Below(self._observer, task, self._changed)
        name, _, _ = task.partition("[")  # an answer is for all items of a fan-out
        path = f"{self._path}/{name}".removeprefix("/")
        run = replace(run, approvals=self._family.answered(path))
        return LocalBackend(
            run, definition, self._bindings, self._folder, self._search_path, observer, changed, self._family, path
        )

    def now(self) -> datetime:
        """Return the wall clock as of the last `view`.

        All that one look at the run decides happens at one time: a task starts after the end that let it start.
        """
        return self._now

    def steered(self, view: View) -> bool:
        """Return False: no other client is heard while a run here decides."""
        return False

    async def view(self, key: RunKey) -> View | None:
        """Return the run as it is now."""
        self._now = datetime.now(UTC)
        self._family.pools.leave(name for name, attempt in self._attempts.items() if attempt.over)
        return self.glance(key)

    def glance(self, key: RunKey) -> View:
        """Return the run as it was at the last `view`."""
        by_task: dict[str, list[JobFact]] = {}
        for attempt in self._attempts.values():
            by_task.setdefault(attempt.job.task, []).append(attempt.job)
        jobs = {task: tuple(found) for task, found in by_task.items()}
        # `pod` asks nothing of a subprocess, so there is nothing to refuse either.
        policy = PodPolicy(baseline=True)
        facts = Facts(
            *(self.run, self.recorded, jobs, self.children.facts()),
            pod_policy=policy,
            vouched=self.children.uids(),
            output_store=LOCAL_STORE,
            native_backoff=False,
        )
        if self.recorded is None:
            facts = replace(facts, earlier=self.earlier)
        return View(key, facts, self._definition, self.recorded)

    async def find_job(self, view: View, name: str) -> JobFact | None:
        """Return an attempt."""
        return self._attempts[name].job if name in self._attempts else None

    async def load_output(self, view: View, read: LoadOutput) -> Mapping[str, Any] | None:
        """Return a stored output."""
        return self.output(read.config_map)

    async def load_items(self, view: View, read: LoadItems) -> Checkpoint | None:
        """Return the stored outputs of a fan-out's items."""
        stored = self.output(read.config_map)
        if stored is None:
            return None
        return Checkpoint(stored["items"], "", sha256(self._family.outputs[read.config_map]))

    async def list_pods(self, view: View, read: ListPods) -> JobFact | None:
        """Return an attempt: all that is known of it is known already."""
        jobs = (attempt.job for attempt in self._attempts.values())
        return next((job for job in jobs if job.uid == read.job_uid), None)

    def output(self, config_map: str) -> dict[str, Any] | None:
        """Return the output that a status refers to by this name."""
        text = self._family.outputs.get(config_map)
        value = json.loads(text) if text is not None else None
        return value if isinstance(value, dict) else None

    async def read_frame(self, view: View, read: ReadFrame) -> str | None:
        """Return a framed output from the log of an attempt."""
        attempt = self._attempts[read.pod]
        return find_frame(attempt.tail(), read.size, read.sha256)

    async def read_log(self, view: View, read: ReadLog) -> str | None:
        """Return the last lines of an attempt's log."""
        return tail(self._attempts[read.pod].tail(TAIL_READ), read.lines)

    async def ask_slot(self, view: View, ask: AskSlot) -> SlotGrant:
        """Queue for a slot of a pool."""
        return self._family.pools.ask(self.run.name, ask.slot, self._changed)

    async def return_slot(self, view: View, slot: ReturnSlot) -> None:
        """Give a slot back."""
        self._family.pools.leave([slot.slot.job_name])

    async def store_output(self, view: View, store: StoreOutput) -> None:
        """Keep an output."""
        self._family.outputs[store.config_map] = store.text

    async def store_items(self, view: View, store: StoreItems) -> None:
        """Keep the outputs of a fan-out's items."""
        self._family.outputs[store.config_map] = store.text

    async def raise_parallelism(self, view: View, change: RaiseParallelism) -> JobFact:
        """Refuse: every item is a process of its own here, there is no Job of many pods."""
        raise Stale(f"{change.job_name} is not an Indexed Job")

    async def start_task(self, view: View, start: StartTask) -> JobFact:
        """Start an attempt as a subprocess."""
        folder = self._folder / start.job_name
        (folder / "input").mkdir(parents=True)
        try:
            command = self._command(start, folder)
        except UnicodeEncodeError as error:
            words = f"a value has a character that is not valid in UTF-8: {error.reason}"
            raise Refused(Refusal(Reason.JOB_REFUSED, words)) from error
        if isinstance(command, Refusal):
            raise Refused(command)
        job = JobFact(
            start.job_name,
            f"local-{start.job_name}",
            start.task,
            start.attempt_number,
            datetime.now(UTC),
            index=start.index,
        )
        attempt = Attempt(job, folder, command, start.timeout_seconds, self._observer.line, self._changed)
        self._attempts[start.job_name] = attempt
        await attempt.start()
        return attempt.job

    def _command(self, start: StartTask, folder: Path) -> Command | Refusal:
        payload = start.payload
        inherited = _inherited()
        own = self._variables(payload, folder)
        script = TYPES[payload.type].bootstrap
        if script is None:
            return self._moved(_container(start, folder, inherited, own), payload, folder)
        # Python in a pod has the locale C, in which it speaks UTF-8; that of this machine may be another.
        spoken = _UTF8 if script.interpreter == "python3" else {}
        environment = {**inherited, **spoken, **own, **self._contract(payload, folder)}
        return self._moved(self._process(script, payload, folder, environment, own), payload, folder)

    def _moved(self, command: Command | Refusal, payload: Payload, folder: Path) -> Command | Refusal:
        """Return the command with the transfer around it, where the task takes or leaves something."""
        if payload.transfer is None or isinstance(command, Refusal):
            return command
        return wrapped(command, payload.transfer, folder, self._family.store)

    def _process(
        self,
        script: Bootstrap,
        payload: Payload,
        folder: Path,
        environment: dict[str, str],
        own: Mapping[str, str],
    ) -> Command:
        text = bootstrap.text(script.name)
        if script.interpreter == "bash":
            return Command(_bash(text, payload.script or "", folder), environment)
        quicker = None
        if script.runs_python:
            # The manifest's folder, where `call` finds its functions.
            path = os.pathsep.join(filter(None, (str(self._search_path), own.get("PYTHONPATH"))))
            environment["PYTHONPATH"] = path
            server = self._family.fork_server
            quicker = partial(server.start, folder, environment, own) if server is not None else None
        return Command([sys.executable, "-c", text], environment, start=quicker)

    def _contract(self, payload: Payload, folder: Path) -> dict[str, str]:
        """Return what the bootstraps are handed, by variable or by file."""
        variables = {"NEXUS_DIR": str(folder), "NEXUS_TERMINATION_LOG": str(folder / "termination-log")}
        _hand_over("NEXUS_CONTEXT_JSON", folder / "context.json", payload.context_json, variables)
        if payload.task_json is not None:
            _hand_over("NEXUS_TASK_JSON", folder / "task.json", payload.task_json, variables)
        for task, stored in payload.inputs.items():
            (folder / "input" / f"{task}.json").write_text(self._family.outputs[stored.config_map], encoding="utf-8")
        return variables

    def _variables(self, payload: Payload, folder: Path) -> dict[str, str]:
        """Return the container's own variables, the only ones that `$(NAME)` sees: not what the image, here this
        machine, has (kubelet, makeEnvironmentVariables)."""
        variables = self._bindings.environment(payload.env_from)
        if payload.transfer is not None:
            variables |= task_variables(payload, folder)
        variables |= payload.variables
        for variable in payload.env:
            if variable.value_from is not None:
                value = self._bindings.value(variable)
                if value is not None:
                    variables[variable.name] = value
            else:
                variables[variable.name] = expand(variable.value or "", variables)
        return variables

    async def write_status(self, view: View, status: WorkflowRunStatus) -> None:
        """Keep the status and show it."""
        self.recorded = status
        self._observer.status(status)

    async def tell_ended(self, view: View, refused: Sequence[Refusal]) -> None:
        """Nothing is refused here after the end of a run."""

    async def stop_job(self, view: View, stop: StopJob) -> None:
        """Stop an attempt, without waiting for its grace period."""
        self._stopping.append(asyncio.create_task(self._attempts[stop.job_name].stop()))

    async def start_child(self, view: View, start: StartChild) -> ChildFact:
        """Start a child run."""
        return self.children.start(start, self.run)

    def vouch(self, view: View, children: Iterable[str]) -> None:
        """Do nothing: only this process makes child runs here."""

    async def cancel_run(self, view: View, cancel: CancelRun) -> None:
        """Have a child run cancelled."""
        self.children.cancel(cancel)

    def cancel(self, mode: Cancel) -> None:
        """Have this run cancelled."""
        self.run = replace(self.run, cancel=mode)
        self._changed()

    async def record(self, view: View, events: tuple[RunEvent, ...]) -> None:
        """Do nothing: Events of a local run have no reader; its observer sees the status."""

    async def close(self) -> None:
        """Wait for what is being stopped, and leave no attempt behind."""
        await asyncio.gather(*self._stopping)
        await self.children.close()
        await self.kill()

    async def kill(self) -> None:
        """End every attempt at once, those of child runs too, and wait for the last of them."""
        await self.children.kill()
        for attempt in self._attempts.values():
            await attempt.stop(now=True)
        await asyncio.gather(*(attempt.ended() for attempt in self._attempts.values()))


def _runs_python(node: Node) -> bool:
    return node.record.bootstrap is not None and node.record.bootstrap.runs_python


def fork_server(folder: Path, search_path: Path, definitions: Iterable[Definition]) -> ForkServer | None:
    """Return a server for the python tasks of these definitions, None where they have none."""
    if any(_runs_python(node) for definition in definitions for node in definition.nodes.values()):
        return ForkServer(folder, {**_inherited(), **_UTF8, "PYTHONPATH": str(search_path)})
    return None


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def container_runtime() -> str | None:
    """Return the program that runs containers here, None where there is none."""
    return next((path for name in ("docker", "podman") if (path := shutil.which(name)) is not None), None)


def _hand_over(variable: str, file: Path, text: str, environment: dict[str, str]) -> None:
    """By environment where it is short, by file where it is not: the contract of the bootstraps."""
    if len(text.encode()) > SPILL_LIMIT:
        file.write_text(text, encoding="utf-8")
    else:
        environment[variable] = text


def _bash(bootstrap_script: str, script: str, folder: Path) -> list[str]:
    argv = ["bash", "-c", bootstrap_script, "nexus"]
    if len(script.encode()) > SPILL_LIMIT:
        (folder / "command").write_text(script, encoding="utf-8")
        return argv
    return [*argv, script]


def _container(
    start: StartTask, folder: Path, inherited: Mapping[str, str], own: Mapping[str, str]
) -> Command | Refusal:
    """Return a container as near to its pod as the runtime can: the same user, the same variables, the same message
    file."""
    runtime = container_runtime()
    if runtime is None:
        return Refusal(
            Reason.JOB_REFUSED, "container tasks require docker or podman on this machine, and neither is installed"
        )
    payload = start.payload
    # On the host's network, so that what listens on this machine is reached by the address that all tasks use.
    argv = [runtime, "run", "--rm", "--init", f"--name={start.job_name}", "--network=host", "--user=65532:65532"]
    argv += ["--env=HOME=/tmp", f"--volume={folder / 'termination-log'}:/dev/termination-log"]
    argv += mounted(payload, folder)
    for name, value in own.items():
        # By name only, the runtime has the value in its environment: on its command line everybody here could read
        # it. What the runtime itself goes by (PATH, HOME, DOCKER_HOST) must not change under it.
        argv.append(f"--env={name}={value}" if name in INHERITED or name.startswith("DOCKER_") else f"--env={name}")
    command = [expand(text, own) for text in payload.command or ()]
    arguments = [expand(text, own) for text in payload.args or ()]
    if command:
        argv.append(f"--entrypoint={command[0]}")
    argv += [payload.image or "", *command[1:], *arguments]
    return Command(argv, {**own, **inherited}, removal=[runtime, "rm", "--force", start.job_name])
