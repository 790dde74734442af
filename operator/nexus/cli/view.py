"""Views of a run under way: a live one for terminals, plain lines for everything else.

Both are observers of a local run (nexus.adapters.local.observer.Observer); a watch of the cluster tells them the same.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Self, cast

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.cli.terminal import Lasting, say
from nexus.cli.words import RUN_STYLES, STYLES, SYMBOLS, clock, is_news, seconds_of, seconds_text, why
from nexus.core.model.graph import levels
from nexus.core.text.plain import coloured, plain

WIDEST = 40
"""Characters of the longest name that columns are made for."""
_DEEPEST = 8
_ITEM = re.compile(r"\[\d+\]$")
_REFRESHES_PER_SECOND = 8


class View:
    """Shows a run. Use it as a context manager: leaving it takes a live picture off the terminal."""

    def __init__(self, title: str, stream: IO[str]) -> None:
        self.title = title
        self.stream = stream
        self.current = WorkflowRunStatus()
        self.children: dict[str, WorkflowRunStatus] = {}
        self.tasks: dict[str, TaskStatus] = {}
        self.asks_here = False
        """Whether approvals are asked for on this terminal: then no command decides about them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take down."""

    def status(self, status: WorkflowRunStatus) -> None:
        """Show a change of the status."""
        self.current = status
        self._show()

    def child(self, path: str, status: WorkflowRunStatus) -> None:
        """Show a change of the status of a child run; `path` is the task that made it, behind those above it."""
        self.children[path] = status
        self._show()

    def _show(self) -> None:
        before, self.tasks = self.tasks, {task.name: task for task in self._tasks("", self.current)}
        self.changed([task for name, task in self.tasks.items() if is_news(before.get(name), task)])

    def _tasks(self, above: str, status: WorkflowRunStatus) -> Iterator[TaskStatus]:
        """Yield each task, and below one with a child run those of that, with the path to them in their names."""
        for task in status.tasks or ():
            path = above + task.name
            update: dict[str, Any] = {"name": path} if above else {}
            if self.asks_here and task.reason is Reason.AWAITING_APPROVAL:
                update["message"] = task.approval.message if task.approval else None
            yield task.model_copy(update=update) if update else task
            for below in (path, *(f"{path}[{index}]" for index in range(task.items.total if task.items else 0))):
                if below in self.children:
                    yield from self._tasks(f"{below}/", self.children[below])

    def changed(self, news: list[TaskStatus]) -> None:
        """Show `current`; `news` are the tasks that changed in a way worth telling."""
        raise NotImplementedError

    def line(self, task: str, line: str) -> None:
        """Show a line that a task wrote."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Something to say about the run as a whole."""
        raise NotImplementedError

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves room for a question: no live picture meanwhile."""
        yield

    def prompt(self, text: str) -> None:
        """Ask something, at the end of which the user types."""
        say(text, to=self.stream, end="", flush=True)

    def hint(self, text: str) -> None:
        """Print advice to the user on standard error, which is not part of the view."""
        say(text, to=sys.stderr, flush=True)


class PlainView(View):
    """One line for each thing that happens."""

    def __init__(self, title: str, stream: IO[str], width: int) -> None:
        super().__init__(title, stream)
        self._width = width
        self._held: dict[str, list[str]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show what was held back."""
        for task in list(self._held):
            self._release(task)

    def changed(self, news: list[TaskStatus]) -> None:
        """See View."""
        # Those of child runs appear only when these begin.
        self._width = max(self._width, min(max((len(task.name) for task in news), default=0), WIDEST))
        for task in news:
            seconds = seconds_text(seconds_of(task, datetime.now(UTC))) if task.phase.ended else ""
            parts = [f"{task.name:{self._width}}", f"{task.phase.value:9}", f"{seconds:>6}", why(task)]
            self.note("  ".join(parts).rstrip())
            self._release(task.name)

    def line(self, task: str, line: str) -> None:
        """See View. A task may write before its status says that it runs: that is held back until then."""
        name = _ITEM.sub("", task)
        shown = f"{task:{self._width}} | {plain(line)}".rstrip()
        if name in self.tasks and self.tasks[name].phase is TaskPhase.PENDING:
            self._held.setdefault(name, []).append(shown)
        else:
            self.note(shown)

    def _release(self, task: str) -> None:
        for line in self._held.pop(task, ()):
            self.note(line)

    def note(self, text: str) -> None:
        """See View."""
        say(f"{clock()} {text}", to=self.stream, flush=True)


