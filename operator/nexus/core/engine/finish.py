"""Finish: the status of the run that its tasks add up to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.api.workflow import Condition
from nexus.core.engine.run_outputs import NoOutputs, NotStored, outputs
from nexus.core.engine.stop import left_over
from nexus.core.model.facts import Facts, RunFact
from nexus.core.model.outcome import outcome
from nexus.core.model.plan import Plan, RunEvent
from nexus.core.model.refusal import REASONS, Refusal, again_at
from nexus.core.model.status_limits import cut, message_limit
from nexus.core.tasks import suspend
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.forged import TYPE as FORGED
from nexus.core.tasks.forged import conditions as forged
from nexus.core.tasks.forged import found_by, report
from nexus.core.tasks.pool_slots import unused


def status_of(draft: PlanDraft, started_at: datetime) -> WorkflowRunStatus:
    """Return the run's status; ended as soon as every task has ended and its outputs are rendered."""
    tasks = list(draft.tasks.values())
    done = sum(task.phase.ended for task in tasks)
    recorded = report(draft, draft.facts.status or WorkflowRunStatus())
    status = recorded.model_copy(
        update={
            "observed_generation": draft.facts.run.generation,
            "start_time": started_at,
            "tasks_done": f"{done}/{len(tasks)}",
            "tasks": tasks,
            "rerun_of": draft.rerun or recorded.rerun_of,
        }
    )
    if done < len(tasks):
        return _under_way(draft, status)
    phase, reason, message = outcome(draft.definition, draft.tasks, draft.stopped)
    if phase is RunPhase.SUCCEEDED:
        try:
            status = status.model_copy(update=outputs(draft))
        except Unread:
            return _under_way(draft, status)
        except NotStored as error:
            refusal = error.refusal
            draft.wakes.append(again_at(refusal, draft.now))
            words = f"the outputs of the run cannot be stored: {refusal.message}"
            return _under_way(draft, status, (refusal.reason, words[:4_096]) if refusal.told else None)
        except NoOutputs as none:
            phase, reason, message = RunPhase.FAILED, none.reason, none.message
    run, known = draft.facts.run, status.conditions or ()
    status = status.model_copy(
        update={
            "conditions": [
                *(one for one in known if one.type != FORGED),
                *forged(known, found_by(draft), run, draft.now),
            ]
        }
    )
    ended = _ended(status, phase, reason, message, draft.now, run)
    draft.events.append(_event(draft.facts, ended))
    return ended


def _under_way(
    draft: PlanDraft, status: WorkflowRunStatus, refused: tuple[Reason, str] | None = None
) -> WorkflowRunStatus:
    run, known = draft.facts.run, status.conditions or ()
    suspended = (Reason.SUSPENDED, suspend.WORDS) if run.suspended else None
    why = draft.stopped or suspended or _awaits(draft) or refused or _refused(draft) or (None, None)
    if run.suspended != (status.phase is RunPhase.SUSPENDED):
        word = "Suspended" if run.suspended else "Resumed"
        draft.events.append(RunEvent(f"Run{word}", f"run {run.name} {word.lower()}"))
    return status.model_copy(
        update={
            "phase": RunPhase.SUSPENDED if run.suspended else RunPhase.RUNNING,
            "reason": why[0],
            "message": why[1],
            "approval": next((task.approval for task in _asking(draft)), None),
            "conditions": [*suspend.conditions(known, run, draft.now), *forged(known, found_by(draft), run, draft.now)]
            or None,
        }
    )


def _awaits(draft: PlanDraft) -> tuple[Reason, str] | None:
    """Return which decision the run waits for while other tasks may go on: users do not look for it in the tasks of a
    run."""
    asking = _asking(draft)
    if not asking:
        return None
    others = f" (and {len(asking) - 1} more)" if len(asking) > 1 else ""
    return Reason.AWAITING_APPROVAL, f"task {asking[0].name}{others}: {asking[0].message}"[:4_096]


def _asking(draft: PlanDraft) -> list[TaskStatus]:
    return [task for task in draft.tasks.values() if task.reason is Reason.AWAITING_APPROVAL]


def _refused(draft: PlanDraft) -> tuple[Reason, str] | None:
    """Return what the API server refuses a task of the run: the first one's, and of how many more."""
    refused = [task for task in draft.tasks.values() if task.refused_time is not None and task.reason in REASONS]
    if not refused:
        return None
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    assert refused[0].reason is not None
    return refused[0].reason, f"task {refused[0].name}{others}: {refused[0].message}"[:4_096]


