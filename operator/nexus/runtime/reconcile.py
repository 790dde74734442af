"""Reconcile: decide, act, write the status, once; the same loop for a cluster, a laptop and the simulator.

The order is what makes death at any instruction harmless. Before the status: what is idempotent by name (outputs,
Jobs). Then the status. After it: what only carries out what the status already says (deletions, Events).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.core.engine.decide import after, decide
from nexus.core.engine.finish import blocked, refuse, waits
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.duration import duration
from nexus.core.model.facts import ChildFact, Facts, JobFact, SlotAsked, SlotGrant
from nexus.core.model.plan import (
    AskSlot,
    ListPods,
    LoadItems,
    LoadOutput,
    Plan,
    Read,
    ReadFrame,
    ReadLog,
    RunEvent,
    Start,
    StartChild,
    Store,
    StoreOutput,
)
from nexus.core.model.refusal import (
    CONDITION,
    Code,
    Refusal,
    is_refused,
    job_of,
    parallelism_of,
    refusal_condition,
    with_conditions,
)
from nexus.core.model.status_limits import squeezed
from nexus.runtime.away import away
from nexus.runtime.outcomes import Unanswered, count_write
from nexus.runtime.ports import Backend, Blocked, Refused, RunKey, Stale, StartRejected, View
from nexus.runtime.refused import CALL, STATUS, NotWritten, RefusedWrites, refusal_of
from nexus.runtime.stats import Counters, Stats
from nexus.runtime.turns import Overtaken

# Each round of starts but the last makes Jobs, or learns that they are refused, upon which other tasks may be due at
# once. So long a chain of refusals is continued at the next reconcile, after other runs had their turn.
MAX_ROUNDS = 16

# A Job that was just made may never get a pod, and then nothing happens that would have it looked at.
REQUEUE_AFTER_START = timedelta(seconds=3)

TOO_LARGE = "the run's status does not fit into its object beside its spec; start a new run with smaller params"
AFTERWARDS = ("delete/", "cancel/", "return/")
"""What those go by that come after the status."""

Result = TypeVar("Result")


@dataclass
class Reconciler:
    """Brings runs one step further, as often as it is called.

    `in_thread` runs a decision that evaluates away from the event loop: it may take as long as its expressions do, and
    other runs must not wait for it. `stats` counts what ends. For figures, `started` is called with each task start,
    and `decided` with the CPU seconds of each decision, in the thread that made it.
    """

    backend: Backend
    evaluator: Evaluator
    in_thread: bool = True
    stats: Stats = field(default_factory=Counters)
    started: Callable[[View, Start], None] | None = None
    decided: Callable[[RunKey, float], None] | None = None
    _unanswered: Unanswered = field(default_factory=Unanswered)
    _refused: RefusedWrites[RunKey] = field(init=False)
    _tight: set[RunKey] = field(default_factory=set)
    """Runs whose status has once been too large for their object."""
    _told: set[RunKey] = field(default_factory=set)
    """Runs that have ended and for which a refusal since then was reported."""

    def __post_init__(self) -> None:
        self._refused = RefusedWrites(self.stats)

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Work on one run; returns when to work on it again though nothing happened, None for never.

        Raises Stale, and whatever the place raises, with nothing half-done that a further call would not complete.
        What the place refuses ends up on the status of the run and does not raise, that of the status itself aside.
        """
        began, was_told = self.backend.now(), self._refused.is_told(key)
        held = self._refused.held(key, began).get(CALL)
        if held is not None and held.told:
            return held.again_at
        try:
            wake_at = await self._reconcile(key)
        except (Refused, Stale) as error:
            return await self._blocked(key, error)
        except NotWritten as error:
            raise error.cause from error
        self._refused.drop_due(key, began)
        if was_told and not self._refused.is_told(key):
            return self.backend.now()  # what was accepted after the status was written is reported by another one
        return min((when for when in (wake_at, self._refused.next_at(key)) if when is not None), default=None)

    async def _reconcile(self, key: RunKey) -> datetime | None:
        view = await self.backend.view(key)
        self._unanswered.settle(self.stats, key, view)
        if view is None:
            self._refused.forget(key)
            self._tight.discard(key)
            self._told.discard(key)
            return None
        plan, settled, wake_at = await self._planned(view)
        self._refused.accept(key, CALL)
        if plan is not None:
            await self._write(settled, plan)
        return wake_at

    async def _planned(self, view: View) -> tuple[Plan | None, View, datetime | None]:
        """Return what is to be done, all of it done that comes before the status; upon what; and when to look again."""
        if view.recorded is not None and view.recorded.phase.ended:
            await self._clear_up(view, after(view.recorded, view.facts))
            return None, view, None
        if isinstance(view.definition, StartRejected):
            why = view.definition
            if why.retry_at is not None:
                return None, view, why.retry_at
            return refuse(view.facts, self.backend.now(), why.reason, why.message), view, None
        if isinstance(view.definition, Blocked):
            return waits(view.facts, view.definition.reason, view.definition.message), view, view.wake_at
        if view.key in self._tight and (view.recorded is None or view.recorded.start_time is None):
            # It has no room for its first status. What was started for that is stopped.
            return refuse(view.facts, self.backend.now(), Reason.STATUS_TOO_LARGE, TOO_LARGE), view, None
        plan, settled = await self._settle(view)
        made = settled.facts.jobs != view.facts.jobs
        look = self.backend.now() + REQUEUE_AFTER_START if made and not plan.status.phase.ended else None
        return plan, settled, min((when for when in (plan.wake_at, view.wake_at, look) if when), default=None)

    async def _blocked(self, key: RunKey, error: Refused | Stale) -> datetime | None:
        """Handle the refusal of a call on which everything else depends. What lasts is put on the status; what may pass
        in a moment is raised."""
        now = self.backend.now()
        refusal = self._refused.note(key, CALL, refusal_of(error), now)
        view = self.backend.glance(key) if refusal.told else None
        if not refusal.told:
            raise error
        if view is not None and not (view.recorded is not None and view.recorded.phase.ended):
            try:
                await self._write(view, blocked(view.facts, refusal, now))
            except NotWritten as status:
                raise status.cause from status
        return refusal.again_at

    async def _write(self, view: View, plan: Plan) -> None:
        """Write the status, where it changed, and then carry out what follows from it."""
        if plan.status.phase.ended:
            # What tasks needed is needed no more; what they left running is still to be stopped.
            self._refused.drop(view.key, lambda name: name != STATUS and not name.startswith(AFTERWARDS))
        known = (view.recorded.conditions if view.recorded is not None else None) or []
        refused = self._refused.of(view.key, but=STATUS)
        conditions = refusal_condition(known, refused, view.facts.run.generation, self.backend.now())
        status = with_conditions(plan.status, conditions)
        events = plan.events
        if _timeless(status) != _timeless(view.recorded or WorkflowRunStatus()):
            # Only of what has ended: a figure that is not updated would be wrong a second later.
            passed = duration(status, self.backend.now()) if status.completion_time else None
            written = await self._write_status(view, status.model_copy(update={"duration": passed}))
            if written is None:
                return
            count_write(self.stats, view, written)
            if is_refused(conditions) and not is_refused(known):
                events = (*events, _refused_event(view, conditions[0].reason, conditions[0].message))
        await self._clear(view, plan)
        if events:
            await self.backend.record(view, events)

    async def _clear_up(self, view: View, plan: Plan) -> None:
        """Stop what still runs of a run that has ended. Of its status no more is known than is needed for that."""
        self._refused.drop(view.key, lambda name: not name.startswith(AFTERWARDS))
        await self._clear(view, plan)
        refused = [refusal for refusal in self._refused.of(view.key) if refusal.told]
        # Those with something to stop, too: another operator may have reported what was refused to it.
        if refused or plan.stops or plan.cancels:
            await self.backend.tell_ended(view, refused)
        if refused and view.key not in self._told:
            self._told.add(view.key)
            await self.backend.record(view, (_refused_event(view, refused[0].reason, refused[0].message),))
        elif not refused and view.key in self._told:
            self._told.discard(view.key)
            await self.backend.tell_ended(view, ())

    async def _write_status(self, view: View, status: WorkflowRunStatus) -> WorkflowRunStatus | None:
        """Store the status, or as much of it as the object has room for; returns that, None where it has none at all.
        Raises NotWritten, and Stale where it is to be decided anew with less in it."""
        held = self._refused.held(view.key, self.backend.now()).get(STATUS)
        if held is not None and held.code is Code.TOO_LARGE:
            return None
        smaller = squeezed(status)
        while True:
            try:
                await self.backend.write_status(view, status)
            except (Refused, Stale) as error:
                refusal = refusal_of(error)
                if refusal.code is not Code.TOO_LARGE:
                    if refusal.code is Code.UNKNOWN:
                        self._unanswered.note(view, status)
                    await self._tell_unwritten(view, refusal)
                    raise NotWritten(error) from error
                if view.key not in self._tight:
                    self._tight.add(view.key)
                    raise Stale(f"the status of run {view.key} is too large") from error
                less = next(smaller, None)
                if less is None and not status.phase.ended:
                    ended = refuse(view.facts, self.backend.now(), Reason.STATUS_TOO_LARGE, TOO_LARGE)
                    await self.backend.record(view, ended.events)
                    smaller, less = squeezed(ended.status), ended.status
                if less is None:
                    # Not for its size: a proxy with a small limit, or an object with no room for anything.
                    self._tight.discard(view.key)
                    await self._tell_unwritten(view, refusal)
                    return None
                status = less
            except Exception:
                self._unanswered.note(view, status)
                raise
            else:
                self._refused.accept(view.key, STATUS)
                return status

    async def _tell_unwritten(self, view: View, refusal: Refusal) -> None:
        """Report by an Event, the metric and the log that the status was not written: it cannot say so itself."""
        before = self._refused.get(view.key, STATUS)
        noted = self._refused.note(view.key, STATUS, refusal, self.backend.now())
        if noted.told and not (before is not None and before.told):
            words = f"the status of run {view.key.name} cannot be written: {refusal.message}"
            await self.backend.record(view, (RunEvent("StatusNotWritten", words[:1_000], warning=True),))

    async def _clear(self, view: View, plan: Plan) -> None:
        """End what still runs though the status says that it is over."""
        backend, held = self.backend, self._refused.held(view.key, self.backend.now())
        stops = {f"delete/{stop.job_name}": partial(backend.stop_job, view, stop) for stop in plan.stops}
        cancels = {f"cancel/{cancel.run_name}": partial(backend.cancel_run, view, cancel) for cancel in plan.cancels}
        returns = {f"return/{slot.slot.job_name}": partial(backend.return_slot, view, slot) for slot in plan.returns}
        calls = {**stops, **cancels, **returns}
        await _all(self._tried(view.key, name, call()) for name, call in calls.items() if name not in held)

    async def _settle(self, view: View) -> tuple[Plan, View]:
        """Decide and act until nothing is left to act on before the status. All of it happens at one time: what starts
        because something ended starts after that, though it is a later round that sees both."""
        rounds, now = 0, self.backend.now()
        view = replace(view, facts=await self._remembered(view, now))
        stored: list[Store] = []
        while True:
            plan = await self._decide(view, now, may_start=rounds < MAX_ROUNDS)
            if plan.vouched:
                self.backend.vouch(view, plan.vouched)
                view = replace(view, facts=replace(view.facts, vouched=view.facts.vouched.union(plan.vouched)))
            if plan.reads:
                view = replace(view, facts=await self._read(view, plan))
                continue
            # Each round decides from the recorded status and so plans the same stores again.
            stores = [store for store in plan.stores if store not in stored]
            answers = await _all(self._tried(view.key, one.config_map, self._store(view, one)) for one in stores)
            refused = {
                store.config_map: answer
                for store, answer in zip(stores, answers, strict=True)
                if isinstance(answer, Refusal)
            }
            stored += [store for store in stores if store.config_map not in refused]
            if refused:
                # What depends on a refused one does not start; all else is decided once more without it.
                view = replace(view, facts=_with_refusals(view.facts, refused))
                continue
            if not plan.starts and not plan.raises:
                return plan, view
            rounds += 1
            view = replace(view, facts=await self._begin(view, plan))

    async def _remembered(self, view: View, now: datetime) -> Facts:
        """Return the facts, with the refusals that are not to be tried yet. Of what may have been made, though no
        answer came, it is asked first whether it is there: another task could get its slot else."""
        key, found = view.key, list[JobFact]()
        for name, refusal in self._refused.due(key, now).items():
            if not refusal.pods:
                continue
            try:
                job = await self.backend.find_job(view, job_of(name))
            except Refused as error:
                self._refused.note(key, name, replace(error.refusal, pods=refusal.pods), now)
                continue
            if job is not None:
                found.append(job)
                if job.name == name:  # and not its parallelism, of which the Job now tells by itself
                    self._refused.accept(key, name)
        held = self._refused.held(key, now)
        held.pop(CALL, None)
        return _with_jobs(replace(view.facts, refusals=held, tight=key in self._tight), found)

    async def _begin(self, view: View, plan: Plan) -> Facts:
        """Start what is to be started; the facts after that."""
        key = view.key
        if self.started is not None:
            for start in plan.starts:
                self.started(view, start)
        starts = [self._tried(key, _name_of(start), self._start(view, start), _pods(start)) for start in plan.starts]
        results = await _all(starts)
        raises = [
            self._tried(key, parallelism_of(one.job_name), self.backend.raise_parallelism(view, one), one.more)
            for one in plan.raises
        ]
        return _with_results(view.facts, plan, results, await _all(raises))

    async def _tried(self, key: RunKey, name: str, call: Awaitable[Result], pods: int = 0) -> Result | Refusal:
        """Return the result of a call, or why it was not carried out. `pods` there may be though no answer comes.

        Raises Stale, unless that lasts.
        """
        try:
            result = await call
        except (Refused, Stale) as error:
            refusal = refusal_of(error)
            unknown = refusal.code is Code.UNKNOWN
            known = self._refused.get(key, name)
            left = max(pods if unknown else 0, known.pods if known is not None else 0)
            noted = self._refused.note(key, name, replace(refusal, pods=left), self.backend.now())
            if isinstance(error, Stale) and not noted.told:
                raise
            return noted
        self._refused.accept(key, name)
        return result

    async def _store(self, view: View, store: Store) -> None:
        if isinstance(store, StoreOutput):
            await self.backend.store_output(view, store)
        else:
            await self.backend.store_items(view, store)

    async def _start(self, view: View, start: Start) -> JobFact | ChildFact:
        if isinstance(start, StartChild):
            return await self.backend.start_child(view, start)
        return await self.backend.start_task(view, start)

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
        """Return whether a decision that began at `now` would come too late: the run was steered otherwise since, or is
        over its deadline. What else happens to it is looked at in the next decision, or none of them might ever end."""
        assert isinstance(view.definition, Definition)
        status, seconds = view.facts.status, view.definition.spec.deadline_seconds
        if seconds is not None and status is not None and status.start_time is not None:
            deadline = status.start_time + timedelta(seconds=seconds)
            if now < deadline <= self.backend.now():
                return True
        return self.backend.steered(view)

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
        turns: dict[SlotAsked, SlotGrant] = dict(view.facts.turns)
        refused: dict[str, Refusal] = {}

        async def read(what: Read) -> None:
            match what:
                case LoadOutput():
                    outputs[what.task] = await self.backend.load_output(view, what)
                case LoadItems():
                    checkpoints[what.task] = await self.backend.load_items(view, what)
                case ListPods():
                    job = await self.backend.list_pods(view, what)
                    listed.add(what.job_uid)
                    found.extend([job] if job is not None else [])
                case ReadFrame():
                    frames[what.pod_uid] = await self.backend.read_frame(view, what)
                case ReadLog():
                    logs[what.pod_uid] = await self.backend.read_log(view, what)
                case AskSlot():
                    name = what.slot.job_name
                    answer = await self._tried(view.key, name, self.backend.ask_slot(view, what))
                    if isinstance(answer, Refusal):
                        refused[name] = answer
                    else:
                        turns[what.slot] = answer

        await _all(read(what) for what in plan.reads)
        facts = replace(view.facts, outputs=outputs, frames=frames, logs=logs, checkpoints=checkpoints, turns=turns)
        return _with_refusals(_with_jobs(replace(facts, listed=frozenset(listed)), found), refused)


