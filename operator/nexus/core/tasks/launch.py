"""Launch: the Job of the next attempt, for tasks with one pod."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import JobRef, OutputRef
from nexus.core.data import scope
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.definition import Node
from nexus.core.model.plan import Payload, StartTask
from nexus.core.model.refusal import limit_words, over_since
from nexus.core.names import job_name
from nexus.core.task_types.limits import PayloadError
from nexus.core.tasks import transfers
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.observe import attempt_number, take_over
from nexus.core.tasks.payload import Context, build, tells_attempt
from nexus.core.tasks.pool_slots import has_turn
from nexus.core.tasks.slots import Slots

QUEUE = "kueue.x-k8s.io/queue-name"
"""The label by which Kueue knows the Jobs that it suspends (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/)."""


def launch(draft: PlanDraft, node: Node, slots: Slots) -> None:
    """Plan the Job of the next attempt of a task with one pod, or take over the one that is there."""
    if take_over(draft, node):
        return
    status = draft.tasks[node.name]
    number = attempt_number(status) + 1
    name = job_name(draft.facts.run.name, draft.facts.run.uid, node.name, number)
    if refused(draft, node, name):
        return
    try:
        payload = _payload(draft, node, number, (status.attempts or 0) + 1)
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, str(error))
        return
    except PayloadError as error:
        draft.end(node.name, TaskPhase.FAILED, error.reason, error.message)
        return
    if not draft.may_start:
        draft.wakes.append(draft.now)
        return
    if not has_turn(draft, node, name):
        return
    attempts = (status.attempts or 0) + 1
    retries = node.retry.limit + 1 - attempts if _native(draft, node) else 0
    started_at = status.start_time or draft.now
    draft.starts.append(
        StartTask(
            task=node.name,
            job_name=name,
            attempt_number=number,
            payload=payload,
            retry=node.retry,
            backoff_limit=retries,
            numbered=retries > 0 and tells_attempt(node),
            timeout_seconds=node.task.timeout_seconds,
            deadline_seconds=remaining(node, int((draft.now - started_at).total_seconds())),
            labels=dict(draft.definition.spec.labels or {}),
            pool=node.task.pool,
        )
    )
    slots.free -= 1
    draft.planned[node.name] = status
    draft.move(
        node.name,
        phase=TaskPhase.RUNNING,
        reason=None,
        message=None,
        mechanism=Mechanism.JOB,
        attempts=attempts,
        job=JobRef(name=name),
        start_time=started_at,
        next_attempt_time=None,
        refused_time=None,
    )
    if node.task.deadline_seconds is not None:
        draft.wakes.append(started_at + timedelta(seconds=node.task.deadline_seconds))


def refused(draft: PlanDraft, node: Node, name: str) -> bool:
    """Return whether the API server does not make the Job, or the child run, of this name now; the task's status says
    so."""
    refusal = draft.facts.refusals.get(name)
    if refusal is None:
        return False
    if refusal.final:
        draft.end(node.name, TaskPhase.FAILED, refusal.reason, refusal.message)
        return True
    draft.refuse(node.name, refusal)
    since, seconds = draft.tasks[node.name].refused_time, node.start_timeout_seconds
    if refusal.limited and since is not None:
        over = over_since(refusal, since, seconds, draft.now)
        if over is not None:
            draft.end(node.name, TaskPhase.FAILED, refusal.reason, over)
            return True
        draft.wait(node.name, refusal.reason, limit_words(refusal, since, seconds))
        draft.wakes.append(since + timedelta(seconds=seconds))
    return True


def _native(draft: PlanDraft, node: Node) -> bool:
    """Return whether the Job controller does the retries. It asks for no slot before it starts a pod, so it may only
    where the slots are enough for all tasks at once, and no pool has a word in it."""
    enough = len(draft.tasks) <= draft.definition.max_parallel_tasks
    # The Job controller forgets the failures of an index while its Job is suspended, as Kueue does.
    forgets = tells_attempt(node) and _is_queued(draft, node)
    return draft.facts.native_backoff and node.retry.native and enough and node.task.pool is None and not forgets


def _is_queued(draft: PlanDraft, node: Node) -> bool:
    """Return whether Kueue may suspend the Jobs of a task."""
    pod = node.task.pod
    return QUEUE in {**(draft.definition.spec.labels or {}), **((pod.labels if pod is not None else None) or {})}


def remaining(node: Node, spent: int) -> int | None:
    """Return the seconds left of the task's deadline, at least 1: Kubernetes refuses a Job with 0."""
    if node.task.deadline_seconds is None:
        return None
    return max(node.task.deadline_seconds - spent, 1)


def _payload(draft: PlanDraft, node: Node, number: int, attempt: int) -> Payload:
    return build(node, draft.renderer(node), context_of(draft, node, number=number, attempt=attempt))


def context_of(
    draft: PlanDraft, node: Node, item: scope.Item | None = None, number: int = 0, attempt: int = 1
) -> Context:
    """Return what the code of a task sees. `number` is that of the Job, of a fan-out 0; `attempt` counts no replaced
    ones. Raises Unread, ExpressionError, PayloadError."""
    inputs: dict[str, Any] = {}
    stored: dict[str, OutputRef] = {}
    transfer = transfers.of_task(draft, node, number)
    for dependency in node.depends_on:
        reference = draft.tasks[dependency].output_ref
        if draft.tasks[dependency].stored_output is not None and draft.is_readable(dependency):
            continue  # the transfer brings it
        if reference is not None and draft.is_readable(dependency):
            stored[dependency] = reference
        else:
            inputs[dependency] = draft.output(dependency)
    task, nodes = node.task, draft.definition.nodes
    names = {"name": task.name, "key": task.key, "displayName": task.display_name}
    return Context(
        draft.params,
        scope.run_values(draft.facts.run, draft.run_phase(node)),
        inputs,
        stored,
        item,
        transfer,
        attempt,
        {name: value for name, value in names.items() if value is not None},
        {key: name for name in node.depends_on if (key := nodes[name].task.key) is not None},
    )
