"""What is to be done: the answer of `decide`, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nexus.api.pod import Pod
from nexus.api.run import Cancel, OutputRef, WorkflowRunStatus
from nexus.api.store import OutputStore, StoredArtifact, StoredObject
from nexus.api.tasks import EnvFrom, EnvVar
from nexus.core.model.facts import SlotAsked
from nexus.core.model.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is moved between an attempt and the output store, before and after its code."""

    store: OutputStore
    prefix: str
    """Start of the keys of what the attempt leaves."""
    inputs: Mapping[str, StoredObject] = field(default_factory=dict)
    """Dependency name to the output that is too big for a ConfigMap."""
    artifacts_in: Mapping[str, StoredArtifact] = field(default_factory=dict)
    """By the names that this task gives them."""
    artifacts_out: Mapping[str, bool] = field(default_factory=dict)
    """Names to whether the task may leave them out."""
    keeps_output: bool = False
    """Whether an output may go to the store."""

    @property
    def fetches(self) -> bool:
        """Whether there is anything to do before the code."""
        return bool(self.inputs or self.artifacts_in)

    @property
    def puts(self) -> bool:
        """Whether there may be anything to do after it."""
        return bool(self.artifacts_out) or self.keeps_output


@dataclass(frozen=True, slots=True)
class Payload:
    """What one attempt executes, rendered. Texts in `env`, `command` and `args` are in Kubernetes' syntax, where
    `$(NAME)` is a reference and `$$` a dollar; everything else is data that nothing may expand."""

    type: str
    image: str | None
    context_json: str
    task_json: str | None = None
    script: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    items: str | None = None
    """The items of an Indexed Job, a line each; see nexus.core.tasks.fanout.payload."""
    item_fields: str | None = None
    """Where in `task_json` each item has values of its own: a JSON list of paths."""
    inputs: Mapping[str, OutputRef] = field(default_factory=dict)
    """Dependency name to where its output lies, for outputs too big for the context."""
    pod: Pod | None = None
    """What is asked of the pod. Texts in it are data."""
    transfer: Transfer | None = None
    """What goes by way of the output store; None where nothing does."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """An Indexed Job: one for all items of a fan-out."""

    parallelism: int
    max_failed: int | None = None
    """Failed items after which it is to stop; None where it goes on to the last."""


@dataclass(frozen=True, slots=True)
class StartTask:
    """Make the Job of an attempt. Idempotent by its name."""

    task: str
    job_name: str
    attempt_number: int
    payload: Payload
    retry: RetryPolicy
    backoff_limit: int = 0
    numbered: bool = False
    """Whether the pods of the Job carry the number of their attempt, although all are made from one template."""
    timeout_seconds: int | None = None
    deadline_seconds: int | None = None
    """What is left of the task's deadline, as the backstop while no operator runs."""
    labels: Mapping[str, str] = field(default_factory=dict)
    items: int | None = None
    """How many items the fan-out has that it is part of."""
    index: int | None = None
    """The item it works on, where it has a Job of its own."""
    indexed: Indexed | None = None
    pool: str | None = None
    """The pool of which it holds a slot."""


@dataclass(frozen=True, slots=True)
class RaiseParallelism:
    """Let an Indexed Job have more pods at the same time. Doing it twice is doing it once."""

    task: str
    job_name: str
    uid: str
    parallelism: int
    more: int = 1
    """How many pods more than now."""


@dataclass(frozen=True, slots=True)
class StartChild:
    """Make the child run of an attempt. Idempotent by its name."""

    task: str
    run_name: str
    attempt_number: int
    workflow: str
    params: Mapping[str, Any]
    depth: int
    """Depth of the child: 1 below a run that is not a child itself."""
    items: int | None = None
    """How many items the fan-out has that it belongs to."""
    index: int | None = None
    """The item that it is for."""


Start = StartTask | StartChild


@dataclass(frozen=True, slots=True)
class StoreOutput:
    """Keep an output that is too big for the status, before anything that depends on it starts. `task` is empty for
    the outputs of the run."""

    task: str
    config_map: str
    text: str


@dataclass(frozen=True, slots=True)
class StoreItems:
    """Store the outputs of a fan-out's items that have finished, in place of `version` (None: nothing is stored yet).
    Comes before the status that counts them."""

    task: str
    config_map: str
    text: str
    version: str | None


@dataclass(frozen=True, slots=True)
class StopJob:
    """Delete a Job and its pods. Comes after the status that says why has been written, so that an operator that
    dies in between finds the reason recorded and only has to delete again."""

    task: str
    job_name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Have a child run cancelled. Comes after the status that says why, as StopJob does."""

    task: str
    run_name: str
    uid: str
    mode: Cancel


@dataclass(frozen=True, slots=True)
class LoadOutput:
    """Read a stored output: an expression needs it."""

    task: str
    config_map: str
    sha256: str | None = None
    """What its text must have; None where an older version stored it."""


@dataclass(frozen=True, slots=True)
class LoadItems:
    """Read what is stored of a fan-out's outputs; `fresh` where a memory of it will not do."""

    task: str
    config_map: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class ListPods:
    """Ask for the pods of a Job: what it says is proven by none that is known."""

    task: str
    job_uid: str


@dataclass(frozen=True, slots=True)
class ReadFrame:
    """Read an output from a pod's log: its termination message carries only size and hash."""

    task: str
    pod: str
    pod_uid: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read the last lines of a pod's log: its task asks for them to be recorded."""

    task: str
    pod: str
    pod_uid: str
    lines: int


@dataclass(frozen=True, slots=True)
class AskSlot:
    """Ask for a slot of a pool, and queue for it. Idempotent."""

    slot: SlotAsked


@dataclass(frozen=True, slots=True)
class ReturnSlot:
    """Give a slot back that was granted and will not be used now: something else keeps the task from starting."""

    slot: SlotAsked


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A Kubernetes Event about the run."""

    reason: str
    message: str
    warning: bool = False
    task: str | None = None


Read = LoadOutput | LoadItems | ListPods | ReadFrame | ReadLog | AskSlot
Store = StoreOutput | StoreItems


@dataclass(frozen=True, slots=True)
class Plan:
    """In order: `reads` (then decide again, nothing else was decided); `stores`; `starts` and `raises`; the status,
    one write; `stops`, `cancels` and `returns`; `events`. `wake_at` is when to decide again though nothing happened."""

    status: WorkflowRunStatus
    reads: tuple[Read, ...] = ()
    stores: tuple[Store, ...] = ()
    starts: tuple[Start, ...] = ()
    raises: tuple[RaiseParallelism, ...] = ()
    stops: tuple[StopJob, ...] = ()
    cancels: tuple[CancelRun, ...] = ()
    returns: tuple[ReturnSlot, ...] = ()
    vouched: tuple[str, ...] = ()
    """UIDs of child runs that no status names, and that were found to be what their tasks start."""
    events: tuple[RunEvent, ...] = ()
    wake_at: datetime | None = None
