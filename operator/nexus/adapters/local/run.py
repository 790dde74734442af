"""A local run from start to end: the loop of the operator, for one run and one terminal."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nexus.adapters.local.backend import LocalBackend, fork_server
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.family import Family
from nexus.adapters.local.loop import until_ended
from nexus.adapters.local.observer import Observer
from nexus.adapters.local.pools import LocalPools, read_sizes
from nexus.adapters.local.questions import Ask
from nexus.api.packed import unpacked
from nexus.api.run import Approval, Cancel, WorkflowRunStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Earlier, RunFact

# Ctrl-C, kill, and the end of the terminal.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Finished:
    """How a local run ended. `outputs` has every output, those too that the status only refers to."""

    status: WorkflowRunStatus
    outputs: dict[str, dict[str, Any]]
    interrupted: bool


async def run(
    fact: RunFact,
    definition: Definition,
    bindings: Bindings,
    search_path: Path,
    observer: Observer,
    evaluator: Evaluator,
    workflows: Mapping[str, Definition] | None = None,
    ask: Ask | None = None,
    answers: Mapping[str, Approval] | None = None,
    earlier: Earlier | None = None,
    store: Path | None = None,
) -> Finished:
    """Execute a run on this machine. Ctrl-C once cancels it, twice kills what still runs. `workflows` are those that
    child runs may execute.

    `ask` answers approval tasks, where neither `fact` nor, in child runs, `answers` does: by the task's name behind
    those of the tasks that make the runs above it, as release/go-ahead, for all items of a fan-out. `earlier` is the
    run that this one reruns.

    `store` is the folder for artifacts and large outputs; without it they are gone when the run has ended.
    """
    changed = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="nexus-", ignore_cleanup_errors=True) as folder:
        server = fork_server(Path(folder), search_path, (definition, *(workflows or {}).values()))
        kept, pools = store or Path(folder) / "store", LocalPools(read_sizes(bindings.config_maps))
        family = Family(evaluator, kept, workflows or {}, server, pools=pools, ask=ask, answers=answers or {})
        backend = LocalBackend(fact, definition, bindings, Path(folder), search_path, observer, changed.set, family)
        backend.earlier = earlier
        with _Interrupts(backend, observer) as interrupts:
            try:
                await until_ended(backend, family, changed)
                await backend.children.ended()
            finally:
                await backend.close()
                if server is not None:
                    server.close()
        assert backend.recorded is not None
        return Finished(backend.recorded, _outputs(backend), interrupts.count > 0)


class _Interrupts:
    """Signals that end a run: the first cancels it, the second kills what still runs."""

    def __init__(self, backend: LocalBackend, observer: Observer) -> None:
        self.count = 0
        self._backend, self._observer = backend, observer
        self._killing: list[asyncio.Future[None]] = []
        # nohup and the like have a hang-up ignored: then it is.
        self._taken = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]

    def __enter__(self) -> Self:
        for number in self._taken:
            handler = self._hang_up if number is signal.SIGHUP else self._interrupt
            asyncio.get_running_loop().add_signal_handler(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._taken:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _interrupt(self) -> None:
        self.count += 1
        self._backend.cancel(Cancel.IMMEDIATE if self.count > 1 else Cancel.GRACEFUL)
        if self.count > 1:
            self._killing.append(asyncio.ensure_future(self._backend.kill()))
        else:
            self._observer.note("cancelling: running tasks are asked to stop; Ctrl-C again kills them")

    def _hang_up(self) -> None:
        # Told twice, by the kernel and by the first write that fails; nobody is there who could mean it twice.
        if not self.count:
            self._interrupt()


def _outputs(backend: LocalBackend) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for task in backend.recorded.tasks or () if backend.recorded else ():
        value = backend.output(task.output_ref.config_map) if task.output_ref else None
        if value is not None:
            found[task.name] = value
        elif task.output is not None:
            found[task.name] = unpacked(task.output)
    return found
