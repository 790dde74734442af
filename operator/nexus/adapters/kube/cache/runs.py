"""The cache: what the watches have shown, as small frozen records keyed by run.

It is behind the truth by design. Nothing irreversible is decided from an absence in it (see Place.view).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from nexus.adapters.kube.cache.child_facts import child_fact
from nexus.adapters.kube.cache.live_pods import LivePods
from nexus.adapters.kube.cache.parse import job_fact
from nexus.adapters.kube.cache.pods import Pods
from nexus.adapters.kube.cache.records import RunRecord, run_record, without_details
from nexus.adapters.kube.owners import owner_uid
from nexus.api.reasons import Reason
from nexus.core.model.facts import ChildFact, JobFact
from nexus.core.tasks import evidence, identity
from nexus.core.tasks.identity import Makes, Sorted
from nexus.runtime.ports import RunKey

Object = Mapping[str, Any]


class Cache:
    """Runs, Jobs and pods. Each `see_…` takes a watch event's object and returns the runs to look at: none where
    nothing changed that a decision depends on, of a child run itself and its parent."""

    def __init__(self) -> None:
        self.runs: dict[RunKey, RunRecord] = {}
        self._keys: dict[str, RunKey] = {}
        # What says it is a run's, by the UID of the run. Who counts, nexus.core.tasks.identity says at each look: a Job
        # may be seen before its run, and what a run's tasks make is known last.
        self._children: dict[str, dict[RunKey, ChildFact]] = {}
        self._jobs: dict[str, dict[RunKey, JobFact]] = {}
        self._expected: dict[str, Mapping[str, Makes]] = {}
        self._vouched: dict[str, set[str]] = {}
        self._job_versions: dict[str, int] = {}
        self._homes: dict[str, tuple[str, RunKey]] = {}
        """Of which run each Job says it is, and where it lies, by the UID of the Job."""
        self._pods = Pods()
        # Jobs with their pods in them, as decisions take them: of the hundreds of a run one or two change at a time.
        self._joined: dict[str, JobFact] = {}
        self.live = LivePods()
        self.forgotten: Callable[[RunKey, str], None] = lambda _key, _uid: None
        """Called with the key and UID of each run that is dropped, however it went."""
        self.objects: Counter[str] = Counter()
        """By namespace, how many objects runs and what they made are, about."""

    def see_run(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """Take in a WorkflowRun that was listed, changed or deleted, or came back as the answer to a write of ours."""
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
        if known is not None and same and known.parent != record.parent:
            parents += self._let_go(known)
        parents += self._see_child(record, body)
        # Only now: what of a child's end its parent has to know is with the parent's children.
        self.runs[key] = without_details(record)
        self.objects[key.namespace] += record.objects - (known.objects if known is not None and same else 0)
        self._keys[record.uid] = record.key
        return tuple(dict.fromkeys((record.key, *parents)))

    def _see_child(self, record: RunRecord, body: Object) -> tuple[RunKey, ...]:
        """Note what the parent of a run has to know of it; the parent, where that is news."""
        if not record.parent:
            return ()
        siblings = self._children.setdefault(record.parent, {})
        known = siblings.get(record.key)
        known = known if known is not None and known.uid == record.uid else None
        cancel = record.spec.cancel if record.spec is not None else None
        fact = child_fact(body, record.created_at, record.status, cancel, known)
        if fact is None:
            return ()
        if known is not None:
            # The creation time that we saw by our own clock has milliseconds; the server's has not.
            fact = replace(fact, created_at=known.created_at)
        siblings[record.key] = fact
        return self._run(record.parent) if fact != known else ()

    def _forget(self, record: RunRecord) -> tuple[RunKey, ...]:
        """Drop a run and all that is its; returns its parent."""
        if self.runs.pop(record.key, None) is not None:
            self.objects[record.key.namespace] -= record.objects
        for known in (self._keys, self._children, self._expected, self._vouched):
            known.pop(record.uid, None)
        self.forgotten(record.key, record.uid)
        for job in self._jobs.pop(record.uid, {}).values():
            self._forget_job(job.uid)
        return self._let_go(record)

    def _let_go(self, record: RunRecord) -> tuple[RunKey, ...]:
        """Drop a run from among the children of its parent, which is returned."""
        siblings = self._children.get(record.parent, {})
        if record.key in siblings and siblings[record.key].uid == record.uid:
            del siblings[record.key]
            if not siblings:
                del self._children[record.parent]
        return self._run(record.parent)

    def _forget_job(self, uid: str) -> None:
        self._homes.pop(uid, None)
        self._job_versions.pop(uid, None)
        self._pods.forget(uid)
        self._joined.pop(uid, None)
        self.live.drop(uid)

    def see_job(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """Take in a Job that was listed, changed or deleted, or came back as the answer to its creation."""
        run_uid, fact = owner_uid(body, "WorkflowRun"), job_fact(body)
        uid = body["metadata"]["uid"]
        orphaned = self.drop_job(uid) if uid in self._homes and self._homes[uid][0] != run_uid else ()
        if run_uid is None or fact is None:
            return orphaned
        jobs = self._jobs.get(run_uid, {})
        key = RunKey(fact.namespace, fact.name)
        known = jobs.get(key)
        version = int(body["metadata"]["resourceVersion"])
        if known is not None and known.uid == fact.uid and version < self._job_versions.get(fact.uid, 0):
            return ()
        if gone:
            return self.drop_job(uid)
        if known is not None and known.uid == fact.uid:
            # The creation time that we saw by our own clock has milliseconds; the server's has not.
            fact = replace(fact, created_at=known.created_at, pods_refused=known.pods_refused)
        home = self._keys.get(run_uid)
        if fact.finished and home is not None and self.runs[home].ended:
            jobs.pop(key, None)
            self._forget_job(fact.uid)
            return ()
        if known is not None and known.uid != fact.uid:
            self._forget_job(known.uid)
        self._jobs.setdefault(run_uid, {})[key] = fact
        self._joined.pop(fact.uid, None)
        self._job_versions[fact.uid] = version
        self._homes[fact.uid] = (run_uid, key)
        self._count(run_uid, fact)
        return (*orphaned, *(self._run(run_uid) if fact != known else ()))

    def drop_job(self, uid: str) -> tuple[RunKey, ...]:
        """Drop a Job that is gone, or another's; returns the run that it was of."""
        if uid not in self._homes:
            return ()
        run_uid, key = self._homes[uid]
        jobs = self._jobs.get(run_uid, {})
        if key in jobs and jobs[key].uid == uid:  # another one may have its name by now
            del jobs[key]
            if not jobs:
                del self._jobs[run_uid]
        self._forget_job(uid)
        return self._run(run_uid)

    def _count(self, run_uid: str, job: JobFact) -> None:
        """Count the pods of a Job, unless it is known already not to be its run's."""
        home = self._keys.get(run_uid)
        if self.live.limit and job.task and (home is None or home.namespace == job.namespace):
            self.live.note(self._with_pods(job))

    def see_pod(self, body: Object, *, gone: bool = False) -> tuple[RunKey, ...]:
        """Take in a pod that was listed, changed or deleted."""
        job_uid = owner_uid(body, "Job")
        if job_uid is None:
            return ()
        run_uid, home = self._homes.get(job_uid, ("", None))
        news = self._pods.see(body, job_uid, home.namespace if home is not None else None, gone=gone)
        if not news:
            return ()
        self._joined.pop(job_uid, None)
        job = self._jobs.get(run_uid, {}).get(home) if home is not None else None
        if job is not None and job.uid == job_uid:
            self._count(run_uid, job)
        return self._run(run_uid)

    def _run(self, run_uid: str) -> tuple[RunKey, ...]:
        key = self._keys.get(run_uid)
        return (key,) if key is not None else ()

    def expect(self, run_uid: str, tasks: Mapping[str, Makes]) -> None:
        """Note what the tasks of a run make, by its definition."""
        self._expected[run_uid] = tasks

    def sorted(self, run_uid: str) -> Sorted:
        """Return what says it is a run's: the Jobs that are, each with its pods in the order of their creation, and the
        child runs, by task; and what can never be."""
        jobs = [self._with_pods(job) for job in self._jobs.get(run_uid, {}).values()]
        found = self._sort(run_uid, jobs, self._children.get(run_uid, {}).values())
        pods = (self._pods.forged(job) for own in found.jobs.values() for job in own)
        return replace(found, forged=(*found.forged, *(one for some in pods for one in some)))

    def _sort(self, run_uid: str, jobs: Iterable[JobFact], children: Iterable[ChildFact]) -> Sorted:
        key = self._keys.get(run_uid)
        if key is None:
            return Sorted()
        record = self.runs[key]
        jobs, children = tuple(jobs), tuple(children)
        tasks = self._expected.get(run_uid) or identity.expected_of(record.status, (*jobs, *children))
        return identity.sort(record.fact(), record.status, tasks, jobs, children)

    def jobs(self, run_uid: str) -> Mapping[str, tuple[JobFact, ...]]:
        """Return the Jobs of a run by task, each with its pods in the order of their creation."""
        jobs = [self._with_pods(job) for job in self._jobs.get(run_uid, {}).values()]
        return self._sort(run_uid, jobs, ()).jobs

    def _with_pods(self, job: JobFact) -> JobFact:
        joined = self._joined.get(job.uid)
        if joined is None:
            joined = self._joined[job.uid] = replace(job, pods=self._pods.of(job))
        return joined

    def job(self, run_uid: str, name: str) -> JobFact | None:
        """Return one Job of a run, without its pods."""
        claim = self._jobs.get(run_uid, {}).get(self._key_of(run_uid, name))
        found = self._sort(run_uid, (claim,), ()).jobs if claim is not None else {}
        return next((job for jobs in found.values() for job in jobs), None)

    def _key_of(self, run_uid: str, name: str) -> RunKey:
        """Return where an object of a run lies."""
        home = self._keys.get(run_uid)
        return RunKey(home.namespace if home is not None else "", name)

    def whole_job(self, run_uid: str, name: str) -> JobFact | None:
        """Return one Job of a run, with its pods."""
        job = self.job(run_uid, name)
        return self._with_pods(job) if job is not None else None

    def note_refused_pods(self, run_uid: str, name: str, why: str) -> None:
        """Remember why the pod of a Job cannot be created."""
        self._note_job(run_uid, name, pods_refused=why)

    def note_unmounted(self, job_uid: str, pod_uid: str, why: str) -> None:
        """Remember why a volume of a pod cannot be mounted."""
        self._pods.note_unmounted(job_uid, pod_uid, why)
        self._joined.pop(job_uid, None)

    def note_creation(self, run_uid: str, name: str, at: datetime) -> JobFact | None:
        """Remember when we made a Job, by our clock."""
        return self._note_job(run_uid, name, created_at=at)

    def _note_job(self, run_uid: str, name: str, **known: Any) -> JobFact | None:
        job = self.job(run_uid, name)
        if job is not None:
            job = self._jobs[run_uid][self._key_of(run_uid, name)] = replace(job, **known)
            self._joined.pop(job.uid, None)
        return job

    def child(self, run_uid: str, name: str) -> ChildFact | None:
        """Return one child of a run."""
        claim = self._children.get(run_uid, {}).get(self._key_of(run_uid, name))
        found = self._sort(run_uid, (), (claim,)).children if claim is not None else {}
        return next((child for children in found.values() for child in children), None)

    def vouch(self, run_uid: str, children: Iterable[str]) -> None:
        """Remember the UIDs of child runs that are what their tasks start."""
        self._vouched.setdefault(run_uid, set()).update(children)

    def vouched(self, run_uid: str) -> frozenset[str]:
        """Return those of a run."""
        return frozenset(self._vouched.get(run_uid, ()))

    def home(self, run_uid: str) -> RunKey | None:
        """Return where a run lies, None where it is not known."""
        return self._keys.get(run_uid)

    def note_child(self, run_uid: str, name: str, at: datetime) -> ChildFact | None:
        """Remember when we made a child run, by our clock."""
        child = self.child(run_uid, name)
        if child is not None:
            child = self._children[run_uid][self._key_of(run_uid, name)] = replace(child, created_at=at)
        return child

    def compact(self, run_uid: str) -> None:
        """Drop the pods of a run that has ended and whose Jobs are finished, and the outputs of its ended children: no
        decision will look at them again."""
        children = self._children.get(run_uid, {})
        for key in [key for key, child in children.items() if child.phase.ended]:
            children[key] = replace(children[key], message="", outputs=None, outputs_ref=None)
        self._expected.pop(run_uid, None)
        self._vouched.pop(run_uid, None)
        jobs = self._jobs.get(run_uid, {})
        if all(job.finished for own in self.jobs(run_uid).values() for job in own):
            for job in jobs.values():
                self._forget_job(job.uid)
            self._jobs.pop(run_uid, None)

    def waiting(self) -> Iterator[Reason]:
        """Yield why pods do not run their containers yet, one for each; of Jobs without a pod, one for each Job."""
        for pod in self._pods.all():
            if not pod.running and pod.live and pod.deleted_at is None:
                found = evidence.liveness(pod)
                if isinstance(found, evidence.Waiting):
                    yield found.reason
        for jobs in self._jobs.values():
            for job in jobs.values():
                if not (job.finished or job.deleting or any(self._pods.claimed(job.uid))):
                    yield evidence.no_pod(job).reason

    def known(self) -> frozenset[str]:
        """Return the UIDs of all that is here now: to be taken before the LISTs of a sweep."""
        jobs = (job.uid for jobs in self._jobs.values() for job in jobs.values())
        pods = (pod.uid for pod in self._pods.all())
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
            for key in [key for key, job in jobs.items() if job.uid in gone]:
                self._forget_job(jobs.pop(key).uid)
                touched.update(self._run(run_uid))
        for run_uid in [uid for uid, jobs in self._jobs.items() if not jobs]:
            del self._jobs[run_uid]
        for job_uid in self._pods.sweep(known - listed["pods"], self._homes):
            self._joined.pop(job_uid, None)
            touched.update(self._run(self._homes[job_uid][0]))
        return sorted(touched, key=str)
