"""Reconcile: decide, act, write the status, once; the same loop for a cluster, a laptop and the simulator.

The order is what makes death at any instruction harmless. Before the status: what is idempotent by name (outputs,
Jobs). Then the status. After it: what only carries out what the status already says (deletions, Events).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from nexus.api.run import WorkflowRunStatus
from nexus.core.decide import after, decide
from nexus.core.definition import Definition
from nexus.core.expressions import Evaluator
from nexus.core.facts import ChildFact, Facts, JobFact, Refusal, SlotAsked, Turn
from nexus.core.finish import duration, refuse, waits
from nexus.core.plan import (
    AskSlot,
    ListPods,
    LoadItems,
    LoadOutput,
    Plan,
    Read,
    ReadFrame,
    ReadLog,
    Start,
    StartChild,
    Store,
    StoreOutput,
)
from nexus.runtime.away import away
from nexus.runtime.outcomes import Unanswered, count_write
from nexus.runtime.ports import Place, RunKey, Stale, Unstartable, View, Waiting
from nexus.runtime.stats import Counters, Stats
from nexus.runtime.turns import Overtaken

# Each round of starts but the last makes Jobs, or learns that they are refused, upon which other tasks may be due at
# once. So long a chain of refusals is continued at the next reconcile, after other runs had their turn.
MAX_ROUNDS = 16

# A Job that was just made may never get a pod, and then nothing happens that would have it looked at.
LOOK_AGAIN = timedelta(seconds=3)

Result = TypeVar("Result")


@dataclass
class Reconciler:
    """Brings runs one step further, as often as it is called.

    `in_thread` runs a decision that evaluates away from the event loop: it may take as long as its expressions do, and
    other runs must not wait for it. `stats` counts what ends. For figures, `started` is told of each task start, and
    `decided` of the CPU seconds of each decision, in the thread that made it.
    """

    place: Place
    evaluator: Evaluator
    in_thread: bool = True
    stats: Stats = field(default_factory=Counters)
    started: Callable[[View, Start], None] | None = None
    decided: Callable[[RunKey, float], None] | None = None
    _unanswered: Unanswered = field(default_factory=Unanswered)

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Work on one run; returns when to work on it again though nothing happened, None for never.

        Raises Stale, and whatever the place raises, with nothing half-done that a further call would not complete.
        """
        view = await self.place.view(key)
        self._unanswered.settle(self.stats, key, view)
        if view is None:
            return None
        if view.recorded is not None and view.recorded.phase.ended:
            await self._clear(view, after(view.recorded, view.facts))
            return None
        if isinstance(view.definition, Unstartable):
            return await self._unstartable(view, view.definition)
        if isinstance(view.definition, Waiting):
            await self._write(view, waits(view.facts, view.definition.reason, view.definition.message))
            return view.wake_at
        plan, settled = await self._settle(view)
        await self._write(settled, plan)
        made = settled.facts.jobs != view.facts.jobs
        look = self.place.now() + LOOK_AGAIN if made and not plan.status.phase.ended else None
        return min((when for when in (plan.wake_at, view.wake_at, look) if when is not None), default=None)

    async def _write(self, view: View, plan: Plan) -> None:
        """The status, where it changed, and then what follows from it."""
        if _timeless(plan.status) != _timeless(view.recorded):
            # Only of what has ended: a figure that nobody updates would be wrong a second later.
            passed = duration(plan.status, self.place.now()) if plan.status.completion_time else None
            status = plan.status.model_copy(update={"duration": passed})
            try:
                await self.place.write_status(view, status)
            except Stale:
                raise
            except Exception:
                self._unanswered.note(view, status)
                raise
            count_write(self.stats, view, status)
        await self._clear(view, plan)
        if plan.events:
            await self.place.record(view, plan.events)

    async def _clear(self, view: View, plan: Plan) -> None:
        """End what still runs though the status says that it is over."""
        stops = [self.place.stop_job(view, stop) for stop in plan.stops]
        cancels = [self.place.cancel_run(view, cancel) for cancel in plan.cancels]
        await _all([*stops, *cancels, *(self.place.return_slot(view, slot) for slot in plan.returns)])

    async def _settle(self, view: View) -> tuple[Plan, View]:
        """Decide and act until nothing is left to act on before the status. All of it happens at one time: what starts
        because something ended starts after that, though it is a later round that sees both."""
        rounds, now = 0, self.place.now()
        stored: list[Store] = []
        while True:
            plan = await self._decide(view, now, may_start=rounds < MAX_ROUNDS)
            if plan.reads:
                view = replace(view, facts=await self._read(view, plan))
                continue
            # Each round decides from the recorded status and so plans the same stores again.
            await _all(self._store(view, store) for store in plan.stores if store not in stored)
            stored += plan.stores
            if not plan.starts and not plan.raises:
                return plan, view
            rounds += 1
            if self.started is not None:
                for start in plan.starts:
                    self.started(view, start)
            results = await _all(self._start(view, start) for start in plan.starts)
            raised = await _all(self.place.raise_parallelism(view, change) for change in plan.raises)
            view = replace(view, facts=_with_results(view.facts, plan, results, raised))

    async def _store(self, view: View, store: Store) -> None:
        if isinstance(store, StoreOutput):
            await self.place.store_output(view, store)
        else:
            await self.place.store_items(view, store)

    async def _start(self, view: View, start: Start) -> JobFact | ChildFact | Refusal:
        if isinstance(start, StartChild):
            return await self.place.start_child(view, start)
        return await self.place.start_task(view, start)

    async def _decide(self, view: View, now: datetime, *, may_start: bool) -> Plan:
        assert isinstance(view.definition, Definition)
        decision = partial(self._timed, view.key, view.definition, view.facts, now, may_start=may_start)
        # A decision without expressions takes milliseconds, and so would the way to a thread on a busy machine.
        if not (self.in_thread and view.definition.evaluates):
            return decision()
        try:
            return await away(decision, partial(self._overtaken, view, now))
        except Overtaken as overtaken:
            raise Stale(f"run {view.key} changed while its expressions were evaluated") from overtaken

    def _overtaken(self, view: View, now: datetime) -> bool:
        """Whether a decision that began at `now` would come too late: the run was steered otherwise since, or is over
        its deadline. What else happens to it is looked at in the next decision, or none of them might ever end."""
        assert isinstance(view.definition, Definition)
        status, seconds = view.facts.status, view.definition.spec.deadline_seconds
        if seconds is not None and status is not None and status.start_time is not None:
            deadline = status.start_time + timedelta(seconds=seconds)
            if now < deadline <= self.place.now():
                return True
        return self.place.steered(view)

    def _timed(self, key: RunKey, definition: Definition, facts: Facts, now: datetime, *, may_start: bool) -> Plan:
        if self.decided is None:
            return decide(definition, facts, now, self.evaluator, may_start=may_start)
        began = time.thread_time()
        plan = decide(definition, facts, now, self.evaluator, may_start=may_start)
        self.decided(key, time.thread_time() - began)
        return plan

    async def _read(self, view: View, plan: Plan) -> Facts:
        outputs, frames, logs = dict(view.facts.outputs), dict(view.facts.frames), dict(view.facts.logs)
        checkpoints, listed = dict(view.facts.checkpoints), set(view.facts.listed)
        found: list[JobFact] = []
        turns: dict[SlotAsked, Turn] = dict(view.facts.turns)

        async def read(what: Read) -> None:
            match what:
                case LoadOutput():
                    outputs[what.task] = await self.place.load_output(view, what)
                case LoadItems():
                    checkpoints[what.task] = await self.place.load_items(view, what)
                case ListPods():
                    job = await self.place.list_pods(view, what)
                    listed.add(what.job_uid)
                    found.extend([job] if job is not None else [])
                case ReadFrame():
                    frames[what.pod_uid] = await self.place.read_frame(view, what)
                case ReadLog():
                    logs[what.pod_uid] = await self.place.read_log(view, what)
                case AskSlot():
                    turns[what.slot] = await self.place.ask_slot(view, what)

        await _all(read(what) for what in plan.reads)
        facts = replace(view.facts, outputs=outputs, frames=frames, logs=logs, checkpoints=checkpoints, turns=turns)
        return _with_jobs(replace(facts, listed=frozenset(listed)), found)

    async def _unstartable(self, view: View, why: Unstartable) -> datetime | None:
        if why.retry_at is not None:
            return why.retry_at
        plan = refuse(view.facts, self.place.now(), why.reason, why.message)
        await self._write(view, plan)
        return None


