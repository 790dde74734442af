"""The cache: what the watches have told, as small frozen records keyed by run.

It is behind the truth by design. Nothing irreversible is decided from an absence in it (see Place.view).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from nexus.adapters.kube.api import WORKFLOW_RUNS
from nexus.adapters.kube.bounded_json import decode
from nexus.adapters.kube.brief import HELD, UNREADABLE, as_brief, unreadable
from nexus.adapters.kube.child_runs import child_fact, depth
from nexus.adapters.kube.live_pods import LivePods
from nexus.adapters.kube.observe import job_fact, owner_uid, pod_fact
from nexus.adapters.kube.other_version import known_part
from nexus.api.base import parse_time
from nexus.api.reasons import Reason
from nexus.api.run import TaskStatus, Trigger, WorkflowRunSpec, WorkflowRunStatus
from nexus.core import evidence
from nexus.core.begun import read_begun
from nexus.core.child_run import MAX_DEPTH
from nexus.core.facts import ChildFact, JobFact, PodFact, RunFact
from nexus.core.shape import read
from nexus.runtime.ports import RunKey

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as last seen. Of an ended run only what tells that it has ended is kept."""

    key: RunKey
    uid: str
    resource_version: int
    generation: int
    created_at: datetime
    deleting: bool
    adopted: bool
    spec: WorkflowRunSpec | None
    status: WorkflowRunStatus | None
    invalid: str = ""
    """Why the object cannot be read; the CRD's schema lets no such object in."""
    unreadable: str = ""
    """Why the object was not read: it nests too deep, or its params are too large. Of spec and status only short
    fields are known then."""
    params_text: str = ""
    """The params as JSON text where they are long; the spec is without them."""
    definition_left: bool = False
    """Whether the spec is without a definition that the run has: it is large, and read when it is needed."""
    parent: str = ""
    """UID of the run whose child it is."""
    depth: int = 0
    approved: bool = False
    """Whether a person decided in it."""
    objects: int = 1
    """How many objects it and what it made are, about."""

    @property
    def ended(self) -> bool:
        """True once the run has ended."""
        return self.status is not None and self.status.phase.ended

    @property
    def begun(self) -> bool:
        """True once the run has begun: from then on nothing of its spec is checked anew."""
        return self.status is not None and self.status.start_time is not None

    def fact(self) -> RunFact:
        """The run as decisions see it."""
        spec = self.spec or WorkflowRunSpec()
        params = decode(self.params_text.encode()) if self.params_text else spec.params
        return RunFact(
            namespace=self.key.namespace,
            name=self.key.name,
            uid=self.uid,
            created_at=self.created_at,
            workflow=spec.workflow_ref.name if spec.workflow_ref else "",
            generation=self.generation,
            trigger=spec.triggered_by or Trigger.MANUAL,
            params=params or {},
            scheduled_time=spec.scheduled_time,
            interval_start=spec.interval_start,
            interval_end=spec.interval_end,
            time_zone=spec.time_zone or "UTC",
            suspend=bool(spec.suspend),
            cancel=spec.cancel,
            approvals=tuple(spec.approvals or ()),
            depth=self.depth,
        )