def blocked(facts: Facts, refusal: Refusal, now: datetime) -> Plan:
    """Return the plan for a run that cannot be worked on while a call of the API server is refused: its status says
    so."""
    recorded = facts.status or WorkflowRunStatus()
    if facts.run.cancel is not None and recorded.start_time is None:
        return refuse(facts, now, Reason.CANCELLED, "the run was cancelled before it started")
    wake_at = again_at(refusal, now)
    if not refusal.told:
        return Plan(status=recorded, wake_at=wake_at)
    if recorded.start_time is None:
        return replace(waits(facts, refusal.reason, refusal.message), wake_at=wake_at)
    why = {"reason": refusal.reason, "message": refusal.message[:4_096]}
    return Plan(status=recorded.model_copy(update=why), wake_at=wake_at)


def refuse(facts: Facts, now: datetime, reason: Reason, message: str) -> Plan:
    """Return the plan for a run that cannot start, or cannot go on: it ends Failed, and what runs is stopped."""
    recorded = facts.status or WorkflowRunStatus()
    words = cut(message, message_limit(len(recorded.tasks or ())))
    tasks = [task if task.phase.ended else _broken_off(task, now, reason, words) for task in recorded.tasks or ()]
    status = recorded.model_copy(
        update={
            "observed_generation": facts.run.generation,
            "start_time": recorded.start_time or now,
            "tasks": tasks or None,
        }
    )
    phase = RunPhase.CANCELLED if reason is Reason.CANCELLED else RunPhase.FAILED
    ended = _ended(status, phase, reason, message[:4_096], now, facts.run)
    stops, cancels = left_over(tasks, facts)
    return Plan(
        status=ended,
        stops=stops,
        cancels=cancels,
        returns=unused(facts),
        events=(_event(facts, ended),),
    )


def waits(facts: Facts, reason: Reason, message: str) -> Plan:
    """Return the plan for a run whose turn has not come: it has not begun, and none of its deadlines counts yet."""
    recorded = facts.status or WorkflowRunStatus()
    news = recorded.reason is not reason
    status = recorded.model_copy(
        update={
            "observed_generation": facts.run.generation,
            "phase": RunPhase.PENDING,
            "reason": reason,
            "message": message[:4_096],
        }
    )
    words = f"run {facts.run.name} is waiting ({reason.value}): {message}"[:1_000]
    return Plan(status=status, events=(RunEvent("RunWaiting", words),) if news else ())


def _broken_off(task: TaskStatus, now: datetime, reason: Reason, message: str) -> TaskStatus:
    return task.model_copy(
        update={
            "phase": TaskPhase.OMITTED if task.start_time is None else TaskPhase.FAILED,
            "reason": reason,
            "message": message,
            "completion_time": now,
            "next_attempt_time": None,
        }
    )


def _ended(
    status: WorkflowRunStatus, phase: RunPhase, reason: Reason | None, message: str, now: datetime, run: RunFact
) -> WorkflowRunStatus:
    succeeded = phase is RunPhase.SUCCEEDED

    def condition(kind: str, holds: bool) -> Condition:
        return Condition(
            type=kind,
            status="True" if holds else "False",
            observed_generation=run.generation,
            last_transition_time=now,
            reason=(reason.value if reason else phase.value),
            message=message[:1_024],
        )

    return status.model_copy(
        update={
            "phase": phase,
            "reason": reason,
            "message": message[:4_096] or None,
            "approval": None,
            "completion_time": now,
            "conditions": [
                condition("Complete", succeeded),
                condition("Failed", not succeeded),
                condition("Finished", True),
                *suspend.conditions(status.conditions or (), run, now, ended=True),
                # As they were last seen: nothing of a run changes after its end.
                *(condition for condition in status.conditions or () if condition.type == FORGED),
            ],
        }
    )


def _event(facts: Facts, status: WorkflowRunStatus) -> RunEvent:
    words = f"run {facts.run.name} {status.phase.value.lower()}"
    if status.message:
        words = f"{words}: {status.message}"
    return RunEvent(f"Run{status.phase.value}", words[:1_000], warning=status.phase is RunPhase.FAILED)
