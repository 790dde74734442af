"""Stop: cancel, the run's deadline and FailFast end what has not ended.

Stopping only changes the status. The Jobs are deleted after it is written (see `stray_jobs`), so an operator that
dies in between never finds a Job gone without the reason on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import Cancel, TaskStatus
from nexus.core.model.facts import Facts, JobFact
from nexus.core.model.plan import CancelRun, StopJob
from nexus.core.tasks.child_run import stray_children
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.fanout.collect import close
from nexus.core.tasks.item_tally import is_idle


def stop(draft: PlanDraft, started_at: datetime) -> None:
    """Apply whichever of the three holds; the first that does decides the words. Tasks of `finally` are spared by all
    but an Immediate cancel: they start when all others have ended, in whatever way."""
    cancel = draft.facts.run.cancel
    if cancel is not None:
        final = cancel is Cancel.IMMEDIATE
        _end_all(draft, TaskPhase.CANCELLED, Reason.CANCELLED, "the run was cancelled", final=final)
        return
    seconds = draft.definition.spec.deadline_seconds
    if seconds is not None:
        deadline = started_at + timedelta(seconds=seconds)
        if draft.now >= deadline:
            words = f"the run exceeded deadlineSeconds ({seconds})"
            _end_all(draft, TaskPhase.FAILED, Reason.DEADLINE_EXCEEDED, words)
            return
        draft.wakes.append(deadline)
    fail_fast(draft)


def fail_fast(draft: PlanDraft) -> bool:
    """Under failurePolicy FailFast, end everything once a task has failed. True where it did."""
    if not draft.definition.fail_fast:
        return False
    nodes = draft.definition.nodes
    failed = next((name for name in nodes if not nodes[name].final and draft.counted(name) is TaskPhase.FAILED), None)
    if failed is None:
        return False
    _end_all(draft, TaskPhase.CANCELLED, Reason.FAIL_FAST, f"task {failed} failed and failurePolicy is FailFast")
    return True


def _end_all(draft: PlanDraft, started: TaskPhase, reason: Reason, message: str, *, final: bool = False) -> None:
    """End started tasks in the phase `started` and the others Omitted, those of `finally` only where `final`."""
    draft.starts.clear()
    draft.raises.clear()
    draft.tasks.update(draft.planned)
    nodes = draft.definition.nodes
    open_ = [task for task in draft.tasks.values() if not task.phase.ended and (final or not nodes[task.name].final)]
    for task in open_:
        if task.start_time is not None and task.items is not None:
            close(draft, draft.definition.nodes[task.name], started, reason, message, broken_off=True)
            continue
        draft.end(task.name, TaskPhase.OMITTED if task.start_time is None else started, reason, message)
    if open_:
        draft.stopped = (reason, message)


def stray_jobs(tasks: Iterable[TaskStatus], jobs: Mapping[str, tuple[JobFact, ...]]) -> tuple[StopJob, ...]:
    """Jobs that still run, or may, though their task has ended.

    Of a success, or of code that exited 0 and left an output that does not count, only a Job that shows a live pod
    again (its node was lost after the container had ended) is one, or that is held back (let go, it would make another
    pod): the others finish by themselves within seconds, and their logs stay.
    """
    stops = []
    for task in tasks:
        if not task.phase.ended:
            continue
        for job in jobs.get(task.name, ()):
            ends_well = task.phase is TaskPhase.SUCCEEDED or (task.phase is TaskPhase.FAILED and _exited_well(job))
            current = ends_well and task.job is not None and task.job.name == job.name
            idle = current and not any(pod.live for pod in job.pods) if not job.of_items else is_idle(job)
            if not (job.finished or job.deleting) and (job.suspended or not idle):
                stops.append(StopJob(task.name, job.name, job.uid))
    return tuple(stops)


def _exited_well(job: JobFact) -> bool:
    """Return whether the Job controller makes no further pod of it: one has exited 0."""
    unasked = (pod for pod in job.pods if pod.phase != "Failed" and pod.deleted_at is None)
    return any(pod.terminated is not None and pod.terminated.exit_code == 0 for pod in unasked)


def left_over(tasks: Sequence[TaskStatus], facts: Facts) -> tuple[tuple[StopJob, ...], tuple[CancelRun, ...]]:
    """Return what is to be stopped and cancelled of a run that has ended. Of tasks that its status has no entry for,
    all: it ended before one was written, or had no room for them."""
    known = {task.name for task in tasks}
    ended = [TaskStatus(name=name, phase=TaskPhase.FAILED) for name in {*facts.jobs, *facts.children} - known]
    everything = [*tasks, *ended]
    return stray_jobs(everything, facts.jobs), stray_children(everything, facts)
