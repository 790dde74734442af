"""The Job controller of the fake cluster, after Kubernetes 1.34 `pkg/controller/job/job_controller.go`.

What is kept of it, and in its order: pod events are looked at in batches of one second; failed pods back off 10 s
doubling to 600 s; a finished pod is counted into the status and loses its finalizer before anything is declared; the
interim condition (SuccessCriteriaMet, FailureTarget) is written before pods are let go, the terminal one (Complete,
Failed) only when no pod is terminating any more. `indexed.py` has what is special
about Indexed Jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from nexus.adapters.fake import indexed
from nexus.adapters.fake.clock import Clock, Timer
from nexus.adapters.fake.objects import condition, controlled_by, copied, duplicate, owners, parsed, timestamp
from nexus.adapters.fake.pod_failure_policy import verdict
from nexus.adapters.fake.store import Store
from nexus.adapters.kube.client.api import EVENTS, JOBS, PODS, Object

FINALIZER = "batch.kubernetes.io/job-tracking"
POD_BATCH = 1.0
"""Seconds between a pod's event and the sync it causes (SyncJobBatchPeriod)."""
JOB_SYNC = 0.02
"""Seconds between a new or changed spec and its sync."""
FIRST_BACKOFF = 10.0
LONGEST_BACKOFF = 600.0
FIRST_REFUSAL_DELAY = 1.0
"""Seconds after which a refused pod is tried again, doubling to LONGEST_REFUSAL_DELAY (DefaultJobApiBackOff)."""
LONGEST_REFUSAL_DELAY = 60.0
TERMINAL = ("Succeeded", "Failed")

_Key = tuple[str, str]


@dataclass
class _Backoff:
    """How often a Job's pods failed since one succeeded, and when the last did (backoff_utils.go)."""

    failures: int = 0
    last: datetime | None = None

    def remaining(self, now: datetime) -> float:
        """Return the seconds until the next pod may be created."""
        if not self.failures or self.last is None:
            return 0.0
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self.failures - 1, 10))
        return max(0.0, delay - (now - self.last).total_seconds())


class _Sync:
    """One look at a Job: its pods, what they count for, and the end it is heading for (syncJobCtx)."""

    def __init__(self, job: Object, pods: list[Object]) -> None:
        self.job = job
        self.spec: Object = job["spec"]
        self.status: Object = duplicate(job.get("status") or {})
        self.pods = pods
        self.only_failed = self.spec["podReplacementPolicy"] == "Failed"
        self.active = [pod for pod in pods if phase(pod) not in TERMINAL and not going(pod)]
        self.terminating = sum(1 for pod in pods if phase(pod) not in TERMINAL and going(pod))
        fresh = [pod for pod in pods if FINALIZER in (pod["metadata"].get("finalizers") or [])]
        self.fresh = fresh
        self.succeeded = [pod for pod in fresh if phase(pod) == "Succeeded"]
        self.failed = [pod for pod in fresh if self.is_failed(pod)]
        self.indexes: indexed.Indexes | None = None
        if self.spec["completionMode"] == "Indexed":
            self.indexes = indexed.look(self.spec, self.status, fresh, self.failed, self.active)
        self.end: Object | None = None
        """The interim condition reached: SuccessCriteriaMet or FailureTarget."""

    def is_failed(self, pod: Object) -> bool:
        """Return whether a pod counts as failed. One that is going does at once, unless only failed pods are replaced
        (isPodFailed)."""
        return phase(pod) == "Failed" or (not self.only_failed and going(pod) and phase(pod) != "Succeeded")

    def counts(self, pod: Object) -> bool:
        """Return whether a failure counts towards backoffLimit."""
        return verdict(self.spec.get("podFailurePolicy"), pod).counts

    @property
    def done(self) -> int:
        """How many completions there are."""
        if self.indexes is not None:
            return len(self.indexes.succeeded)
        return int(self.status.get("succeeded", 0)) + len(self.succeeded)

    @property
    def held(self) -> list[Object]:
        """Failed pods that are not counted yet: their index is to be tried again."""
        return list(self.indexes.delayed.values()) if self.indexes and not self.end else []

    @property
    def suspended(self) -> bool:
        """A suspended Job has no pods."""
        return bool(self.spec.get("suspend"))


