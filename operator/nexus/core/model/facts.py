"""What is known of a run at one moment: small frozen records that the adapters fill.

A local subprocess and a pod look the same from here: each attempt is a Job with at most a few pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nexus.api.packed import Packed
from nexus.api.reasons import Reason, RunPhase
from nexus.api.run import Approval, ApprovalRequest, Cancel, OutputRef, RerunOf, Trigger, WorkflowRunStatus
from nexus.api.store import OutputStore
from nexus.api.workflow import WorkflowSpec
from nexus.core.model.refusal import Refusal
from nexus.core.pods.policy import RESTRICTED, PodPolicy


@dataclass(frozen=True, slots=True)
class Terminated:
    """How the container named `task` ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodFact:
    """One pod of a Job, as far as decisions depend on it."""

    name: str
    uid: str
    namespace: str = ""
    phase: str = "Pending"
    reason: str = ""
    created_at: datetime | None = None
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    waiting_reason: str = ""
    waiting_message: str = ""
    unmounted: str = ""
    """Why a volume of it cannot be mounted, in the kubelet's words."""
    running: bool = False
    terminated: Terminated | None = None
    transfer: Terminated | None = None
    """How moving its data ended: of what the task left, or, where that failed, of its inputs."""
    deleted_at: datetime | None = None
    """When its deletion was asked for (not when the grace period ends)."""
    disrupted_at: datetime | None = None
    """When the condition DisruptionTarget became true."""
    index: int | None = None
    """Which item of a fan-out it works on, in an Indexed Job."""
    failures: int | None = None
    """Failed attempts before this one, in a Job that numbers them (or of the same item, in a fan-out's)."""
    withdrawn: bool = False
    """True where the Job controller itself took it back, since the Job was suspended: that does not count as a
    failure."""

    @property
    def live(self) -> bool:
        """True while its container may still run user code."""
        return self.terminated is None and self.phase not in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class JobFact:
    """The Job of one attempt (or, with native backoff, of several attempts)."""

    name: str
    uid: str
    task: str
    attempt_number: int
    created_at: datetime
    namespace: str = ""
    owner: str = ""
    """Name of the run that it says it is of."""
    unwatched: bool = False
    """True where it lost the label by which Jobs are watched: what becomes of it has to be asked."""
    failed: int = 0
    failing: bool = False
    """True once the Job controller has given it up (condition FailureTarget); Failed follows when its pods ended."""
    complete: bool = False
    failure: str = ""
    """Reason of the Failed condition: BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy."""
    failure_message: str = ""
    finished_at: datetime | None = None
    deleting: bool = False
    suspended: bool = False
    """True while another controller, such as Kueue, holds it back: it has no pods then."""
    pods: tuple[PodFact, ...] = ()
    items: int | None = None
    """How many items an Indexed Job works on; None for every other Job."""
    index: int | None = None
    """The one item of a fan-out that it works on; None for an Indexed Job, which works on all."""
    parallelism: int = 1
    completed_indexes: str = ""
    """Items that an Indexed Job counts as done, as the Job controller writes it: 0-4,7."""
    failed_indexes: str = ""
    """Items that will not be tried again."""
    pods_refused: str = ""
    """Why its pod cannot be created, in the API server's words (quota, Pod Security)."""

    @property
    def of_items(self) -> bool:
        """True where it is a fan-out's."""
        return self.items is not None or self.index is not None

    @property
    def numbered(self) -> bool:
        """True where its pods carry the number of failures before them."""
        return any(pod.failures is not None for pod in self.pods)

    @property
    def finished(self) -> bool:
        """True once the Job carries Complete or Failed."""
        return self.complete or bool(self.failure)


@dataclass(frozen=True, slots=True)
class ChildFact:
    """A child run: an attempt of a `workflow` task."""

    name: str
    uid: str
    task: str
    attempt_number: int
    created_at: datetime
    namespace: str = ""
    owner: str = ""
    """Name of the run that it says it is of."""
    content: str = ""
    """What it executes, as `nexus.core.tasks.identity` compares it."""
    started_at: datetime | None = None
    """When an operator first saw it."""
    phase: RunPhase = RunPhase.PENDING
    reason: Reason | None = None
    """Of one in progress, only that it is waiting for approval."""
    message: str = ""
    approval: ApprovalRequest | None = None
    """What it is waiting for a decision on."""
    outputs: dict[str, Any] | Packed | None = None
    """Its outputs, if they are small."""
    outputs_ref: OutputRef | None = None
    """Where its outputs lie otherwise: in a ConfigMap of its own."""
    ended_at: datetime | None = None
    deleting: bool = False
    cancel: Cancel | None = None
    """What its spec says already."""
    index: int | None = None
    """The item that it is for; None for the child of a task without forEach."""