def run_record(body: Object, known: RunRecord | None = None) -> RunRecord:
    """The record of a WorkflowRun; `known` is an earlier one of the same run, whose spec need not be read again."""
    metadata = body["metadata"]
    generation = int(metadata.get("generation") or 1)
    same = known if known is not None and known.generation == generation else None
    if same is None and HELD not in body and UNREADABLE not in body:
        # An answer to a call of ours is whole: of its spec no more is kept than of what the watches tell.
        rest = {name: value for name, value in body.items() if name != "status"}
        body = {**as_brief(WORKFLOW_RUNS, rest), "status": body.get("status")}
    held = body.get(HELD) or {}
    spec = same.spec if same is not None else None
    status: WorkflowRunStatus | None = None
    invalid = ""
    try:
        status = _status(body["status"]) if body.get("status") else None
        begun = status is not None and status.start_time is not None
        spec = spec or (read_begun if begun else read)(body.get("spec") or {}, WorkflowRunSpec)
    except ValueError as error:
        invalid = str(error)[:1_000]
    owners = metadata.get("ownerReferences") or ()
    return RunRecord(
        key=RunKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        # Opaque until Kubernetes 1.35 promised that they compare as numbers (KEP-5504); etcd's always did.
        resource_version=int(metadata["resourceVersion"]),
        generation=generation,
        created_at=parse_time(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        # A child goes with its parent: a second controller would be refused.
        adopted=any(owner.get("kind") == "Workflow" or owner.get("controller") for owner in owners),
        spec=spec,
        status=status,
        invalid=invalid,
        unreadable=unreadable(body) or (same.unreadable if same is not None else ""),
        params_text=same.params_text if same is not None else str(held.get("params") or ""),
        definition_left=same.definition_left if same is not None else "definition" in held,
        parent=owner_uid(body, "WorkflowRun") or "",
        depth=depth(metadata),
        approved=bool(spec is not None and spec.approvals),
        objects=1 + sum(map(_objects, status.tasks or () if status is not None else ())),
    )


def _objects(task: TaskStatus) -> int:
    """A Job and a pod for each attempt, or each item, and an output. What a child run made is the child's."""
    attempts = (task.attempts or 0) + (task.replacements or 0) if task.job is not None else 0
    items = task.items.total if task.items is not None else 0
    return 2 * max(attempts, items) + (task.output_ref is not None)


def _status(body: Object) -> WorkflowRunStatus:
    try:
        return known_part(dict(body), WorkflowRunStatus)
    except ValidationError:
        return read(body, WorkflowRunStatus)  # which says what does not fit


def _forget_details(record: RunRecord) -> RunRecord:
    """Ended runs stay for days, and their outputs and messages with them: keep the phase and each task's job or child
    only, and of the spec how its children are to be cancelled."""
    if not record.ended:
        return record
    assert record.status is not None
    cancel = record.spec.cancel if record.spec is not None else None
    details = ("output", "output_ref", "stored_output", "artifacts", "message", "attempt_records")
    tasks = [task.model_copy(update=dict.fromkeys(details)) for task in record.status.tasks or ()]
    # Conditions and messages belong to the object, not to any decision about it.
    status = WorkflowRunStatus(phase=record.status.phase, start_time=record.status.start_time, tasks=tasks)
    return replace(record, spec=WorkflowRunSpec(cancel=cancel) if cancel else None, status=status, params_text="")


class Cache:
    """Runs, Jobs and pods. Each `see_…` takes a watch event's object and returns the runs to look at: none where
    nothing changed that a decision depends on, of a child run itself and its parent."""

    def __init__(self) -> None:
        self.runs: dict[RunKey, RunRecord] = {}
        self._keys: dict[str, RunKey] = {}
        self._children: dict[str, dict[str, ChildFact]] = {}
        self._jobs: dict[str, dict[str, JobFact]] = {}
        self._job_versions: dict[str, int] = {}
        self._run_of_job: dict[str, str] = {}
        self._pods: dict[str, dict[str, PodFact]] = {}
        # Jobs with their pods in them, as decisions take them: of the hundreds of a run one or two change at a time.
        self._joined: dict[str, JobFact] = {}
        self.live = LivePods()
        self.forgotten: Callable[[RunKey, str], None] = lambda _key, _uid: None
        """Called with the key and UID of each run that is dropped, however it went."""
        self.objects: Counter[str] = Counter()
        """By namespace, how many objects runs and what they made are, about."""

    def see_run(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """A WorkflowRun was listed, changed or deleted, or came back as the answer to a write of ours."""
        metadata = body["metadata"]
        key = RunKey(metadata["namespace"], metadata["name"])
        known = self.runs.get(key)
        same = known is not None and known.uid == metadata["uid"]
        if gone:
            parents = self._forget(known) if known is not None and same else ()
            return (key, *parents)
        if known is not None and same and int(metadata["resourceVersion"]) <= known.resource_version:
            return ()  # older news than the answer to our own write
        parents = self._forget(known) if known is not None and not same else ()
        record = run_record(body, known if same else None)
        parents += self._see_child(record, metadata)
        # Only now: what of a child's end its parent has to know is with the parent's children.
        self.runs[key] = _forget_details(record)
        self.objects[key.namespace] += record.objects - (known.objects if known is not None and same else 0)
        self._keys[record.uid] = record.key
        return tuple(dict.fromkeys((record.key, *parents)))

    def _see_child(self, record: RunRecord, metadata: Object) -> tuple[RunKey, ...]:
        """Note what the parent of a run has to know of it; the parent, where that is news."""
        cancel = record.spec.cancel if record.spec is not None else None
        fact = child_fact(metadata, record.created_at, record.status, cancel) if record.parent else None
        if fact is None:
            return ()
        siblings = self._children.setdefault(record.parent, {})
        known = siblings.get(fact.name)
        if known is not None and known.uid == fact.uid:
            # The creation time that we saw by our own clock has milliseconds; the server's has not.
            fact = replace(fact, created_at=known.created_at)
        siblings[fact.name] = fact
        return self._run(record.parent) if fact != known else ()

    def _forget(self, record: RunRecord) -> tuple[RunKey, ...]:
        """Drop a run and all that is its; returns its parent."""
        if self.runs.pop(record.key, None) is not None:
            self.objects[record.key.namespace] -= record.objects
        self._keys.pop(record.uid, None)
        self._children.pop(record.uid, None)
        self.forgotten(record.key, record.uid)
        siblings = self._children.get(record.parent, {})
        if record.key.name in siblings and siblings[record.key.name].uid == record.uid:
            del siblings[record.key.name]
            if not siblings:
                del self._children[record.parent]
        for job in self._jobs.pop(record.uid, {}).values():
            self._forget_job(job.uid)
        return self._run(record.parent)

    def _forget_job(self, uid: str) -> None:
        self._run_of_job.pop(uid, None)
        self._job_versions.pop(uid, None)
        self._pods.pop(uid, None)
        self._joined.pop(uid, None)
        self.live.drop(uid)

    def see_job(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """A Job was listed, changed or deleted, or came back as the answer to its creation."""
        run_uid, fact = owner_uid(body, "WorkflowRun"), job_fact(body)
        if run_uid is None or fact is None:
            return ()
        jobs = self._jobs.get(run_uid, {})
        known = jobs.get(fact.name)
        version = int(body["metadata"]["resourceVersion"])
        if known is not None and known.uid == fact.uid and version < self._job_versions.get(fact.uid, 0):
            return ()
        if gone:
            if known is None or known.uid != fact.uid:
                return ()
            del jobs[fact.name]
            if not jobs:
                del self._jobs[run_uid]
            self._forget_job(fact.uid)
            return self._run(run_uid)
        if known is not None and known.uid == fact.uid:
            # The creation time that we saw by our own clock has milliseconds; the server's has not.
            fact = replace(fact, created_at=known.created_at, pods_refused=known.pods_refused)
        key = self._keys.get(run_uid)
        if fact.finished and key is not None and self.runs[key].ended:
            jobs.pop(fact.name, None)
            self._forget_job(fact.uid)
            return ()
        self._jobs.setdefault(run_uid, {})[fact.name] = fact
        self._joined.pop(fact.uid, None)
        self._job_versions[fact.uid] = version
        self._run_of_job[fact.uid] = run_uid
        self._count(run_uid, fact.name)
        return self._run(run_uid) if fact != known else ()

    def _count(self, run_uid: str, name: str) -> None:
        job = self.whole_job(run_uid, name) if self.live.limit else None
        if job is not None:
            self.live.note(job)

    def see_pod(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """A pod was listed, changed or deleted."""
        job_uid = owner_uid(body, "Job")
        if job_uid is None:
            return ()
        fact = pod_fact(body)
        pods = self._pods.setdefault(job_uid, {})
        known = pods.get(fact.uid)
        if known is not None and known.terminated is not None and fact.terminated is None:
            return ()  # older news than the answer to a question of ours: no container runs twice
        if known is not None:
            fact = _with_known(known, fact)
        self._joined.pop(job_uid, None)
        if gone:
            # A pod that ended is kept as evidence of how its Job's attempt went, until its run is gone: that the pod
            # object was deleted does not unmake what it proved.
            if job_uid in self._run_of_job and (fact.terminated is not None or (known and known.terminated)):
                pods[fact.uid] = fact
            else:
                pods.pop(fact.uid, None)
        else:
            pods[fact.uid] = fact
        run_uid = self._run_of_job.get(job_uid)
        if self.live.limit and run_uid is not None:
            self._count_pods(run_uid, job_uid)
        return self._run_of(job_uid) if gone or fact != known else ()

    def _count_pods(self, run_uid: str, job_uid: str) -> None:
        for job in self._jobs.get(run_uid, {}).values():
            if job.uid == job_uid:
                self._count(run_uid, job.name)

    def _run(self, run_uid: str) -> tuple[RunKey, ...]:
        key = self._keys.get(run_uid)
        return (key,) if key is not None else ()

    def _run_of(self, job_uid: str) -> tuple[RunKey, ...]:
        return self._run(self._run_of_job.get(job_uid, ""))

    def jobs(self, run_uid: str) -> dict[str, tuple[JobFact, ...]]:
        """The Jobs of a run by task, each with its pods in the order of their creation."""
        by_task: dict[str, list[JobFact]] = {}
        for job in self._jobs.get(run_uid, {}).values():
            by_task.setdefault(job.task, []).append(self._with_pods(job))
        return {task: tuple(jobs) for task, jobs in by_task.items()}

    def _with_pods(self, job: JobFact) -> JobFact:
        joined = self._joined.get(job.uid)
        if joined is None:
            joined = self._joined[job.uid] = replace(job, pods=self._pods_of(job.uid))
        return joined

    def _pods_of(self, job_uid: str) -> tuple[PodFact, ...]:
        pods = self._pods.get(job_uid, {}).values()
        return tuple(sorted(pods, key=lambda pod: (pod.created_at is not None, pod.created_at)))

    def job(self, run_uid: str, name: str) -> JobFact | None:
        """One Job of a run, without its pods."""
        return self._jobs.get(run_uid, {}).get(name)

    def whole_job(self, run_uid: str, name: str) -> JobFact | None:
        """One Job of a run, with its pods."""
        job = self.job(run_uid, name)
        return self._with_pods(job) if job is not None else None

    def note_refused_pods(self, run_uid: str, name: str, why: str) -> None:
        """Remember why the pod of a Job cannot be created."""
        job = self.job(run_uid, name)
        if job is not None:
            self._jobs[run_uid][name] = replace(job, pods_refused=why)
            self._joined.pop(job.uid, None)

    def note_unmounted(self, job_uid: str, pod_uid: str, why: str) -> None:
        """Remember why a volume of a pod cannot be mounted."""
        pod = self._pods.get(job_uid, {}).get(pod_uid)
        if pod is not None:
            self._pods[job_uid][pod_uid] = replace(pod, unmounted=why)
            self._joined.pop(job_uid, None)

    def note_creation(self, run_uid: str, name: str, at: datetime) -> JobFact | None:
        """Remember when we made a Job, by our clock."""
        job = self.job(run_uid, name)
        if job is not None:
            job = self._jobs[run_uid][name] = replace(job, created_at=at)
            self._joined.pop(job.uid, None)
        return job

    def children(self, run_uid: str) -> dict[str, tuple[ChildFact, ...]]:
        """The child runs of a run by task."""
        by_task: dict[str, list[ChildFact]] = {}
        for child in self._children.get(run_uid, {}).values():
            by_task.setdefault(child.task, []).append(child)
        return {task: tuple(children) for task, children in by_task.items()}

    def child(self, run_uid: str, name: str) -> ChildFact | None:
        """One child of a run."""
        return self._children.get(run_uid, {}).get(name)

    def approved_below(self, run_uid: str) -> frozenset[str]:
        """The tasks of a run in whose child runs, or in those below, a person decided."""
        return frozenset(
            child.task for child in self._children.get(run_uid, {}).values() if self._is_approved(child.uid)
        )

    def _is_approved(self, run_uid: str, deep: int = MAX_DEPTH) -> bool:
        key = self._keys.get(run_uid)
        if key is not None and self.runs[key].approved:
            return True
        below = self._children.get(run_uid, {}).values() if deep else ()
        return any(self._is_approved(child.uid, deep - 1) for child in below)

    def note_child(self, run_uid: str, name: str, at: datetime) -> ChildFact | None:
        """Remember when we made a child run, by our clock."""
        child = self.child(run_uid, name)
        if child is not None:
            child = self._children[run_uid][name] = replace(child, created_at=at)
        return child

    def compact(self, run_uid: str) -> None:
        """Drop the pods of a run that has ended and whose Jobs are finished, and what its ended children came to: no
        decision will look at them again."""
        children = self._children.get(run_uid, {})
        for child in [child for child in children.values() if child.phase.ended]:
            children[child.name] = replace(child, message="", outputs=None, outputs_ref=None)
        jobs = self._jobs.get(run_uid, {})
        if all(job.finished for job in jobs.values()):
            for job in jobs.values():
                self._forget_job(job.uid)
            self._jobs.pop(run_uid, None)

    def waiting(self) -> Iterator[Reason]:
        """Why pods do not run their containers yet, one for each; of Jobs without a pod, one for each Job."""
        for pods in self._pods.values():
            for pod in pods.values():
                if not pod.running and pod.live and pod.deleted_at is None:
                    found = evidence.liveness(pod)
                    if isinstance(found, evidence.Waiting):
                        yield found.reason
        for jobs in self._jobs.values():
            for job in jobs.values():
                if not (job.finished or job.deleting or self._pods.get(job.uid)):
                    yield evidence.no_pod(job).reason

    def known(self) -> frozenset[str]:
        """UIDs of all that is here now: to be taken before the LISTs of a sweep."""
        jobs = (job.uid for jobs in self._jobs.values() for job in jobs.values())
        pods = (uid for pods in self._pods.values() for uid in pods)
        return frozenset((*self._keys, *jobs, *pods))

    def sweep(self, known: frozenset[str], listed: Mapping[str, set[str]]) -> list[RunKey]:
        """Drop what full LISTs did not hold: a watch that broke off never tells of what was deleted meanwhile.

        `listed` maps `runs`, `jobs` and `pods` to the UIDs that exist; what was not `known` before may have been made
        after its kind was listed, and stays. Returns the runs to look at.
        """
        touched: set[RunKey] = set()
        gone = known - listed["runs"]
        for record in [record for record in self.runs.values() if record.uid in gone]:
            touched.update((record.key, *self._forget(record)))
        gone = known - listed["jobs"]
        for run_uid, jobs in self._jobs.items():
            for job in [job for job in jobs.values() if job.uid in gone]:
                del jobs[job.name]
                self._forget_job(job.uid)
                touched.update(self._run(run_uid))
        for run_uid in [uid for uid, jobs in self._jobs.items() if not jobs]:
            del self._jobs[run_uid]
        for job_uid in [uid for uid in self._pods if uid not in self._run_of_job]:
            del self._pods[job_uid]
        gone = known - listed["pods"]
        for job_uid, pods in self._pods.items():
            for pod in [pod for pod in pods.values() if pod.uid in gone and pod.terminated is None]:
                del pods[pod.uid]
                self._joined.pop(job_uid, None)
                touched.update(self._run_of(job_uid))
        return sorted(touched, key=str)


def _with_known(known: PodFact, fact: PodFact) -> PodFact:
    """The pod with what its status does not say, and with the deletion that counts: one asked for after its container
    had ended proves nothing against it, and of two the first one stopped it. What was withdrawn once stays so."""
    if fact.waiting_reason == known.waiting_reason:
        fact = replace(fact, unmounted=known.unmounted)
    if known.withdrawn:
        fact = replace(fact, withdrawn=True)
    if known.terminated is not None or known.deleted_at is not None:
        return replace(fact, deleted_at=known.deleted_at)
    return fact