class JobController:
    """Keeps the pods of every Job of a store as its spec says, and its status as its pods say."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._timers: dict[_Key, Timer] = {}
        self._backoffs: dict[str, _Backoff] = {}
        self._generations: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self.refusal = ""
        """Why the API server takes no pods (a quota, an admission policy); empty while it does."""
        store.subscribe(JOBS, self._job_changed)
        store.subscribe(PODS, self._pod_changed)

    def _job_changed(self, type_: str, job: Object) -> None:
        if type_ == "DELETED":
            self._backoffs.pop(job["metadata"]["uid"], None)
            self._generations.pop(job["metadata"]["uid"], None)
            self.clock.after(JOB_SYNC, partial(self._let_orphans_go, job["metadata"]["namespace"]))
        else:
            # Status changes alone are its own doing mostly, and wait for the pods' events (updateJob).
            uid, generation = job["metadata"]["uid"], job["metadata"]["generation"]
            changed = self._generations.get(uid) != generation
            self._generations[uid] = generation
            self._enqueue(_key(job), JOB_SYNC if changed else POD_BATCH)

    def _pod_changed(self, _type: str, pod: Object) -> None:
        for owner in owners(pod):
            if owner.get("controller") and owner["kind"] == "Job":
                self._enqueue((pod["metadata"]["namespace"], owner["name"]), POD_BATCH)
                if not self._job_of(pod):
                    self.clock.after(JOB_SYNC, partial(self._let_orphans_go, pod["metadata"]["namespace"]))

    def _enqueue(self, key: _Key, seconds: float) -> None:
        """Sync after `seconds`; an earlier sync that is due already takes its place (the delaying work queue)."""
        timer = self._timers.get(key)
        when = self.clock.now() + timedelta(seconds=seconds)
        if timer and timer.when <= when:
            return
        if timer:
            timer.cancel()
        self._timers[key] = self.clock.at(when, partial(self._due, key))

    def _due(self, key: _Key) -> None:
        del self._timers[key]
        job = self.store.find(JOBS, *key)
        if job and not condition(job, "Complete") and not condition(job, "Failed"):
            self.sync(job)

    def sync(self, job: Object) -> None:
        """One reconciliation of a Job (syncJob)."""
        uid, namespace = job["metadata"]["uid"], job["metadata"]["namespace"]
        sync = _Sync(job, [duplicate(pod) for pod in self.store.bodies(PODS, namespace) if controlled_by(pod, uid)])
        if not sync.suspended and self._say_resumed(sync.status):
            sync.status["startTime"] = timestamp(self.clock.now())
        if not sync.suspended and "startTime" not in sync.status:
            sync.status["startTime"] = timestamp(self.clock.now())
        self._count_failures(sync)
        self._judge(sync)
        active = len(sync.active)
        if sync.end:
            self._delete(sync, sync.active)
            active = 0
        else:
            active = self._manage(sync)
            wanted = sync.spec.get("completions")
            if (sync.done >= wanted if wanted is not None else sync.done > 0) and active == 0:
                message = "Reached expected number of succeeded pods"
                sync.end = self._condition("SuccessCriteriaMet", "CompletionsReached", message)
        self._track(sync, active)

    def _count_failures(self, sync: _Sync) -> None:
        """Every failed pod delays the next one, the ignored ones too (newBackoffRecord takes them unfiltered)."""
        record = self._backoffs.setdefault(sync.job["metadata"]["uid"], _Backoff())
        if sync.succeeded:
            record.failures, record.last = 0, None
        for pod in sorted(sync.failed, key=finished_at):
            record.failures += 1
            record.last = finished_at(pod)

    def _judge(self, sync: _Sync) -> None:
        """Whether this Job is at its end, in the order in which the controller asks."""
        for entry in sync.status.get("conditions") or []:
            if entry["type"] in ("SuccessCriteriaMet", "FailureTarget") and entry["status"] == "True":
                sync.end = entry
                return
        for pod in sync.pods:
            if sync.is_failed(pod) and (message := verdict(sync.spec.get("podFailurePolicy"), pod).fails_job):
                sync.end = self._condition("FailureTarget", "PodFailurePolicy", message)
                return
        failed = sync.status.get("failed", 0) + sum(1 for pod in sync.failed if sync.counts(pod))
        deadline = sync.spec.get("activeDeadlineSeconds")
        if failed > sync.spec["backoffLimit"]:
            message = "Job has reached the specified backoff limit"
            sync.end = self._condition("FailureTarget", "BackoffLimitExceeded", message)
        elif deadline is not None and not sync.suspended:
            left = deadline - (self.clock.now() - parsed(sync.status["startTime"])).total_seconds()
            if left <= 0:
                message = "Job was active longer than specified deadline"
                sync.end = self._condition("FailureTarget", "DeadlineExceeded", message)
            else:
                self._enqueue(_key(sync.job), left)
        if sync.end is None and sync.indexes is not None and sync.indexes.failed:
            most = sync.spec.get("maxFailedIndexes")
            if most is not None and len(sync.indexes.failed) > most:
                message = "Job has exceeded the specified maximal number of failed indexes"
                sync.end = self._condition("FailureTarget", "MaxFailedIndexesExceeded", message)
            elif sync.indexes.total() >= sync.spec["completions"]:
                sync.end = self._condition("FailureTarget", "FailedIndexes", "Job has failed indexes")

    def _manage(self, sync: _Sync) -> int:
        """Create or delete pods up to the desired number; return how many are active then (manageJob)."""
        spec, active = sync.spec, len(sync.active)
        if sync.suspended:
            wanted = 0
        elif spec.get("completions") is None:
            wanted = active if sync.done else spec["parallelism"]
        else:
            wanted = max(0, min(spec["completions"] - sync.done, spec["parallelism"]))
        if active > wanted:
            surplus = sync.active[: active - wanted]
            for pod in surplus:  # before the deletion, so that no such pod counts as failed (deleteJobPods)
                self._let_go(pod)
            self._delete(sync, surplus)
            return wanted
        missing = wanted - active - (sync.terminating if sync.only_failed else 0)
        if missing > 0 and sync.indexes is not None:
            return active + self._fill(sync, sync.indexes, missing)
        if missing > 0:
            remaining = self._backoffs[sync.job["metadata"]["uid"]].remaining(self.clock.now())
            if remaining > 0:
                self._enqueue(_key(sync.job), remaining)
                return 0
            if self.refusal:
                self._say_refused(sync.job)
                return active
            for _ in range(missing):
                self._create_pod(sync.job)
            self._refusals.pop(sync.job["metadata"]["uid"], None)
            return active + missing
        return active

    def _fill(self, sync: _Sync, found: indexed.Indexes, missing: int) -> int:
        """Make pods for the first indexes that lack one; return how many were made."""
        taken = [pod for pod in sync.pods if phase(pod) not in TERMINAL]
        waits = {
            index: indexed.remaining(found, index, self.clock.now(), finished_at)
            for index in indexed.pending(found, sync.spec, taken, missing)
        }
        now = [index for index, seconds in waits.items() if not seconds]
        if not now and waits:
            self._enqueue(_key(sync.job), min(waits.values()))
        if now and self.refusal:
            self._say_refused(sync.job)
            return 0
        for index in now:
            self._create_pod(sync.job, *indexed.pod_for(sync.job, index, found))
            found.delayed.pop(index, None)
        return len(now)

    def _create_pod(
        self, job: Object, prefix: str = "", labelled: Object | None = None, spec: Object | None = None
    ) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        labelled = labelled or {key: template["metadata"].get(key, {}) for key in ("labels", "annotations")}
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": job["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            **{key: value for key, value in labelled.items() if value},
            "generateName": prefix or f"{name}-",
            "ownerReferences": [owner],
            "finalizers": [FINALIZER],
        }
        self.store.create(PODS, job["metadata"]["namespace"], {"metadata": metadata, "spec": spec or template["spec"]})

    def _say_refused(self, job: Object) -> None:
        """Note a pod that could not be created: it leaves nothing but an Event (RealPodControl.createPods)."""
        metadata = job["metadata"]
        nth = self._refusals[metadata["uid"]] = self._refusals.get(metadata["uid"], 0) + 1
        about = {key: metadata[key] for key in ("namespace", "name", "uid")}
        message = f'Error creating: pods "{metadata["name"]}-" is forbidden: {self.refusal}'
        event = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {"apiVersion": "batch/v1", "kind": "Job", **about},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": message,
            "source": {"component": "job-controller"},
        }
        self.store.create(EVENTS, metadata["namespace"], event)
        self._enqueue(_key(job), min(LONGEST_REFUSAL_DELAY, FIRST_REFUSAL_DELAY * 2.0 ** min(nth - 1, 6)))

    def _delete(self, sync: _Sync, pods: list[Object]) -> None:
        for pod in pods:
            self.store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            sync.terminating += 1

    def _track(self, sync: _Sync, active: int) -> None:
        """Count finished pods, let them go, then say the end (trackJobStatusAndRemoveFinalizers)."""
        status, end = sync.status, sync.end
        held = uids(sync.held)
        finished = [pod for pod in sync.fresh if end or phase(pod) == "Succeeded" or sync.is_failed(pod)]
        finished = [pod for pod in finished if pod["metadata"]["uid"] not in held]
        succeeded = [pod for pod in finished if phase(pod) == "Succeeded"]
        # Once the Job has failed, what still ran counts as failed, too; a pod ignored by the policy never does.
        lost = bool(end and end["type"] == "FailureTarget")
        failed = [
            pod for pod in finished if pod not in succeeded and (sync.is_failed(pod) or lost) and sync.counts(pod)
        ]
        set_or_drop(status, "active", active)
        status["ready"] = 0 if end else sum(1 for pod in sync.active if is_ready(pod))
        status["terminating"] = sync.terminating
        uncounted = {"succeeded": uids(succeeded), "failed": uids(failed)}
        status["uncountedTerminatedPods"] = {key: found for key, found in uncounted.items() if found}
        if end and end not in status.setdefault("conditions", []):
            status["conditions"].append(end)
        if sync.suspended and not end:
            self._say_suspended(status)
        if sync.indexes is not None:
            set_or_drop(status, "completedIndexes", indexed.notation(sync.indexes.succeeded))
            if "backoffLimitPerIndex" in sync.spec:
                status["failedIndexes"] = indexed.notation(sync.indexes.failed)
        self._write(sync.job, status)
        for pod in finished:
            self._let_go(pod)
        for field, found in uncounted.items():
            set_or_drop(status, field, status.get(field, 0) + len(found))
        if sync.indexes is not None:
            set_or_drop(status, "succeeded", len(sync.indexes.succeeded))
        status["uncountedTerminatedPods"] = {}
        if end and not sync.terminating:
            failing = end["type"] == "FailureTarget"
            final = self._condition("Failed" if failing else "Complete", end["reason"], end["message"])
            status["conditions"].append(final)
            if not failing:
                status["completionTime"] = final["lastTransitionTime"]
        self._write(sync.job, status)

    def _say_suspended(self, status: Object) -> None:
        conditions = status.setdefault("conditions", [])
        if not any(entry["type"] == "Suspended" and entry["status"] == "True" for entry in conditions):
            conditions[:] = [entry for entry in conditions if entry["type"] != "Suspended"]
            conditions.append(self._condition("Suspended", "JobSuspended", "Job suspended"))

    def _say_resumed(self, status: Object) -> bool:
        """Return whether the Job was suspended until now; its deadline counts anew from here."""
        held = [entry for entry in status.get("conditions") or () if entry["type"] == "Suspended"]
        if not held or held[0]["status"] != "True":
            return False
        told = self._condition("Suspended", "JobResumed", "Job resumed") | {"status": "False"}
        held[0].update(told)
        return True

    def _write(self, job: Object, status: Object) -> None:
        def edit(body: Object) -> None:
            body["status"] = copied(status)

        self.store.change(JOBS, *_key(job), edit)

    def _let_go(self, pod: Object) -> None:
        """Remove the tracking finalizer; a pod that was being deleted is gone with it once it has stopped."""

        def edit(body: Object) -> None:
            body["metadata"]["finalizers"] = [
                text for text in body["metadata"].get("finalizers") or [] if text != FINALIZER
            ]
            if not body["metadata"]["finalizers"]:
                del body["metadata"]["finalizers"]

        if self.store.find(PODS, *_key(pod)):
            self.store.change(PODS, *_key(pod), edit)

    def _let_orphans_go(self, namespace: str) -> None:
        """Pods whose Job is gone keep no finalizer (syncOrphanPod)."""
        for pod in list(self.store.bodies(PODS, namespace)):
            if FINALIZER in (pod["metadata"].get("finalizers") or []) and not self._job_of(pod):
                self._let_go(pod)

    def _job_of(self, pod: Object) -> Object | None:
        for owner in owners(pod):
            job = self.store.find(JOBS, pod["metadata"]["namespace"], owner["name"])
            if job and job["metadata"]["uid"] == owner["uid"]:
                return job
        return None

    def _condition(self, kind: str, reason: str, message: str) -> Object:
        now = timestamp(self.clock.now())
        return {
            "type": kind,
            "status": "True",
            "lastProbeTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }


def phase(pod: Object) -> str:
    """Return the phase of a pod."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def going(pod: Object) -> bool:
    """Return whether it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def finished_at(pod: Object) -> datetime:
    """Return when a finished pod's containers ended, else when it was asked to go, else its creation
    (getFinishedTime)."""
    ends = [
        entry["state"].get("terminated", {}).get("finishedAt") for entry in pod["status"].get("containerStatuses") or []
    ]
    if ends and all(ends):
        return max(parsed(end) for end in ends)
    if going(pod):
        grace = timedelta(seconds=pod["metadata"].get("deletionGracePeriodSeconds", 0))
        return parsed(pod["metadata"]["deletionTimestamp"]) - grace
    return parsed(pod["metadata"]["creationTimestamp"])


def is_ready(pod: Object) -> bool:
    """Return whether its containers run (a pod of ours has no readiness probe)."""
    return all(entry["ready"] for entry in pod.get("status", {}).get("containerStatuses") or [{"ready": False}])


def uids(pods: list[Object]) -> list[str]:
    """Return the UIDs of pods."""
    return [str(pod["metadata"]["uid"]) for pod in pods]


def set_or_drop(status: Object, field: str, value: int | str) -> None:
    """Go leaves a zero or an empty text of an omitempty field out."""
    if value:
        status[field] = value
    else:
        status.pop(field, None)


def _key(body: Object) -> _Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]