def _timeless(status: WorkflowRunStatus | None) -> WorkflowRunStatus | None:
    """The status without `duration`: time that passes is no reason for a write."""
    return status.model_copy(update={"duration": None}) if status else None


def _with_results(
    facts: Facts, plan: Plan, results: Sequence[JobFact | ChildFact | Refusal], raised: Sequence[JobFact | None]
) -> Facts:
    """The facts after the starts: Jobs and child runs are there, and decided upon as if they had been found."""
    children = dict(facts.children)
    refusals = dict(facts.refusals)
    made = [job for job in raised if job is not None]
    for start, result in zip(plan.starts, results, strict=True):
        if isinstance(result, Refusal):
            refusals[start.run_name if isinstance(start, StartChild) else start.job_name] = result
        elif isinstance(result, ChildFact):
            others = tuple(child for child in children.get(start.task, ()) if child.name != result.name)
            children[start.task] = (*others, result)
        else:
            made.append(result)
    return _with_jobs(replace(facts, children=children, refusals=refusals), made)


def _with_jobs(facts: Facts, found: Sequence[JobFact]) -> Facts:
    """The facts with these Jobs, in place of what was known of them."""
    jobs: dict[str, dict[str, JobFact]] = {}
    for job in found:
        if job.task not in jobs:
            jobs[job.task] = {known.name: known for known in facts.jobs.get(job.task, ())}
        jobs[job.task][job.name] = job
    return replace(facts, jobs={**facts.jobs, **{task: tuple(known.values()) for task, known in jobs.items()}})


async def _all(awaitables: Iterable[Awaitable[Result]]) -> list[Result]:
    """All at once, all to their end, and then the first error, so that no request outlives its reconcile."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
