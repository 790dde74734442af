"""`nexus logs`: what the tasks of a run wrote."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nexus.adapters.kube.cache.parse import COMPLETION_INDEX, pod_fact
from nexus.adapters.kube.client.api import PODS, WORKFLOW_RUNS, ApiError, BadRequest, Expired, KubeApi, NotFound, Object
from nexus.adapters.kube.owners import owner_uid
from nexus.api.run import TaskStatus
from nexus.cli import follow
from nexus.cli.cluster import found
from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say
from nexus.cli.words import why
from nexus.core.data.log_lines import LogLines
from nexus.core.names import LABEL_INDEX, LABEL_ITEMS, LABEL_PARENT, LABEL_RUN, LABEL_TASK, label_value
from nexus.core.tasks.identity import Slot, slot_of
from nexus.core.text.similar_names import closest, did_you_mean

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
    """Print the logs of a run's tasks, those of child runs among them, of one task, or of one item of a fan-out; with
    `following`, until the run or the task has ended: that names the child runs, and leaves them to be followed."""
    run = await found(api, WORKFLOW_RUNS, namespace, run_name)
    entries = follow.status_of(run).tasks or ()
    names = [entry.name for entry in entries]
    if task is not None and task not in names:
        close = closest(task, names)
        hint = did_you_mean(close) if close else f"known: {', '.join(names[:10])}" if names else "it has no tasks yet"
        raise UsageError(f'unknown task "{task}" of run {run_name}; {hint}')
    entry = next((entry for entry in entries if entry.name == task), None)
    if item is not None:
        _check_item(run_name, entry, item)
    child = await _child_of(api, run, entry, item) if entry is not None else None
    if child is not None:
        what = f"task {task}" if item is None else f"item {item} of task {task}"
        say(f"{what} is the child run {child}", to=sys.stderr)
        return await print_logs(api, namespace, child, None, following=following, tail=tail)
    prefixed = item is None and (len(names) != 1 if task is None else _is_fan_out(entries, task))
    logs = _Logs(api, namespace, _selector(run_name, task), prefixed=prefixed, tail=tail, item=item)
    children = await _children(api, run, task) if item is None else []
    if following:
        for place, name in children:
            say(f"{place} is the child run {name}: nexus logs {name} -f", to=sys.stderr)
        await logs.follow(run_name, task)
    elif not await logs.print(names) and not children:
        say(_why_none(entry), to=sys.stderr)
    else:
        await _print_children(api, namespace, children, "", tail)
    return Exit.SUCCEEDED


async def _print_children(
    api: KubeApi, namespace: str, children: Sequence[tuple[str, str]], above: str, tail: int | None
) -> None:
    """Print the logs of child runs and of those below them, each line behind the path to its task."""
    for place, name in children:
        path = f"{above}{place}/"
        say(f"{path[:-1]} is the child run {name}", to=sys.stderr)
        try:
            run = await api.get(WORKFLOW_RUNS, namespace, name)
        except NotFound:
            continue  # deleted meanwhile
        logs = _Logs(api, namespace, _selector(name, None), prefixed=True, tail=tail, item=None, above=path)
        await logs.print([entry.name for entry in follow.status_of(run).tasks or ()])
        await _print_children(api, namespace, await _children(api, run, None), path, tail)


async def _children(api: KubeApi, run: Object, task: str | None) -> list[tuple[str, str]]:
    """Return (task, or task[index]; name) of the child runs of a run or of one of its tasks, in the order of the
    tasks."""
    order = {entry.name: place for place, entry in enumerate(follow.status_of(run).tasks or ())}
    found = []
    for slot, child in await _slots(api, run):
        if task in (None, slot.task):
            key = (order[slot.task], slot.index or 0, slot.attempt_number)
            found.append((key, slot.task if slot.index is None else f"{slot.task}[{slot.index}]", child))
    return [(place, child) for _, place, child in sorted(found)]


async def _slots(api: KubeApi, run: Object) -> list[tuple[Slot, str]]:
    """Return the child runs of a run: what each is for, and its name. Others may have its labels."""
    metadata = run["metadata"]
    tasks = [entry.name for entry in follow.status_of(run).tasks or ()]
    listed = await api.list(WORKFLOW_RUNS, metadata["namespace"], f"{LABEL_PARENT}={label_value(metadata['name'])}")
    names = [str(child["metadata"]["name"]) for child in listed if owner_uid(child, "WorkflowRun") == metadata["uid"]]
    slots = [(slot_of(name, metadata["name"], metadata["uid"], tasks), name) for name in names]
    return [(slot, name) for slot, name in slots if slot is not None]


def _why_none(entry: TaskStatus | None) -> str:
    """Return why there is no log: the status knows of a task that never has a pod."""
    if entry is None or entry.attempts or entry.items is not None:
        return "it has no pod: not started yet, or removed since"
    explained = why(entry, attempts=False)
    return f"task {entry.name} has no log, because it had no pod: {entry.phase.value}" + (
        f", {explained}" if explained else ""
    )


async def _child_of(api: KubeApi, run: Object, entry: TaskStatus, item: int | None) -> str | None:
    """Return the name of the child run of a task, or of one item of it, None where it has none."""
    if entry.child_run is not None or item is None:
        return entry.child_run.name if entry.child_run is not None else None
    children = [
        (slot.attempt_number, name)
        for slot, name in await _slots(api, run)
        if (slot.task, slot.index) == (entry.name, item)
    ]
    return max(children)[1] if children else None


def _selector(run: str, task: str | None) -> str:
    return f"{LABEL_RUN}={label_value(run)}" + (f",{LABEL_TASK}={label_value(task)}" if task is not None else "")


def _is_fan_out(entries: Sequence[TaskStatus], task: str) -> bool:
    return any(entry.name == task and entry.items is not None for entry in entries)


def _check_item(run: str, entry: TaskStatus | None, item: int) -> None:
    if entry is None:
        raise UsageError("--item requires a task: nexus logs RUN TASK --item N")
    if entry.items is None:
        never = "never started" if entry.phase.ended else "has not started yet"
        because = "it has no forEach" if entry.start_time is not None else f"it {never} ({entry.phase.value})"
        raise UsageError(f"task {entry.name} of run {run} has no items: {because}")
    if item >= entry.items.total:
        last = entry.items.total - 1
        raise UsageError(f"task {entry.name} of run {run} has {entry.items.total} items; the last one is --item {last}")


class _Logs:
    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        selector: str,
        *,
        prefixed: bool,
        tail: int | None,
        item: int | None,
        above: str = "",
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = selector
        self._prefixed = prefixed
        self._tail = tail
        self._item = item
        self._above = above
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def print(self, order: list[str]) -> bool:
        """Return what is there now: tasks in the order of the definition, attempts in the order of their start. False
        where there is no pod."""
        pods = [pod for pod in await self._api.list(PODS, self._namespace, self._selector) if self._is_wanted(pod)]
        place = {name: index for index, name in enumerate(order)}

        def key(pod: Object) -> tuple[int, int, str]:
            made = str(pod["metadata"]["creationTimestamp"])
            return place.get(_task(pod), len(place)), -1 if (index := _index(pod)) is None else index, made

        for pod in sorted(pods, key=key):
            name, lines = pod["metadata"]["name"], LogLines()
            try:
                async for chunk in self._api.stream_logs(self._namespace, name, tail_lines=self._tail, follow=False):
                    self._show(pod, lines.feed(chunk))
            except (BadRequest, NotFound):
                say(f"{self._above}{_label(pod)}: {_why_silent(pod)}", to=sys.stderr)
                continue
            self._show(pod, lines.end())
        return bool(pods)

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
        chunks = self._api.stream_logs(self._namespace, pod["metadata"]["name"], tail_lines=self._tail)
        try:
            async for chunk in chunks:
                self._show(pod, lines.feed(chunk))
        except ApiError as error:
            say(f"{_label(pod)}: {error}", to=sys.stderr)
        self._show(pod, lines.end())

    def _is_wanted(self, pod: Object) -> bool:
        return self._item is None or self._item == _index(pod)

    def _show(self, pod: Object, lines: list[str]) -> None:
        prefix = f"{self._above}{_label(pod)} | " if self._prefixed else ""
        for line in lines:
            say(f"{prefix}{line}")
        sys.stdout.flush()


def _task(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["labels"][LABEL_TASK])


def _index(pod: Mapping[str, Any]) -> int | None:
    """Return which item of a fan-out it works on."""
    labels = pod["metadata"]["labels"]
    text = labels.get(LABEL_INDEX, labels.get(COMPLETION_INDEX, "") if LABEL_ITEMS in labels else "")
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
