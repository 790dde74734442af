"""Rerun: what of an earlier run is reused, before anything of this one starts.

A task runs again where it did not succeed, where it is named, or where it is after one that runs again; a skip counts
as success. All others are taken over as they ended, with their outputs: small ones in the status, others copied, since
what the earlier run owns goes with it. Tasks of `finally` always run. An approval is asked for again, unless this run
does what was approved, and has not been done.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nexus.api.fanout import ItemsStatus
from nexus.api.packed import unpacked
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import RerunStatus, TaskStatus
from nexus.api.workflow import WorkflowSpec
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.data.scope import run_values
from nexus.core.model.definition import Node
from nexus.core.model.facts import Changed, Earlier, RunFact
from nexus.core.model.plan import LoadOutput, StoreOutput
from nexus.core.model.status_limits import listed
from nexus.core.names import job_name, output_name
from nexus.core.tasks.draft import PlanDraft
from nexus.core.text.canonical_json import canonical
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import reference
from nexus.core.text.similar_names import closest, did_you_mean

_KEPT = (TaskPhase.SUCCEEDED, TaskPhase.SKIPPED)


class RerunRefused(Exception):
    """The run cannot be run again as it is asked; the message says why, and what to do."""


def reuse(draft: PlanDraft) -> None:
    """Take over what is not to run again. Raises RerunRefused; notes reads where outputs have to be read first."""
    earlier = draft.facts.earlier
    if earlier is None:
        return
    _check(draft, earlier)
    before = {task.name: task for task in earlier.status.tasks or ()}
    again = _again(draft, earlier, before)
    if not again:
        words = f"every task of run {earlier.wanted.name} succeeded; name those to run again {earlier.named_by}"
        raise RerunRefused(words)
    changed_params = sorted(
        name
        for name in {*earlier.params, *draft.facts.run.params}
        if (name in earlier.params) != (name in draft.facts.run.params)
        or earlier.params.get(name) != draft.facts.run.params.get(name)
    )
    changed_tasks = changed(earlier.definition, draft.definition.spec) if earlier.definition is not None else []
    kept = [name for name, node in draft.definition.nodes.items() if not node.final and name not in again]
    for name in kept:
        _take_over(draft, earlier, before[name])
    same = earlier.definition is not None and earlier.definition.defaults == draft.definition.spec.defaults
    if same and not changed_params:
        for name in again - set(changed_tasks):
            if name in before and not again.intersection(draft.definition.nodes[name].depends_on):
                _take_over_items(draft, earlier, before[name])
    draft.rerun = RerunStatus(
        name=earlier.wanted.name,
        uid=earlier.uid,
        reused=len(kept),
        changed_params=changed_params or None,
        changed_tasks=changed_tasks or None,
    )


def _check(draft: PlanDraft, earlier: Earlier) -> None:
    name = earlier.wanted.name
    if earlier.problem:
        raise RerunRefused(earlier.problem)
    if earlier.workflow != draft.facts.run.workflow:
        of = f"of Workflow {earlier.workflow}" if earlier.workflow else "with a definition of its own"
        raise RerunRefused(f"run {name} is a run {of}, and this run is not; use the same workflowRef")
    if not earlier.status.phase.ended:
        words = f"run {name} has not ended ({earlier.status.phase.value})"
        raise RerunRefused(f"{words}; wait for it to end, or cancel it (nexus cancel {name})")
    for task in earlier.wanted.tasks or ():
        unknown = unknown_task(task, draft.definition.spec)
        if unknown:
            raise RerunRefused(f"rerunOf.tasks: {unknown}")


def unknown_task(name: str, spec: WorkflowSpec) -> str | None:
    """Return why a rerun cannot begin with a task, None where it can."""
    if name in {task.name for task in spec.finally_ or ()}:
        return f"{name} is a finally task, which always runs; remove it"
    names = [task.name for task in spec.tasks]
    if name in names:
        return None
    close = closest(name, names)
    hint = did_you_mean(close) if close else f"tasks are {listed(names)}"
    return f'unknown task "{name}"; {hint}'


def _again(draft: PlanDraft, earlier: Earlier, before: dict[str, TaskStatus]) -> set[str]:
    """Return the names of the tasks that run again; dependencies come first in the definition's nodes."""
    decided = [name for name, node in draft.definition.nodes.items() if _is_decided(earlier, node)]
    void = set() if not decided or _same_execution(draft, earlier) else set(decided)
    void.update(name for name in decided if _is_used(draft, before, name))
    again: set[str] = set()
    for name, node in draft.definition.nodes.items():
        ended_well = name in before and before[name].phase in _KEPT
        named = name in (earlier.wanted.tasks or ())
        if not node.final and (named or not ended_well or name in void or again.intersection(node.depends_on)):
            again.add(name)
    return again


def _is_decided(earlier: Earlier, node: Node) -> bool:
    """Return whether a task has an approval, be it in a child run. A skipped one is as good as approved."""
    return node.record.asks_person or node.name in earlier.approved_below