def _refused_event(view: View, reason: str, message: str) -> RunEvent:
    """Not the words of RunWaiting, which a run that has not started has for the same refusal."""
    words = f"a write for run {view.key.name} is refused ({reason}): {message}"
    return RunEvent(CONDITION, words[:1_000], warning=True)


def _timeless(status: WorkflowRunStatus | None) -> WorkflowRunStatus | None:
    """Return the status without `duration`: time that passes does not justify a write."""
    return status.model_copy(update={"duration": None}) if status else None


def _name_of(start: Start) -> str:
    return start.run_name if isinstance(start, StartChild) else start.job_name


def _pods(start: Start) -> int:
    if isinstance(start, StartChild):
        return 0
    return start.indexed.parallelism if start.indexed is not None else 1


def _with_refusals(facts: Facts, refused: Mapping[str, Refusal]) -> Facts:
    return replace(facts, refusals={**facts.refusals, **refused}) if refused else facts


def _with_results(
    facts: Facts,
    plan: Plan,
    results: Sequence[JobFact | ChildFact | Refusal],
    raised: Sequence[JobFact | Refusal],
) -> Facts:
    """Return the facts after the starts: Jobs and child runs are there, and decided upon as if they had been found."""
    children, refused = dict(facts.children), dict[str, Refusal]()
    made: list[JobFact] = []
    for change, job in zip(plan.raises, raised, strict=True):
        if isinstance(job, Refusal):
            refused[parallelism_of(change.job_name)] = job
        else:
            made.append(job)
    vouched = facts.vouched.union(result.uid for result in results if not isinstance(result, Refusal))
    for start, result in zip(plan.starts, results, strict=True):
        if isinstance(result, Refusal):
            refused[_name_of(start)] = result
        elif isinstance(result, ChildFact):
            others = tuple(child for child in children.get(start.task, ()) if child.name != result.name)
            children[start.task] = (*others, result)
        else:
            made.append(result)
    return _with_jobs(_with_refusals(replace(facts, children=children, vouched=vouched), refused), made)


def _with_jobs(facts: Facts, found: Sequence[JobFact]) -> Facts:
    """Return the facts with these Jobs, in place of what was known of them."""
    jobs: dict[str, dict[str, JobFact]] = {}
    for job in found:
        if job.task not in jobs:
            jobs[job.task] = {known.name: known for known in facts.jobs.get(job.task, ())}
        jobs[job.task][job.name] = job
    return replace(facts, jobs={**facts.jobs, **{task: tuple(known.values()) for task, known in jobs.items()}})


async def _all(awaitables: Iterable[Awaitable[Result]]) -> list[Result]:
    """Run all at once, all to their end, then raise the first error, so that no request outlives its reconcile."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
