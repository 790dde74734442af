"""decide: the engine. Facts and a time in, a plan out; the same for the operator, for --local and for the tests."""

from __future__ import annotations

from datetime import datetime

from nexus.api.reasons import Reason
from nexus.api.run import WorkflowRunStatus
from nexus.core.data.params import ParamsInvalid
from nexus.core.engine.finish import blocked, refuse, status_of
from nexus.core.engine.rerun import RerunRefused, reuse
from nexus.core.engine.start import recover, start
from nexus.core.engine.stop import left_over, stop, stray_jobs
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition
from nexus.core.model.facts import Facts
from nexus.core.model.plan import Plan
from nexus.core.tasks import registry
from nexus.core.tasks.child_run import stray_children
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.mechanism import mechanism_of
from nexus.core.tasks.pool_slots import returns, unused


def decide(
    definition: Definition, facts: Facts, now: datetime, evaluator: Evaluator, *, may_start: bool = True
) -> Plan:
    """Return what to do for a run, and its status once that is done.

    A function of its arguments alone: `evaluator` gives the same value for the same expression and variables. Called
    again with the facts that result from carrying out its plan, it plans nothing more. Without `may_start` it starts
    nothing and asks to be called again at once.
    """
    recorded = facts.status
    if recorded is not None and recorded.phase.ended:
        return after(recorded, facts)
    draft = PlanDraft(definition, facts, now, evaluator, may_start)
    if recorded is None or recorded.start_time is None:
        try:
            _ = draft.params
        except ParamsInvalid as error:
            return refuse(facts, now, Reason.PARAMS_INVALID, str(error))
        try:
            reuse(draft)
        except RerunRefused as error:
            return refuse(facts, now, Reason.RERUN_REFUSED, str(error))
        refused = next((name for name in (store.config_map for store in draft.stores) if name in facts.refusals), None)
        if refused is not None:
            return blocked(facts, facts.refusals[refused], now)
    started_at = recorded.start_time if recorded and recorded.start_time else now
    for node in definition.nodes.values() if not draft.reads else ():
        registry.of(node, mechanism_of(node, draft.tasks[node.name])).observe(draft, node)
    if not draft.reads:
        recover(draft)
    if not draft.reads:
        stop(draft, started_at)
        start(draft)
    status = status_of(draft, started_at)
    if draft.reads:
        reads = tuple(dict.fromkeys(draft.reads))
        return Plan(status=recorded or status, reads=reads, vouched=tuple(draft.vouched))
    return Plan(
        status=status,
        stores=tuple(draft.stores),
        starts=tuple(draft.starts),
        raises=tuple(draft.raises),
        stops=stray_jobs(draft.tasks.values(), facts.jobs),
        cancels=stray_children(draft.tasks.values(), facts, draft.abandoned, draft.forged),
        returns=returns(draft),
        vouched=tuple(draft.vouched),
        events=tuple(draft.events),
        wake_at=None if status.phase.ended else min(draft.wakes, default=None),
    )


def after(recorded: WorkflowRunStatus, facts: Facts) -> Plan:
    """Return what is to be done for a run that has ended, and needs no definition to be known: stop what still runs."""
    tasks = recorded.tasks or ()
    stops, cancels = left_over(tasks, facts)
    return Plan(status=recorded, stops=stops, cancels=cancels, returns=unused(facts))
