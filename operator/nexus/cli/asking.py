"""Approvals of local runs: answered beforehand with --approve and --reject, or asked on the terminal."""

from __future__ import annotations

import asyncio
import difflib
import getpass
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nexus.api.run import Approval, Decision, TaskStatus
from nexus.cli.ending import Refused
from nexus.cli.view import View
from nexus.cli.words import plain
from nexus.core.approval import question
from nexus.core.definition import Definition
from nexus.core.problem import Problem

_WORDS = {"y": Decision.APPROVED, "yes": Decision.APPROVED, "n": Decision.REJECTED, "no": Decision.REJECTED}
_LONGEST_COMMENT = 500


def beforehand(definition: Definition, approve: Sequence[str], reject: Sequence[str]) -> tuple[Approval, ...]:
    """The answers that the command line gives. Raises Refused."""
    waiting = [name for name, node in definition.nodes.items() if node.type == "approval"]
    problems = []
    given: Mapping[str, tuple[Decision, Sequence[str]]] = {
        "--approve": (Decision.APPROVED, approve),
        "--reject": (Decision.REJECTED, reject),
    }
    for flag, (_, names) in given.items():
        problems += [
            f"{flag} {name}: {_not_waiting(name, waiting, definition)}" for name in names if name not in waiting
        ]
    problems += [f"--approve {name}: and --reject {name}, give one of them" for name in approve if name in reject]
    if problems:
        raise Refused(*problems)
    return tuple(
        Approval(task=name, decision=decision, by=user(), time=datetime.now(UTC))
        for decision, names in given.values()
        for name in dict.fromkeys(names)
    )


def _not_waiting(name: str, waiting: Sequence[str], definition: Definition) -> str:
    if name in definition.nodes:
        known = f": those that do are {', '.join(waiting)}" if waiting else ""
        return f"the task waits for no approval{known}"
    close = difflib.get_close_matches(name, waiting or definition.nodes, n=1)
    return f"there is no such task: {f'did you mean {close[0]}?' if close else 'it has ' + ', '.join(definition.nodes)}"


def unanswered(definition: Definition, approvals: Sequence[Approval], *, child: bool) -> list[Problem]:
    """The approval tasks that nobody will answer where there is no terminal; those of a `child` run have no flags."""
    answered = {approval.task for approval in approvals}
    places = {task.name: place for place, task in definition.spec.every_task()}
    words = "a person is asked for approval, and there is no terminal to ask on: "
    words += "start it on one" if child else "answer with --approve {0} or --reject {0}"
    return [
        Problem((*places[name], "approval"), words.format(name), name)
        for name, node in definition.nodes.items()
        if node.type == "approval" and name not in answered
    ]


def user() -> str:
    """Who sits here."""
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
            asks = question(task.message or "") or "approve it?"
            decision = None
            while decision is None:
                self.view.prompt(f"{task.name}: {plain(asks)} [y/n] ")
                answer = await self._line()
                if answer is None:
                    return self._approval(task, Decision.REJECTED, "no answer: the input ended")
                decision = _WORDS.get(answer.lower())
            self.view.prompt(f"{task.name}: comment (may be empty): ")
            comment = await self._line()
            return self._approval(task, decision, comment or "")

    def _approval(self, task: TaskStatus, decision: Decision, comment: str) -> Approval:
        cut = comment[:_LONGEST_COMMENT] or None
        return Approval(task=task.name, decision=decision, by=user(), comment=cut, time=datetime.now(UTC))

    async def _line(self) -> str | None:
        """The next line without blanks around it, None at the end of the input."""
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
