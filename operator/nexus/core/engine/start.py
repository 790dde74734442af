"""Start: which tasks may run now, and why the others may not yet."""

from __future__ import annotations

from nexus.api.reasons import Reason, TaskPhase
from nexus.core.engine import trigger_rule
from nexus.core.engine.stop import fail_fast
from nexus.core.expressions.templates import ExpressionError, TemplateError, parse
from nexus.core.model.definition import Node
from nexus.core.model.status_limits import listed
from nexus.core.pods import policy
from nexus.core.tasks import registry
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.mechanism import mechanism_of, next_mechanism
from nexus.core.tasks.slots import Slots, has_slot
from nexus.core.tasks.suspend import held_back
from nexus.core.text.json_text import dump


def start(draft: PlanDraft) -> None:
    """Look at every task that is not running, dependencies first, so that a skip is propagated in one pass. The tasks
    of `finally` come last, when all others have ended."""
    slots = Slots.of(draft)
    for node in draft.definition.nodes.values():
        status = draft.tasks[node.name]
        if status.phase.ended:
            continue
        if node.final and not _after_all(draft, node):
            continue
        if status.next_attempt_time is not None:
            _retry(draft, node, slots)
        elif status.start_time is None:
            _first(draft, node, slots)
        else:
            registry.of(node, mechanism_of(node, status)).proceed(draft, node, slots)
        if draft.tasks[node.name].phase is TaskPhase.FAILED and fail_fast(draft):
            slots = Slots.of(draft)


def _after_all(draft: PlanDraft, node: Node) -> bool:
    """Return whether all others have ended, on record: what ended one of them in this decision (a `when` that failed,
    and FailFast with it) may have needed a slot, and would not end it again once a Job of `finally` has taken that."""
    if draft.main_on_record:
        return True
    nodes = draft.definition.nodes
    waits_for = [name for name in nodes if not (nodes[name].final or draft.tasks[name].phase.ended)]
    words = f": {listed(waits_for)}" if waits_for else ""
    draft.wait(node.name, Reason.DEPENDENCIES, f"waiting for all tasks to end{words}")
    if not waits_for:
        draft.wakes.append(draft.now)
    return False


def recover(draft: PlanDraft) -> None:
    """Take over what was made for first attempts of which no status knows: their operator died before it wrote that, or
    another copy was first. It comes before all that takes slots.

    Such tasks are due as any other is: those before it have ended, its rule is met, its `when` is true. Those before it
    may have ended in the same decision, without a Job, and now end once more, though there may be no slot now.
    """
    nodes = draft.definition.nodes
    made = [name for name in nodes if draft.facts.jobs.get(name) or draft.facts.children.get(name)]
    made = [name for name in made if draft.is_due(name) and draft.tasks[name].start_time is None]
    concerned = set(made).union(*(nodes[name].ancestors for name in made))
    for name, node in nodes.items():
        if name not in concerned or draft.tasks[name].start_time is not None or draft.tasks[name].phase.ended:
            continue
        if not node.final or draft.main_on_record:
            _without_start(draft, node)
        ended = draft.tasks[name].phase.ended and not node.final
        if draft.definition.fail_fast and ended and draft.counted(name) is TaskPhase.FAILED:
            return  # which ended all others


def _without_start(draft: PlanDraft, node: Node) -> None:
    """Do what the look at a task does that has not started, but for starting it: end it, or take over what is there."""
    before, events, wakes = draft.tasks[node.name], len(draft.events), len(draft.wakes)
    allowed, draft.may_start = draft.may_start, False
    try:
        _first(draft, node, None)
    finally:
        draft.may_start = allowed
    after = draft.tasks[node.name]
    if not after.phase.ended and after.attempts is None:  # not taken over
        draft.tasks[node.name] = before
        del draft.events[events:]
        del draft.wakes[wakes:]


def _first(draft: PlanDraft, node: Node, slots: Slots | None) -> None:
    """Look at a task that has not started. Without `slots` it takes none, whatever keeps it from starting."""
    waits_for = [name for name in node.depends_on if not draft.tasks[name].phase.ended]
    if waits_for:
        draft.wait(node.name, Reason.DEPENDENCIES, f"waiting for {listed(waits_for)}")
        return
    unmet = trigger_rule.judge(node.rule, [(name, draft.counted(name)) for name in node.depends_on])
    if unmet is not None:
        draft.end(node.name, unmet.phase, unmet.reason, unmet.message)
        return
    if slots is not None and not _may_start(draft, node, slots):
        return  # before `when`: it costs a call of the evaluator, and would be asked again at every look
    try:
        # What was just made had its `when` evaluated.
        if node.task.when is not None and not draft.is_made(node.name) and not _when(draft, node):
            draft.end(node.name, TaskPhase.SKIPPED, Reason.WHEN_FALSE, f"when is false: {node.task.when[:200]}")
        else:
            _launch(draft, node, slots if slots is not None else Slots(0, 0))
    except Unread:
        return
    except (ExpressionError, TemplateError) as error:
        draft.end(node.name, TaskPhase.FAILED, Reason.EXPRESSION_ERROR, f"when: {error}")


def _when(draft: PlanDraft, node: Node) -> bool:
    template = parse(node.task.when or "")
    if template.whole is None:
        raise ExpressionError("must be a single ${{ }}, without characters around it", None)
    value = draft.renderer(node).value(template.whole)
    if not isinstance(value, bool):
        raise ExpressionError(f"must be a boolean, got {dump(value)[:80]}; compare it with something", None)
    return value


def _retry(draft: PlanDraft, node: Node, slots: Slots) -> None:
    due = draft.tasks[node.name].next_attempt_time
    assert due is not None
    if draft.now < due:
        draft.wakes.append(due)
    elif _may_start(draft, node, slots):
        _launch(draft, node, slots)


def _launch(draft: PlanDraft, node: Node, slots: Slots) -> None:
    kind = registry.of(node, next_mechanism(node))
    # Of a task without pods, `pod` is the defaults' and asks for nothing.
    refused = policy.judge(node.task.pod, draft.facts.pod_policy) if kind.takes_slot else None
    if refused is not None:
        draft.end(node.name, TaskPhase.FAILED, refused.reason, refused.message)
    else:
        kind.launch(draft, node, slots)


def _may_start(draft: PlanDraft, node: Node, slots: Slots) -> bool:
    """Return whether anything keeps a task from starting that is not its own; where so, its status says what."""
    if held_back(draft, node):
        return False
    takes_slot = registry.of(node, next_mechanism(node)).takes_slot
    return not takes_slot or has_slot(draft, node, slots)
