"""Approvals of local runs: answered beforehand with --approve and --reject, or asked on the terminal."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from nexus.api.codes import Code
from nexus.api.run import Approval, Decision, TaskStatus
from nexus.cli.ending import UsageError
from nexus.cli.view import View
from nexus.core.manifest.problem import Problem
from nexus.core.model.definition import Definition
from nexus.core.tasks.child_run import MAX_DEPTH
from nexus.core.text.plain import plain
from nexus.core.text.similar_names import closest, did_you_mean
from nexus.core.validate.calls import reachable

_WORDS = {"y": Decision.APPROVED, "yes": Decision.APPROVED, "n": Decision.REJECTED, "no": Decision.REJECTED}
_LONGEST_COMMENT = 500
# Of workflows that call each other many times over.
_MOST_PATHS = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """An approval task of a child run. `path` is its name behind those of the tasks that make the runs above it."""

    path: str
    workflow: str
    task: str


def below(definition: Definition, workflows: Mapping[str, Definition]) -> list[Asked]:
    """Return the approval tasks of the runs below one: those of `workflows` that it calls, and that they call."""
    specs = {name: workflow.spec for name, workflow in workflows.items()}
    asking = {
        name: workflow
        for name, workflow in workflows.items()
        if any(_approvals(workflows[other]) for other in reachable(name, specs))
    }
    return list(islice(_walk("", definition, asking, MAX_DEPTH), _MOST_PATHS))


def _walk(above: str, definition: Definition, asking: Mapping[str, Definition], depth: int) -> Iterator[Asked]:
    for name, node in definition.nodes.items():
        callee = node.task.workflow.name if node.task.workflow is not None else ""
        if callee in asking and depth > 0:
            path, called = f"{above}{name}/", asking[callee]
            yield from (Asked(path + own, callee, own) for own in _approvals(called))
            yield from _walk(path, called, asking, depth - 1)


def _approvals(definition: Definition) -> list[str]:
    return [name for name, node in definition.nodes.items() if node.record.asks_person]


def beforehand(
    definition: Definition, workflows: Mapping[str, Definition], approve: Sequence[str], reject: Sequence[str]
) -> dict[str, Approval]:
    """Return the answers that the command line gives, by the paths of the tasks. Raises Refused."""
    own = _approvals(definition)
    paths = [asked.path for asked in below(definition, workflows)]
    waiting = [*own, *paths]
    problems = []
    given: Mapping[str, tuple[Decision, Sequence[str]]] = {
        "--approve": (Decision.APPROVED, approve),
        "--reject": (Decision.REJECTED, reject),
    }
    for flag, (_, names) in given.items():
        problems += [
            f"{flag} {name}: {_not_waiting(name, own, paths, definition)}" for name in names if name not in waiting
        ]
    problems += [
        f"--approve {name} and --reject {name} exclude each other; keep one of them"
        for name in approve
        if name in reject
    ]
    if problems:
        raise UsageError(*problems)
    return {
        name: Approval(task=name.rpartition("/")[2], decision=decision, by=user(), time=datetime.now(UTC))
        for decision, names in given.values()
        for name in names
    }


def _not_waiting(name: str, own: Sequence[str], paths: Sequence[str], definition: Definition) -> str:
    waiting = [*own, *paths]
    if name in definition.nodes:
        known = f"; approval tasks: {', '.join(waiting[:10])}" if waiting else ""
        return f"not an approval task{known}"
    ends = [path for path in paths if path.endswith(f"/{name}")]
    close = ends or closest(name, waiting or definition.nodes)
    hint = did_you_mean(close) if close else f"known: {', '.join(definition.nodes)}"
    return f"unknown task; {hint}"


def unanswered(definition: Definition, approvals: Sequence[Approval]) -> list[Problem]:
    """Return the approval tasks that no option answers, if there is no terminal."""
    answered = {approval.task for approval in approvals}
    return [_nobody(definition, name, name) for name in _approvals(definition) if name not in answered]


def unanswered_below(
    definition: Definition, workflows: Mapping[str, Definition], answered: Collection[str]
) -> list[tuple[str, Problem]]:
    """Return the same of child runs, each with the Workflow that it is in; `answered` are paths."""
    return [
        (asked.workflow, _nobody(workflows[asked.workflow], asked.task, asked.path))
        for asked in below(definition, workflows)
        if asked.path not in answered
    ]


def _nobody(definition: Definition, name: str, path: str) -> Problem:
    place = next(place for place, task in definition.spec.every_task() if task.name == name)
    words = "approval required, and no terminal to ask on; "
    return Problem(
        (*place, "approval"), Code.UNANSWERED_APPROVAL, f"{words}answer with --approve {path} or --reject {path}", name
    )


def user() -> str:
    """Return the name of the local user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


@dataclass
class Terminal:
    """Asks on a terminal, without a thread: one that waits for input could not be stopped by Ctrl-C."""

    view: View
    descriptor: int
    _typed: bytes = b""

    async def __call__(self, task: TaskStatus) -> Approval:
        """Put the question of a task."""
        with self.view.paused():
            asks = (task.approval.message if task.approval else None) or "approve it?"
            decision = None
            while decision is None:
                self.view.prompt(f"{task.name}: {plain(asks)} [y/n] ")
                answer = await self._line()
                if answer is None:
                    return self._approval(task, Decision.REJECTED, "no answer: end of input")
                decision = _WORDS.get(answer.lower())
            self.view.prompt(f"{task.name}: comment (may be empty): ")
            comment = await self._line()
            return self._approval(task, decision, comment or "")

    def _approval(self, task: TaskStatus, decision: Decision, comment: str) -> Approval:
        cut = comment[:_LONGEST_COMMENT] or None
        return Approval(task=task.name, decision=decision, by=user(), comment=cut, time=datetime.now(UTC))

    async def _line(self) -> str | None:
        """Return the next line without blanks around it, None at the end of the input."""
        while b"\n" not in self._typed:
            typed = await self._read()
            if not typed:
                return None
            self._typed += typed
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace").strip()

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self.descriptor, ready.set)
        try:
            await ready.wait()
            return os.read(self.descriptor, 4_096)
        finally:
            loop.remove_reader(self.descriptor)
