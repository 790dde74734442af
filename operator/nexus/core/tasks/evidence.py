"""Evidence: what the Job of an attempt and its pods prove about it.

The fast path: the container `task` terminated with exit code 0 in a pod that was not being deleted or disrupted.
The Job's conditions are the backstop and, for failures, the judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nexus.api.reasons import Reason
from nexus.api.run import ApprovalRequest
from nexus.core.data.outputs import error_of, is_kept, retry_after_of
from nexus.core.model.facts import JobFact, PodFact, Terminated
from nexus.core.task_types.exit_codes import OUTPUT_REFUSED


@dataclass(frozen=True, slots=True)
class Active:
    """User code may be running."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The Job controller waits before the next pod of the same Job. `last` is None where the failed pod is gone."""

    last: Failed | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The pod cannot start its container yet; `since` starts the start timeout, None where it has none."""

    reason: Reason
    message: str
    since: datetime | None
    hopeless: bool = False
    """True where waiting cannot help."""
    approval: ApprovalRequest | None = None
    """The approval that a child run is waiting for."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt succeeded; its output is in this pod's message."""

    pod: PodFact


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. `free` attempts are replaced without counting; `final` ones are never retried."""

    reason: Reason
    message: str
    exit_code: int | None = None
    at: datetime | None = None
    final: bool = False
    free: bool = False
    retry_after: int | None = None
    """Seconds that a server asked to wait before the next attempt."""


Evidence = Active | Backoff | Waiting | Succeeded | Failed

IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
# What runc says where the entrypoint is missing or not executable for the user.
NO_COMMAND = ("executable file not found", "no such file or directory", "permission denied", "exec format error")
# What a shell exits with: 126 where it may not execute the command, 127 where there is none.
NO_COMMAND_CODES = (126, 127)
# What Pod Security's admission says of a pod that may run as root.
ROOT_REFUSED = re.compile(r"violates PodSecurity .*(runAsNonRoot|runAsUser)")
# What the kubelet says where a volume's ConfigMap, Secret or a key of it is missing.
NO_CONFIG = re.compile(r"(configmap|secret) \"[^\"]*\" not found|references non-existent (config|secret) key")
# Killed by SIGKILL, ended by SIGTERM.
STOPPED = (137, 143)


def judge(job: JobFact, timeout_seconds: int | None = None, *, stores: bool = False) -> Evidence:
    """Return what is proven about the attempt of this Job; `timeout_seconds` is what one pod may take,
    `stores` whether it has not succeeded before what it left is in the output store."""
    success = next((pod for pod in job.pods if finished_well(pod, job, timeout_seconds, stores=stores)), None)
    if success is not None:
        return Succeeded(success)
    job = _without_withdrawn(job)
    if job.failure:
        return _failure(job)
    if job.complete:
        return _doubtful_success(job)
    if job.suspended and not job.failing:
        return no_pod(job)
    live = [pod for pod in job.pods if pod.live and pod.deleted_at is None]
    if live:
        return liveness(live[-1])
    held = [pod for pod in job.pods if pod.phase not in ("Succeeded", "Failed") and _is_held(pod)]
    if held:
        return liveness(replace(held[-1], scheduled_at=end_time(held[-1])))
    failures = [pod for pod in job.pods if pod.phase == "Failed" and pod.disrupted_at is None]
    undecided = job.failing or any(pod.phase not in ("Succeeded", "Failed") for pod in job.pods)
    if undecided or len(failures) > job.failed:
        return Active()  # it is being stopped, or the Job controller has not counted it yet
    if job.failed:
        return Backoff(of_pod(max(failures, key=end_of)) if failures else None)
    return Active() if job.pods else no_pod(job)


def _is_held(pod: PodFact) -> bool:
    """Return whether the code has ended, and the container that stores what it left cannot start."""
    cannot = pod.waiting_reason in IMAGE_REASONS or pod.waiting_reason == "CreateContainerConfigError"
    return cannot and pod.terminated is not None and pod.deleted_at is None


def end_time(pod: PodFact) -> datetime | None:
    """Return when its code ended."""
    return pod.terminated.finished_at if pod.terminated is not None else None


def _without_withdrawn(job: JobFact) -> JobFact:
    return replace(job, pods=tuple(pod for pod in job.pods if not pod.withdrawn)) if job.pods else job


def finished_well(pod: PodFact, job: JobFact, timeout_seconds: int | None, *, stores: bool = False) -> bool:
    """Return whether a pod exited with code 0 without having been asked to stop: a process that exits 0 on SIGTERM
    proves nothing.

    Kubernetes' times have whole seconds, so "in the same second" counts as asked. The kubelet asks too, when the
    attempt's time is over, and leaves no sign of it before the pod's phase: past the timeout only the phase decides.
    """
    if pod.terminated is None or pod.terminated.exit_code != 0 or pod.phase == "Failed":
        return False
    if (stores or is_kept(pod.terminated.message)) and (pod.transfer is None or pod.transfer.exit_code != 0):
        return False
    ended = pod.terminated.finished_at
    if any(asked is not None and (ended is None or ended >= asked) for asked in (pod.deleted_at, pod.disrupted_at)):
        return False
    if timeout_seconds is None or pod.phase == "Succeeded" or job.complete:
        return True
    began = pod.scheduled_at or pod.created_at
    return began is None or (ended is not None and ended < began + timedelta(seconds=timeout_seconds))


def liveness(pod: PodFact) -> Active | Waiting:
    """Return whether the container of a live pod runs, and if not, why."""
    if pod.running:
        return Active()
    if pod.unschedulable:
        return Waiting(Reason.UNSCHEDULABLE, pod.unschedulable, since=None)
    since = pod.scheduled_at or pod.created_at
    if pod.waiting_reason in IMAGE_REASONS:
        return Waiting(
            Reason.IMAGE_PULL,
            pod.waiting_message or pod.waiting_reason,
            since,
            hopeless=pod.waiting_reason in ("InvalidImageName", "ErrImageNeverPull"),
        )
    if pod.waiting_reason == "CreateContainerConfigError":
        if "runAsNonRoot" in pod.waiting_message:
            return Waiting(
                Reason.RUNS_AS_ROOT,
                f"{pod.waiting_message}; use an image with a numeric non-root USER",
                since,
                hopeless=True,
            )
        return Waiting(Reason.MISSING_CONFIG, pod.waiting_message, since)
    if pod.unmounted:
        missing = NO_CONFIG.search(pod.unmounted) is not None
        return Waiting(Reason.MISSING_CONFIG if missing else Reason.STARTING, pod.unmounted, since)
    return Waiting(Reason.STARTING, pod.waiting_message or pod.waiting_reason or "the pod is starting", since)


def no_pod(job: JobFact) -> Waiting:
    """Return why a Job has no pod."""
    if job.suspended:
        return Waiting(
            Reason.QUEUED, "the Job is suspended (for example by Kueue, until its quota has room)", since=None
        )
    if "exceeded quota" in job.pods_refused:
        return Waiting(Reason.QUOTA_EXCEEDED, job.pods_refused, since=None)
    if ROOT_REFUSED.search(job.pods_refused):
        return Waiting(
            Reason.RUNS_AS_ROOT,
            f"the namespace's Pod Security forbids pod.runAsUser: 0: {job.pods_refused}",
            since=job.created_at,
            hopeless=True,
        )
    if job.pods_refused:
        return Waiting(Reason.POD_REFUSED, job.pods_refused, since=job.created_at)
    return Waiting(Reason.STARTING, "the Job has no pod yet", since=None)


def _doubtful_success(job: JobFact) -> Failed:
    """Judge a Job that is Complete although no pod proves it."""
    asked = next((pod for pod in job.pods if pod.terminated is not None and pod.terminated.exit_code == 0), None)
    if asked is None:
        return Failed(
            Reason.OUTPUT_LOST,
            "the pod was removed before its output was recorded",
            at=job.finished_at,
            free=True,
        )
    if asked.disrupted_at is not None:
        return Failed(
            Reason.EVICTED,
            "the pod was disrupted (drain or preemption) and its process exited 0 when asked to stop",
            exit_code=0,
            at=job.finished_at,
            free=True,
        )
    return Failed(
        Reason.POD_DELETED,
        "the pod was deleted and its process exited 0 when asked to stop",
        exit_code=0,
        at=job.finished_at,
    )


def _failure(job: JobFact) -> Failed:
    """Return why a Failed Job failed: its last pod knows best, except about the Job's own deadline."""
    if job.failure == "DeadlineExceeded":
        return Failed(Reason.DEADLINE_EXCEEDED, "the task exceeded deadlineSeconds", at=job.finished_at, final=True)
    ended = [pod for pod in job.pods if pod.terminated is not None or pod.phase == "Failed"]
    if not ended:
        return Failed(Reason.POD_DELETED, "the pod was deleted while the task ran", at=job.finished_at)
    failure = of_pod(max(ended, key=end_of))
    final = failure.final or job.failure == "PodFailurePolicy"
    return replace(failure, at=failure.at or job.finished_at, final=final)