class LiveView(View):
    """The DAG in its current state, redrawn in place, with the tasks' lines scrolling above it."""

    def __init__(self, title: str, stream: IO[str], levels: Mapping[str, int]) -> None:
        super().__init__(title, stream)
        from rich.console import Console
        from rich.live import Live

        self._levels = levels
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the live picture down and leave the last one."""
        self._live.stop()
        self._console.print(self._picture(whole=True))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See View."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def changed(self, news: list[TaskStatus]) -> None:
        """See View."""
        if news:
            self._live.refresh()

    def line(self, task: str, line: str) -> None:
        """See View."""
        from rich.text import Text

        # from_ansi keeps colours and drops everything that would move the cursor out from under the picture.
        self._console.print(Text.assemble((f"{task} ", "dim"), Text.from_ansi(coloured(line))), soft_wrap=True)

    def note(self, text: str) -> None:
        """See View."""
        self._console.print(plain(text), style="yellow", markup=False)

    def hint(self, text: str) -> None:
        """See View. Where both are the same terminal, it has to scroll above the picture with everything else."""
        if sys.stderr.isatty():
            self.note(text)
        else:
            super().hint(text)

    def _picture(self, *, whole: bool = False) -> Any:
        """Return the tasks, a line each; with `whole`, all of them, and why in as many lines as it takes."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = []
        tasks = list(self.tasks.values())
        room = max(self._console.size.height - 4, 5)
        shown = tasks if whole or len(tasks) <= room else _most_telling(tasks, room - 1)
        for task in shown:
            top, *children = task.name.split("/")
            indent = "  " * min(self._levels.get(top, 0) + len(children), _DEEPEST)
            name = Text.assemble(indent, (f"{self._symbol(task.phase)} {task.name}", STYLES[task.phase]))
            rows.append((name, Text(seconds_text(seconds_of(task, datetime.now(UTC)))), Text(why(task))))
        if len(shown) < len(tasks):
            rows.append((Text(f"  and {len(tasks) - len(shown)} more", style="dim"), Text(""), Text("")))
        names, seconds = (max((row[column].cell_len for row in rows), default=0) for column in (0, 1))
        table = Table.grid(padding=(0, 1))
        # Widths are given, or rich takes from all columns alike where the last one is too long for the terminal.
        table.add_column(no_wrap=True, width=names)
        table.add_column(justify="right", no_wrap=True, width=seconds)
        left = max(self._console.size.width - names - seconds - 2, 1)
        table.add_column(no_wrap=not whole, overflow="fold" if whole else "ellipsis", style="dim", max_width=left)
        for row in rows:
            table.add_row(*row)
        phase = self.current.phase
        head = Text.assemble(
            (self.title, "bold"), " ", (phase.value, RUN_STYLES[phase]), f" {self.current.tasks_done or ''}"
        )
        head.no_wrap = not whole
        return Group(head, table) if rows else head

    def _symbol(self, phase: TaskPhase) -> str:
        return SYMBOLS[phase] if self._console.encoding.startswith("utf") else phase.value[0]


def _most_telling(tasks: list[TaskStatus], room: int) -> list[TaskStatus]:
    """Return the tasks for which there is room: what runs or failed before what waits, that before what is done."""

    def rank(task: TaskStatus) -> int:
        if task.phase in (TaskPhase.RUNNING, TaskPhase.FAILED):
            return 0
        return 2 if task.phase.ended else 1

    kept = {task.name for task in sorted(tasks, key=rank)[:room]}
    return [task for task in tasks if task.name in kept]


def choose(title: str, stream: IO[str], depends_on: Mapping[str, tuple[str, ...]]) -> View:
    """Return a live view where the stream is a terminal that can show it, else plain lines.

    `depends_on` has every task in an order in which dependencies come first.
    """
    stream = cast("IO[str]", Lasting(stream))
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return LiveView(title, stream, levels(depends_on))
    return PlainView(title, stream, min(max((len(name) for name in depends_on), default=0), WIDEST))
