"""`nexus logs`: what the tasks of a run wrote."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nexus.adapters.kube.api import PODS, WORKFLOW_RUNS, ApiError, BadRequest, Expired, KubeApi, NotFound, Object
from nexus.adapters.kube.observe import COMPLETION_INDEX, owner_uid, pod_fact
from nexus.api.run import TaskStatus
from nexus.cli import follow
from nexus.cli.cluster import found
from nexus.cli.ending import Exit, Refused
from nexus.core.log_lines import LogLines
from nexus.core.names import LABEL_INDEX, LABEL_ORDINAL, LABEL_PARENT, LABEL_RUN, LABEL_TASK, label_value

# Once the run has ended, its containers have too: what their logs still hold comes at once.
_LAST_LINES_SECONDS = 10.0
_PAUSE = 1.0


async def print_logs(
    api: KubeApi,
    namespace: str,
    run_name: str,
    task: str | None,
    *,
    following: bool,
    tail: int | None,
    item: int | None = None,
) -> Exit:
    """Print the logs of a run's tasks, of one, or of one item of a fan-out; with `following`, until the run or the
    task has ended. The logs of a task with a child run are those of the child."""
    run = await found(api, WORKFLOW_RUNS, namespace, run_name)
    entries = follow.status_of(run).tasks or ()
    names = [entry.name for entry in entries]
    if task is not None and task not in names:
        close = difflib.get_close_matches(task, names, n=1)
        hint = (
            f"did you mean {close[0]}?"
            if close
            else f"tasks are {', '.join(names[:10])}"
            if names
            else "it has none yet"
        )
        raise Refused(f"run {run_name} has no task {task}: {hint}")
    entry = next((entry for entry in entries if entry.name == task), None)
    if item is not None:
        _check_item(run_name, entry, item)
    child = await _child_of(api, run, entry, item) if entry is not None else None
    if child is not None:
        print(f"task {task} is the child run {child}", file=sys.stderr)
        return await print_logs(api, namespace, child, None, following=following, tail=tail)
    prefixed = item is None and (len(names) != 1 if task is None else _is_fan_out(entries, task))
    logs = _Logs(api, namespace, _selector(run_name, task), prefixed=prefixed, tail=tail, item=item)
    if following:
        await logs.follow(run_name, task)
    else:
        await logs.print(names)
    return Exit.SUCCEEDED


async def _child_of(api: KubeApi, run: Object, entry: TaskStatus, item: int | None) -> str | None:
    """Name of the child run of a task, or of one item of it, None where it has none."""
    if entry.child_run is not None or item is None:
        return entry.child_run.name if entry.child_run is not None else None
    metadata = run["metadata"]
    labels = f"{LABEL_PARENT}={label_value(metadata['name'])},{LABEL_TASK}={entry.name},{LABEL_INDEX}={item}"
    children = [
        child
        for child in await api.list(WORKFLOW_RUNS, metadata["namespace"], labels)
        if owner_uid(child, "WorkflowRun") == metadata["uid"]
    ]
    last = max(children, key=lambda child: int(child["metadata"]["labels"][LABEL_ORDINAL]), default=None)
    return str(last["metadata"]["name"]) if last is not None else None


def _selector(run: str, task: str | None) -> str:
    return f"{LABEL_RUN}={label_value(run)}" + (f",{LABEL_TASK}={label_value(task)}" if task is not None else "")


def _is_fan_out(entries: Sequence[TaskStatus], task: str) -> bool:
    return any(entry.name == task and entry.items is not None for entry in entries)


def _check_item(run: str, entry: TaskStatus | None, item: int) -> None:
    if entry is None:
        raise Refused("--item wants the task too: nexus logs RUN TASK --item N")
    if entry.items is None:
        raise Refused(f"task {entry.name} of run {run} has no items: it has no forEach, or has not started yet")
    if item >= entry.items.total:
        last = entry.items.total - 1
        raise Refused(f"task {entry.name} of run {run} has {entry.items.total} items: the last one is --item {last}")


class _Logs:
    def __init__(
        self, api: KubeApi, namespace: str, selector: str, *, prefixed: bool, tail: int | None, item: int | None
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = selector
        self._prefixed = prefixed
        self._tail = tail
        self._item = item
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def print(self, order: list[str]) -> None:
        """What is there now: tasks in the order of the definition, attempts in the order of their start."""
        pods = [pod for pod in await self._api.list(PODS, self._namespace, self._selector) if self._is_wanted(pod)]
        place = {name: index for index, name in enumerate(order)}

        def key(pod: Object) -> tuple[int, int, str]:
            made = str(pod["metadata"]["creationTimestamp"])
            return place.get(_task(pod), len(place)), -1 if (index := _index(pod)) is None else index, made

        if not pods:
            print("no pod of it is there: not started yet, or removed since", file=sys.stderr)
        for pod in sorted(pods, key=key):
            name, lines = pod["metadata"]["name"], LogLines()
            try:
                text = await self._api.logs(self._namespace, name, tail_lines=self._tail)
            except (BadRequest, NotFound):
                print(f"{_label(pod)}: {_why_silent(pod)}", file=sys.stderr)
                continue
            self._show(pod, [*lines.feed(text), *lines.end()])

    async def follow(self, run: str, task: str | None) -> None:
        """Follow every pod from its start, those too that are made later."""
        watching = asyncio.create_task(self._watch_pods())
        try:
            async for state in follow.states(self._api, self._namespace, run):
                if watching.done():
                    watching.result()
                if task is not None and _has_ended(state, task):
                    break
            for pod in await self._api.list(PODS, self._namespace, self._selector):
                self._start(pod)
            if self._followed:
                await asyncio.wait(self._followed.values(), timeout=_LAST_LINES_SECONDS)
        finally:
            watching.cancel()
            for following in self._followed.values():
                following.cancel()
            await asyncio.gather(watching, *self._followed.values(), return_exceptions=True)

    async def _watch_pods(self) -> None:
        while True:
            pods = await self._api.list(PODS, self._namespace, self._selector)
            for pod in pods:
                self._start(pod)
            try:
                async for event in self._api.watch(PODS, self._namespace, self._selector, pods.resource_version):
                    if event.type != "DELETED":
                        self._start(event.object)
            except Expired:
                continue
            except ApiError:
                await asyncio.sleep(_PAUSE)

    def _start(self, pod: Object) -> None:
        """Follow a pod whose container has started, once."""
        fact = pod_fact(pod)
        if self._is_wanted(pod) and fact.uid not in self._followed and (fact.running or fact.terminated is not None):
            self._followed[fact.uid] = asyncio.create_task(self._follow_pod(pod))

    async def _follow_pod(self, pod: Object) -> None:
        lines = LogLines()
        chunks = self._api.follow_logs(self._namespace, pod["metadata"]["name"], tail_lines=self._tail)
        try:
            async for chunk in chunks:
                self._show(pod, lines.feed(chunk))
        except ApiError as error:
            print(f"{_label(pod)}: {error}", file=sys.stderr)
        self._show(pod, lines.end())

    def _is_wanted(self, pod: Object) -> bool:
        return self._item is None or self._item == _index(pod)

    def _show(self, pod: Object, lines: list[str]) -> None:
        prefix = f"{_label(pod)} | " if self._prefixed else ""
        for line in lines:
            print(f"{prefix}{line}")
        sys.stdout.flush()


def _task(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["labels"][LABEL_TASK])


def _index(pod: Mapping[str, Any]) -> int | None:
    """Which item of a fan-out it works on."""
    labels = pod["metadata"]["labels"]
    text = labels.get(LABEL_INDEX, labels.get(COMPLETION_INDEX, ""))
    return int(text) if text.isdecimal() else None


def _label(pod: Mapping[str, Any]) -> str:
    index = _index(pod)
    return _task(pod) if index is None else f"{_task(pod)}[{index}]"


def _has_ended(run: Object, task: str) -> bool:
    tasks = follow.status_of(run).tasks or ()
    return any(entry.name == task and entry.phase.ended for entry in tasks)


def _why_silent(pod: Object) -> str:
    fact = pod_fact(pod)
    why = fact.unschedulable or fact.waiting_message or fact.waiting_reason
    return f"its container has not started{': ' + why if why else ''}"
