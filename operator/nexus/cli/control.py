"""Commands that steer a run in the cluster: approve, cancel, suspend, resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nexus.adapters.kube.client.api import (
    SELF_SUBJECT_REVIEWS,
    WORKFLOW_RUNS,
    Conflict,
    Invalid,
    KubeApi,
    NotFound,
    Object,
)
from nexus.api.run import Approval, ApprovalRequest, Cancel, Decision, TaskStatus
from nexus.cli.cluster import found
from nexus.cli.ending import Exit, UsageError
from nexus.cli.follow import has_ended, status_of
from nexus.cli.terminal import say
from nexus.cli.words import why
from nexus.core.tasks.approval import asks, command, requested
from nexus.core.text.similar_names import closest, did_you_mean

# The operator writes the status of a run that is under way again and again, and each write is a conflict.
_TRIES = 20
_LONGEST_COMMENT = 500


async def approve(
    api: KubeApi, namespace: str, name: str, task: str, *, reject: bool, comment: str, now: datetime | None = None
) -> Exit:
    """Decide about a task that waits for it."""
    if len(comment) > _LONGEST_COMMENT:
        raise UsageError(f"--comment: must be at most {_LONGEST_COMMENT} characters, got {len(comment)}")
    decision = Decision.REJECTED if reject else Decision.APPROVED
    # First that it can be decided, and only then who does it.
    _waiting(await _open(api, namespace, name, f"nothing in it can be {decision.value.lower()}"), task)
    approval = Approval(
        task=task,
        decision=decision,
        by=(await _user(api))[:253],
        comment=comment or None,
        time=now or datetime.now(UTC),
    )

    def change(run: Object) -> Object:
        _waiting(run, task)
        return {"approvals": [*(run["spec"].get("approvals") or ()), approval.to_json()]}

    await _patch(api, namespace, name, change, f"nothing in it can be {decision.value.lower()}")
    say(f"task {task} of run {name}: {decision.value.lower()} by {approval.by}")
    return Exit.SUCCEEDED


async def cancel(api: KubeApi, namespace: str, name: str, *, now: bool) -> Exit:
    """Cancel a run."""
    mode = Cancel.IMMEDIATE if now else Cancel.GRACEFUL
    run = await _open(api, namespace, name, "nothing to cancel")
    before = run["spec"].get("cancel")
    if before in (mode, Cancel.IMMEDIATE):
        say(f"run {name} is already being cancelled ({before})")
        return Exit.SUCCEEDED

    def change(current: Object) -> Object:
        # Another client may have been quicker, and Immediate is never taken back.
        return {"cancel": Cancel.IMMEDIATE.value if current["spec"].get("cancel") == Cancel.IMMEDIATE else mode.value}

    await _patch(api, namespace, name, change, "nothing to cancel")
    words = "everything is stopped" if now else "its tasks are stopped, then finally tasks run (--now stops these too)"
    if status_of(run).start_time is None:
        words = "it has not started, and none of its tasks will run"
    say(f"run {name} is being cancelled: {words}")
    return Exit.SUCCEEDED


async def suspend(api: KubeApi, namespace: str, name: str, *, resume: bool) -> Exit:
    """Suspend a run, or resume it."""
    word = "resume" if resume else "suspend"
    run = await _open(api, namespace, name, f"nothing to {word}")
    if run["spec"].get("cancel"):
        raise UsageError(f"run {name} is being cancelled and cannot be {word}{'d' if resume else 'ed'}")
    if bool(run["spec"].get("suspend")) is not resume:
        say(f"run {name} is {'not suspended' if resume else 'already suspended'}")
        return Exit.SUCCEEDED
    await _patch(api, namespace, name, lambda _: {"suspend": None if resume else True}, f"nothing to {word}")
    more = "" if resume else f"; running tasks continue, nothing new starts until nexus resume {name}"
    say(f"run {name} is {word}{'d' if resume else 'ed'}{more}")
    return Exit.SUCCEEDED


async def _open(api: KubeApi, namespace: str, name: str, otherwise: str) -> Object:
    """Return a run that has not ended. Raises Refused."""
    run = await found(api, WORKFLOW_RUNS, namespace, name)
    if has_ended(run):
        raise UsageError(f"run {name} has ended ({status_of(run).phase.value}): {otherwise}")
    return run


def _waiting(run: Object, name: str) -> None:
    """Raise Refused unless the task is waiting for a decision and has none."""
    of_run = f"run {run['metadata']['name']}"
    tasks = status_of(run).tasks or []
    task = next((task for task in tasks if task.name == name), None)
    waiting = [task.name for task in tasks if asks(task)]
    below = {task.name: found for task in tasks if not asks(task) and (found := _requested(run, task)) is not None}
    other = next((request for request in below.values() if request.task == name), None)
    if task is None and other is not None:
        raise UsageError(f'task "{name}" belongs to a child run of {run["metadata"]["name"]}: {command(other)}')
    if task is not None and task.name in below:
        words = f"a child run of it is waiting for one: {command(below[task.name])}"
        raise UsageError(f'task "{name}" of {of_run} is not waiting for an approval itself, {words}')
    if task is None:
        close = closest(name, waiting or [task.name for task in tasks])
        hint = did_you_mean(close) if close else _known(tasks, waiting)
        raise UsageError(f'unknown task "{name}" of {of_run}; {hint}')
    made = next((entry for entry in run["spec"].get("approvals") or () if entry["task"] == name), None)
    if made is not None:
        raise UsageError(f"task {name} of {of_run} was already {made['decision'].lower()} by {made['by']}")
    if name not in waiting:
        explained = why(task, attempts=False)
        state = task.phase.value + (f", {explained}" if explained else "")
        raise UsageError(f"task {name} of {of_run} is not waiting for an approval ({state}); {_known(tasks, waiting)}")


def _requested(run: Object, task: TaskStatus) -> ApprovalRequest | None:
    return requested(run["metadata"]["name"], task)


def _known(tasks: Sequence[TaskStatus], waiting: Sequence[str]) -> str:
    if waiting:
        return f"waiting: {', '.join(waiting[:10])}"
    return "none of its tasks is" if tasks else "no operator has processed the run yet"


async def _patch(api: KubeApi, namespace: str, name: str, change: Callable[[Object], Object], otherwise: str) -> None:
    """Change fields of the run's spec, decided on what it is now. Raises Refused."""
    for _ in range(_TRIES):
        run = await _open(api, namespace, name, otherwise)
        version = run["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": change(run)}
        try:
            await api.patch(WORKFLOW_RUNS, namespace, name, patch)
        except Conflict:
            continue
        except NotFound as error:
            raise UsageError(f"run {name} was deleted") from error
        except Invalid as error:
            raise UsageError(f"the API server refuses the change: {error.message}") from error
        return
    raise UsageError(f"run {name} has too many conflicting changes; try again")


async def _user(api: KubeApi) -> str:
    """Return who the API server takes the user for, as `kubectl auth whoami` says."""
    kind = SELF_SUBJECT_REVIEWS
    review = await api.create(kind, "", {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}})
    return str(review["status"]["userInfo"]["username"])