@dataclass(frozen=True, slots=True)
class Forged:
    """An object that says it is the run's, and can never be."""

    kind: str
    namespace: str
    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class RunFact:
    """The run's own object."""

    namespace: str
    name: str
    uid: str
    created_at: datetime
    workflow: str = ""
    generation: int = 1
    trigger: Trigger = Trigger.MANUAL
    params: Mapping[str, Any] = field(default_factory=dict)
    scheduled_time: datetime | None = None
    """What the run is for; None: its creation."""
    interval_start: datetime | None = None
    interval_end: datetime | None = None
    """None: the scheduled time, as with the start."""
    time_zone: str = "UTC"
    """Of date() and strftime() where an expression names none."""
    suspend: bool = False
    cancel: Cancel | None = None
    approvals: tuple[Approval, ...] = ()
    depth: int = 0
    """Levels below the root run, which a user or a schedule made."""

    @property
    def suspended(self) -> bool:
        """Whether nothing new may be started. A cancelled run is not: it must be able to end."""
        return self.suspend and self.cancel is None


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run that this one reruns, as it is when this one begins."""

    wanted: RerunOf
    uid: str = ""
    workflow: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    status: WorkflowRunStatus = field(default_factory=WorkflowRunStatus)
    definition: WorkflowSpec | None = None
    """The definition that it ran; None if that is unknown."""
    problem: str = ""
    """Why it cannot be had."""
    run: RunFact | None = None
    """The run itself, with its times; None if that is unknown."""
    approved_below: frozenset[str] = frozenset()
    """Its `workflow` tasks in whose child runs a person decided."""
    named_by: str = "in rerunOf.tasks"
    """Where whoever asks names tasks to run again."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is stored of a fan-out's outputs: one an item, None where there is none yet, and none at all where it cannot
    be read; `version` is that of the object, which the next write must name."""

    items: Sequence[Mapping[str, Any] | None]
    version: str
    sha256: str = ""
    """Of the text that it is stored as."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A stored output that is not what was stored: another client changed or replaced it."""

    config_map: str

    def __str__(self) -> str:
        return (
            f"ConfigMap {self.config_map} does not hold what was stored in it; it was changed or replaced by another "
            "client"
        )


@dataclass(frozen=True, slots=True)
class SlotAsked:
    """A slot of a pool, for one Job. Two of the same Job are the same slot."""

    task: str
    pool: str
    job_name: str


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """The place of a Job that asked for a slot of a pool."""

    granted: bool
    size: int = 0
    held: int = 0
    """Slots that are held."""
    holders: tuple[str, ...] = ()
    """Some of those who hold them, as RUN/TASK."""
    place: int = 0
    """Its place in line, from 1; 0 where another operator has a slot for it."""
    missing: str = ""
    """Why the size of the pool is unknown."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an operator with a limit on live pods tells a run."""

    limit: int
    free: int
    known: frozenset[str] = frozenset()
    """Names of the run's Jobs that are counted already."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that `decide` may look at.

    `jobs` (task name to its Jobs) is complete for every Job that the status records: a recorded Job that is not
    in it is gone; `children`, the same of child runs. `outputs` holds what was read for `LoadOutput`, None where it
    is gone, Changed where it is not what was stored; `frames` (pod UID to text) what was read for
    `ReadFrame`, None where the log did not hold it any more; `logs` (pod UID to text) what was read for `ReadLog`;
    `refusals` is by the name of the object that was to be written, of whatever kind. Who counts among Jobs and child
    runs, `nexus.core.tasks.identity` says.
    """

    run: RunFact
    status: WorkflowRunStatus | None = None
    jobs: Mapping[str, tuple[JobFact, ...]] = field(default_factory=dict)
    children: Mapping[str, tuple[ChildFact, ...]] = field(default_factory=dict)
    forged: tuple[Forged, ...] = ()
    """Objects that say they are the run's, and are not."""
    vouched: frozenset[str] = frozenset()
    """UIDs of the Jobs and child runs that were made, or found, in this reconcile, and of the child runs that were
    found before to be what their tasks start."""
    outputs: Mapping[str, Mapping[str, Any] | Changed | None] = field(default_factory=dict)
    frames: Mapping[str, str | None] = field(default_factory=dict)
    logs: Mapping[str, str | None] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    checkpoints: Mapping[str, Checkpoint | None] = field(default_factory=dict)
    """By task, what was read for `LoadItems`; None where nothing is stored."""
    listed: frozenset[str] = frozenset()
    """UIDs of Jobs whose pods were just listed (`ListPods`): what is not among them is gone."""
    capacity: Capacity | None = None
    """How many more pods there may be in all, where the operator has a limit."""
    earlier: Earlier | None = None
    """The run that this one reruns, while this one has not begun."""
    turns: Mapping[SlotAsked, SlotGrant] = field(default_factory=dict)
    """The answers to slots that were asked for in this reconcile."""
    granted: tuple[SlotAsked, ...] = ()
    """Slots of pools that are the run's already, and whose Jobs are not there."""
    pod_policy: PodPolicy = RESTRICTED
    """What the operator lets tasks ask of their pods."""
    output_store: OutputStore | None = None
    """The operator's store, for workflows that name none of their own."""
    tight: bool = False
    """Whether the object of the run has little room left for its status."""
    native_backoff: bool = True
    """Whether a Job retries by itself (the Job controller does; a local subprocess does not)."""