def end_of(pod: PodFact) -> tuple[bool, float]:
    """Return what orders pods by the ends of their containers; those without a known end come first."""
    ended = pod.terminated.finished_at if pod.terminated else None
    return (ended is not None, ended.timestamp() if ended else 0.0)


def of_pod(pod: PodFact) -> Failed:
    """Return why the container of one pod failed, in words for its author."""
    ended = pod.terminated
    code, at = (ended.exit_code, ended.finished_at) if ended else (None, None)
    if pod.reason == "DeadlineExceeded":
        return Failed(Reason.TIMEOUT, "the attempt exceeded timeoutSeconds", code, at)
    if ended is not None and ended.reason == "OOMKilled":
        return Failed(Reason.OUT_OF_MEMORY, "the container exceeded its memory limit and was killed", code, at)
    if pod.reason == "Evicted":
        return Failed(Reason.EVICTED, "the kubelet evicted the pod: its node ran out of memory or disk", code, at)
    if pod.disrupted_at is not None:
        return Failed(Reason.EVICTED, "the pod was disrupted (drain or preemption)", code, at)
    if pod.deleted_at is not None and code in (None, *STOPPED):
        return Failed(Reason.POD_DELETED, "the pod was deleted while the task ran", code, at)
    if pod.transfer is not None and pod.transfer.exit_code != 0 and code in (None, 0):
        return _of_transfer(pod.transfer)
    if ended is None:
        return Failed(Reason.EVICTED, f"the pod failed before its container started: {pod.reason or 'no reason given'}")
    if ended.reason in ("StartError", "ContainerCannotRun"):
        absent = any(sign in ended.message for sign in NO_COMMAND)
        reason = Reason.COMMAND_NOT_FOUND if absent else Reason.TASK_ERROR
        return Failed(reason, f"the container could not be started: {_end_of(ended.message)}", code, at)
    sentence, reason_given = error_of(ended.message)
    if code == OUTPUT_REFUSED and reason_given is not None:
        return Failed(reason_given, sentence, code, at, final=True)
    reason = Reason.COMMAND_NOT_FOUND if code in NO_COMMAND_CODES else Reason.TASK_ERROR
    return Failed(reason, sentence or f"exit code {code}", code, at, retry_after=retry_after_of(ended.message))


def _of_transfer(ended: Terminated) -> Failed:
    """Return why data could not be moved, in the store's own words."""
    sentence, reason = error_of(ended.message)
    if ended.reason == "OOMKilled":
        sentence = "the data transfer container exceeded its memory limit and was killed"
    words = sentence or f"the data transfer container ended with exit code {ended.exit_code}"
    final = reason in (Reason.ARTIFACT_MISSING, Reason.INVALID_OUTPUT)  # the task's own: it would leave the same again
    return Failed(reason or Reason.STORE_FAILED, words, ended.exit_code, ended.finished_at, final=final)


def with_number(failure: Failed, timeout_seconds: int | None) -> Failed:
    """Return a failure in the words of its task: a pod does not say how long it might have taken."""
    if failure.reason is not Reason.TIMEOUT:
        return failure
    return replace(failure, message=f"{failure.message} ({timeout_seconds})")


def _end_of(text: str) -> str:
    """Return the kubelet's own words, which come last in a chain of wrapped errors; 300 characters are enough of
    them."""
    return text.strip()[-300:]
