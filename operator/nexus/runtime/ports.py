"""The ports of the loop: what a place that runs tasks (a cluster, a laptop, the simulator) must offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.core.manifest.problem import Problem
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Changed, Checkpoint, ChildFact, Facts, JobFact, SlotGrant
from nexus.core.model.plan import (
    AskSlot,
    CancelRun,
    ListPods,
    LoadItems,
    LoadOutput,
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


@dataclass(frozen=True, slots=True)
class RunKey:
    """Which run: the unit of work of the queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class StartRejected:
    """Why a run has no definition to execute; `retry_at` where that may change."""

    reason: Reason
    message: str
    retry_at: datetime | None = None
    problems: tuple[Problem, ...] = ()
    """What is wrong with the definition, where that is the reason."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a run may not begin yet; whoever ends that wakes it."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """A run as its place sees it now. `recorded` is the status that is stored; `facts.status` may already hold
    what the next write adds to it."""

    key: RunKey
    facts: Facts
    definition: Definition | StartRejected | Blocked | None
    """None for a run that has ended."""
    recorded: WorkflowRunStatus | None
    wake_at: datetime | None = None
    """When to look again though nothing may have happened by then."""


class Wake(Protocol):
    """Queues another run; `urgent` if another one waits for the result, such as for the slot of a pool."""

    def __call__(self, key: RunKey, /, *, urgent: bool = False) -> None: ...


def nobody(_key: RunKey, *, urgent: bool = False) -> None:
    """Wake no run."""


class Backend(Protocol):
    """Where runs live and their tasks execute. Every method that makes a call may raise Refused."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""

    async def view(self, key: RunKey) -> View | None:
        """Return the run, or None where it is gone or going."""

    def steered(self, view: View) -> bool:
        """Return whether the run is gone, or was cancelled, suspended or resumed since. Any thread may ask."""

    def glance(self, key: RunKey) -> View | None:
        """Return what is known of the run without a call of anybody: enough for a status that says why nothing else can
        be done. None where it is gone."""

    async def find_job(self, view: View, name: str) -> JobFact | None:
        """Return a Job whose making got no answer; None where it was not made."""

    async def load_output(self, view: View, read: LoadOutput) -> Mapping[str, Any] | Changed | None:
        """Return a stored output; None where it is gone, Changed where it is not what was stored."""

    async def read_frame(self, view: View, read: ReadFrame) -> str | None:
        """Return the text of an output in a task's log, None where it is not there whole."""

    async def read_log(self, view: View, read: ReadLog) -> str | None:
        """Return the last lines of a task's log, None where they cannot be had: no run waits for them."""

    async def load_items(self, view: View, read: LoadItems) -> Checkpoint | None:
        """Return the stored outputs of a fan-out's items, None where nothing is stored."""

    async def list_pods(self, view: View, read: ListPods) -> JobFact | None:
        """Return a Job with all its pods, as they are now; None where it is gone."""

    async def ask_slot(self, view: View, ask: AskSlot) -> SlotGrant:
        """Return whether a Job has a slot of its pool, and otherwise its place in the queue. Raises Stale."""

    async def return_slot(self, view: View, slot: ReturnSlot) -> None:
        """Give back a slot that no Job was made for; one that is another's by now stays."""

    async def store_output(self, view: View, store: StoreOutput) -> None:
        """Keep an output. Doing it twice is doing it once."""

    async def store_items(self, view: View, store: StoreItems) -> None:
        """Store outputs in place of what was read. Raises Stale if others were stored since."""

    async def raise_parallelism(self, view: View, change: RaiseParallelism) -> JobFact:
        """Let an Indexed Job have more pods. Doing it twice is doing it once. Raises Stale where it is gone."""

    async def start_task(self, view: View, start: StartTask) -> JobFact:
        """Make the Job of an attempt, or find it there. Doing it twice is doing it once."""

    async def start_child(self, view: View, start: StartChild) -> ChildFact:
        """Make the child run of an attempt, or find it there. Doing it twice is doing it once."""

    async def write_status(self, view: View, status: WorkflowRunStatus) -> None:
        """Store the status. Raises Stale if another one was stored since `view`."""

    async def tell_ended(self, view: View, refused: Sequence[Refusal]) -> None:
        """Have the condition WriteRefused of a run that has ended say what is refused after its end; all else of its
        status stays. Raises Stale."""

    async def stop_job(self, view: View, stop: StopJob) -> None:
        """Delete a Job and its pods; one that is gone already is fine."""

    def vouch(self, view: View, children: Iterable[str]) -> None:
        """Remember the UIDs of child runs that are what their tasks start, for later views of the run."""

    async def cancel_run(self, view: View, cancel: CancelRun) -> None:
        """Have a child run cancelled; one that has ended or is gone is fine."""

    async def record(self, view: View, events: tuple[RunEvent, ...]) -> None:
        """Publish Events. A lost one is not a failure."""


class Stale(Exception):
    """The view was not the newest: look again."""


class Refused(Exception):
    """A call was not carried out, or not for certain; `refusal` says why, and what to do."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)