def _is_used(draft: PlanDraft, before: dict[str, TaskStatus], name: str) -> bool:
    """Return whether a task behind a decision succeeded: that was what the decision was for. `finally` runs without
    it."""
    behind = (node.name for node in draft.definition.nodes.values() if name in node.ancestors and not node.final)
    return any(other in before and before[other].phase is TaskPhase.SUCCEEDED for other in behind)


def _same_execution(draft: PlanDraft, earlier: Earlier) -> bool:
    """Return whether both runs execute the same definition with the same values for the same time, so that whoever
    approved the one knows what the other does."""
    run, before = draft.facts.run, earlier.run
    if before is None or earlier.definition != draft.definition.spec:
        return False
    revision = draft.facts.status.revision if draft.facts.status is not None else None
    if earlier.status.revision != revision or _times(before) != _times(run):
        return False
    try:
        params = resolve(draft.definition.spec.params or (), before.params, before, draft.evaluator)
    except ParamsInvalid:
        return False
    return canonical(params) == canonical(draft.params)


def _times(run: RunFact) -> tuple[Any, ...]:
    values = run_values(run, "")
    return values["scheduledTime"], values["intervalStart"], values["intervalEnd"], run.time_zone


def changed(before: WorkflowSpec, after: WorkflowSpec) -> list[str]:
    """Return the names of the tasks whose definition differs."""
    old, new = ({task.name: dump(task.to_json()) for _, task in spec.every_task()} for spec in (before, after))
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _take_over(draft: PlanDraft, earlier: Earlier, before: TaskStatus) -> None:
    name, kept = before.name, dict[str, Any]()
    value = _value(draft, earlier, before)
    if value:
        size = len(dump(value).encode())
        if draft.fits_inline(size):
            kept = {"output": value}
        else:
            text = dump(value)
            stored = draft.free_name(_config_map(draft, name), text)
            draft.stores.append(StoreOutput(name, stored, text))
            kept = {"output_ref": reference(stored, text)}
    draft.move(
        name,
        phase=before.phase,
        reason=Reason.REUSED,
        message=f"reused from run {earlier.wanted.name}",
        completion_time=draft.now,
        items=before.items,
        # Keys in the output store are those of the run that made them; only its owner deletes there.
        stored_output=before.stored_output,
        artifacts=before.artifacts,
        **kept,
    )


def _value(draft: PlanDraft, earlier: Earlier, before: TaskStatus) -> dict[str, Any] | None:
    """Return the output of a task of the earlier run, None where it has none or has to be read first."""
    if before.output_ref is None:
        return dict(unpacked(before.output)) or None
    if before.name not in draft.facts.outputs:
        draft.reads.append(LoadOutput(before.name, before.output_ref.config_map, before.output_ref.sha256))
        return None
    found = draft.facts.outputs[before.name]
    if found is None:
        where = f"ConfigMap {before.output_ref.config_map}"
        raise RerunRefused(
            f"the output of task {before.name} of run {earlier.wanted.name} is gone ({where} was deleted): "
            f"name {before.name} in rerunOf.tasks to run it again"
        )
    if isinstance(found, Changed):
        words = f"the output of task {before.name} of run {earlier.wanted.name} cannot be used: {found}"
        raise RerunRefused(f"{words}; name {before.name} in rerunOf.tasks to run it again")
    return dict(found)


def _take_over_items(draft: PlanDraft, earlier: Earlier, before: TaskStatus) -> None:
    """Take over the items of a fan-out that succeeded; it runs only the others. Not those of child runs: what they made
    is theirs."""
    node = draft.definition.nodes[before.name]
    if (
        node.task.for_each is None
        or node.record.mechanism is Mechanism.CHILD_RUN
        or before.items is None
        or not before.phase.ended
    ):
        return
    if before.name in (earlier.wanted.tasks or ()):
        return
    value = _value(draft, earlier, before)
    items = value.get("items") if value is not None else None
    if not isinstance(items, list) or len(items) != before.items.total or not _some(items):
        return
    text = dump({"items": items})
    reused = ItemsStatus(total=len(items), reused=sum(item is not None for item in items))
    if draft.fits_inline(len(text.encode())):
        draft.move(before.name, items=reused, output={"items": items})
        return
    stored = draft.free_name(_config_map(draft, before.name), text)
    draft.stores.append(StoreOutput(before.name, stored, text))
    draft.move(before.name, items=reused, output_ref=reference(stored, text))


def _some(items: Collection[Any]) -> bool:
    """Return whether some succeeded, and some did not."""
    return 0 < sum(item is not None for item in items) < len(items)


def _config_map(draft: PlanDraft, task: str) -> str:
    """Return where a copy goes: no attempt of the task has this name."""
    return output_name(job_name(draft.facts.run.name, draft.facts.run.uid, task, 0))
