"""Foresight: what a run would do, found out by deciding about one that does nothing.

The engine decides as always. Here every task that it starts has succeeded a moment later, with an unknown output. The
result of an expression about it is unknown, too: it stays as written in the rendered fields, and a `when` that asks
about it is taken as true and reported as a condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from nexus.api.base import format_time
from nexus.api.fanout import ItemsStatus
from nexus.api.reasons import Reason, TaskPhase
from nexus.api.run import TaskStatus, WorkflowRunStatus
from nexus.api.tasks import Task, TriggerRule
from nexus.core.data.scope import Item
from nexus.core.engine.decide import decide
from nexus.core.expressions.templates import Evaluator, ExpressionError, TemplateError, parse
from nexus.core.manifest.problem import Path, field_name
from nexus.core.model.definition import Definition, Node
from nexus.core.model.facts import Facts, RunFact, SlotGrant
from nexus.core.model.plan import AskSlot
from nexus.core.pods import templated_fields
from nexus.core.pods.policy import RESTRICTED, PodPolicy
from nexus.core.tasks.draft import PlanDraft
from nexus.core.tasks.fanout.items import ItemsInvalid, resolve
from nexus.core.tasks.fanout.observe import max_failed

ITEMS_SHOWN = 20
"""Number of items of a fan-out that are listed and whose fields are rendered."""


class Forecast(StrEnum):
    """What would become of a task."""

    RUNS = "Runs"
    DEPENDS = "Depends"
    """It runs or not, by outputs that are not known yet."""
    SKIPPED = "Skipped"
    UNLESS_WELL = "UnlessWell"
    """It does not run as long as all goes well: it asks for a failure, by its triggerRule or by phases in `when`."""
    FAILS = "Fails"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One task. `items` are the first of a fan-out, `total` how many there are, None where an output says it; `fields`
    are those with expressions, by their paths as users write them, rendered as far as they can be (for a fan-out's
    first item; `each` has them for each of `items`)."""

    task: str
    verdict: Forecast
    why: str = ""
    items: Sequence[Any] | None = None
    total: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    each: Sequence[Mapping[str, Any]] = ()


class Fails(str):
    """Which field cannot be rendered and why, in place of its value."""


class Foreseeing:
    """An Evaluator that knows no task's output. What it cannot know it gives as it is written, or, where a string is of
    no use to the engine, as a value of the type that it needs."""

    def __init__(self, evaluator: Evaluator, definition: Definition, now: datetime) -> None:
        self._evaluator = evaluator
        self._instead = dict(_instead(definition, now))
        # Stand-in for unknown items, none of which has a field to read.
        self._items = {text for value in self._instead.values() if isinstance(value, list) for text in value}
        self.unknown: list[str] = []
        """The sources of what could not be known since this was emptied."""

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """See Evaluator."""
        return self._evaluator.check(source, variables)

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        """See Evaluator."""
        return self._evaluator.check_all(sources, variables)

    def evaluate(
        self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], *, zone: str = "UTC"
    ) -> Any:
        """See Evaluator."""
        if not any(self._is_unknown(name, value) for name, value in values.items()):
            return self._evaluator.evaluate(source, variables, values, zone=zone)
        self.unknown.append(source)
        return self._instead.get(source, f"${{{{ {source} }}}}")

    def _is_unknown(self, variable: str, value: Any) -> bool:
        if variable == "item":
            return any(text in self._items for _, text in templated_fields.deep((), value))
        return variable.startswith("tasks.") and variable.endswith(".output") and value is not None


def _instead(definition: Definition, now: datetime) -> Iterator[tuple[str, Any]]:
    """Yield a stand-in for the value of each expression, by its source, if the field is not a string."""
    for node in definition.nodes.values():
        task = node.task
        yield from _whole(task.when, True)
        if task.for_each is not None:
            lists = [task.for_each.items, *(task.for_each.matrix or {}).values()]
            for text in lists:
                yield from _whole(text, [text])
        for name, stand_in in node.record.stand_ins.items():
            yield from _whole(getattr(node.record.of(task), name), stand_in(format_time(now)))
        for path, text in templated_fields.templated(task):
            if path[:2] == ("pod", "resources"):
                yield from ((expression.source, "1") for expression in parse(text).expressions)


def _whole(text: Any, value: Any) -> Iterator[tuple[str, Any]]:
    whole = parse(text).whole if isinstance(text, str) else None
    if whole is not None:
        yield whole.source, value


def foresee(
    definition: Definition, run: RunFact, now: datetime, evaluator: Evaluator, policy: PodPolicy = RESTRICTED
) -> list[Foreseen]:
    """Return what would become of each task, in the order in which they are written, if nothing failed by itself. The
    params of the run are known to fit."""
    definition = _alone(definition)
    seeing = Foreseeing(evaluator, definition, now)
    found: dict[str, Foreseen] = {}
    status: WorkflowRunStatus | None = None
    while True:
        facts, decided = _decided(definition, Facts(run, status, pod_policy=policy), now, seeing)
        for entry in decided.tasks or ():
            if entry.name not in found and (entry.phase.ended or entry.phase is TaskPhase.RUNNING):
                found[entry.name] = _foreseen(PlanDraft(definition, facts, now, seeing), seeing, entry, found)
        advanced = _passed(decided, now, found)
        if decided.phase.ended or advanced == status:
            break
        status = advanced
    return [found.get(task.name) or Foreseen(task.name, Forecast.DEPENDS) for _, task in definition.spec.every_task()]


def _alone(definition: Definition) -> Definition:
    """Return the definition of a run that shares no pools and passes no files on. Slots come sooner or later, artifacts
    with the tasks that leave them: neither changes what runs."""
    granted = {"pool": None, "artifacts": None}
    nodes = {name: replace(node, task=node.task.model_copy(update=granted)) for name, node in definition.nodes.items()}
    return replace(definition, nodes=nodes)


def _passed(status: WorkflowRunStatus, now: datetime, found: Mapping[str, Foreseen]) -> WorkflowRunStatus:
    """Return the status a moment later: what ran has succeeded, but for fan-outs whose items fail."""
    tasks = []
    for task in status.tasks or ():
        if task.phase is TaskPhase.RUNNING:
            fails = task.name in found and found[task.name].verdict is Forecast.FAILS
            end = {"phase": TaskPhase.FAILED if fails else TaskPhase.SUCCEEDED, "message": None, "completion_time": now}
            task = task.model_copy(update={**end, "reason": Reason.ITEMS_FAILED if fails else None})
        tasks.append(task)
    return status.model_copy(update={"tasks": tasks})


def _decided(
    definition: Definition, facts: Facts, now: datetime, seeing: Foreseeing
) -> tuple[Facts, WorkflowRunStatus]:
    """Return one decision, in which every pool has room."""
    while True:
        plan = decide(definition, facts, now, seeing)
        asked = {read.slot: SlotGrant(granted=True) for read in plan.reads if isinstance(read, AskSlot)}
        if not asked:
            return facts, plan.status
        facts = replace(facts, turns={**facts.turns, **asked})


def _foreseen(draft: PlanDraft, seeing: Foreseeing, entry: TaskStatus, before: Mapping[str, Foreseen]) -> Foreseen:
    """Return what is to be said of a task that has just been decided about."""
    node = draft.definition.nodes[entry.name]
    message = entry.message or ""
    match entry.phase:
        case TaskPhase.FAILED:
            return Foreseen(entry.name, Forecast.FAILS, f"{entry.reason}: {message}")
        case TaskPhase.OMITTED:
            return Foreseen(entry.name, Forecast.SKIPPED, message)
        case TaskPhase.SKIPPED if entry.reason is Reason.RULE_NOT_MET:
            return Foreseen(entry.name, Forecast.UNLESS_WELL, f"triggerRule {node.rule}")
        case TaskPhase.SKIPPED if entry.reason is Reason.WHEN_FALSE and _asks_for_phases(node):
            return Foreseen(entry.name, Forecast.UNLESS_WELL, f"when {node.task.when}")
        case TaskPhase.SKIPPED:
            return Foreseen(entry.name, Forecast.SKIPPED, message)
    found = _depends(draft, seeing, node, before)
    if node.task.for_each is not None:
        return _fan_out(draft, seeing, node, found, entry.items)
    return replace(found, fields=_rendered(draft, node, None))


def _asks_for_phases(node: Node) -> bool:
    whole = parse(node.task.when or "").whole
    return any("phase" in (reference.name, reference.attribute) for reference in (whole.references if whole else ()))


def _depends(draft: PlanDraft, seeing: Foreseeing, node: Node, before: Mapping[str, Foreseen]) -> Foreseen:
    """Return whether a task runs for certain: neither its own `when` asks for what is not known, nor does it follow one
    that may not run."""
    if node.task.when is not None:
        seeing.unknown.clear()
        whole = parse(node.task.when).whole
        assert whole is not None
        draft.renderer(node).value(whole)
        if seeing.unknown:
            return Foreseen(node.name, Forecast.DEPENDS, f"if {node.task.when}")
    uncertain = [name for name in node.depends_on if before[name].verdict is Forecast.DEPENDS]
    if uncertain and _follows(node.rule, len(uncertain), len(node.depends_on)):
        either = node.rule in (TriggerRule.ANY_SUCCEEDED, TriggerRule.NONE_FAILED)
        return Foreseen(node.name, Forecast.DEPENDS, f"if {(' or ' if either else ' and ').join(uncertain)} did")
    return Foreseen(node.name, Forecast.RUNS)


def _follows(rule: TriggerRule, uncertain: int, total: int) -> bool:
    """Return whether a task may be skipped given that `uncertain` of its `total` dependencies may be."""
    match rule:
        case TriggerRule.ALL_DONE:
            return False
        case TriggerRule.ANY_SUCCEEDED | TriggerRule.NONE_FAILED:
            return uncertain == total
    return True


def _fan_out(draft: PlanDraft, seeing: Foreseeing, node: Node, found: Foreseen, status: ItemsStatus | None) -> Foreseen:
    assert node.task.for_each is not None
    seeing.unknown.clear()
    try:
        items = resolve(node.task.for_each, draft.renderer(node))
    except (ExpressionError, TemplateError, ItemsInvalid) as error:
        return Foreseen(node.name, Forecast.FAILS, str(error))
    if seeing.unknown:
        texts = [text for _, text in templated_fields.sources(node.task) if "${{" in text]
        return replace(found, items=texts, fields=_rendered(draft, node, Item(0, texts[0])))
    total = status.total if status is not None else len(items)
    each = [_rendered(draft, node, Item(index, item)) for index, item in enumerate(items[:ITEMS_SHOWN])]
    found = replace(found, items=items[:ITEMS_SHOWN], total=total, fields=each[0] if each else {}, each=each)
    failing = [
        next((f"item {index} {value}" for value in shown.values() if isinstance(value, Fails)), "")
        for index, shown in enumerate(each)
    ]
    why = [words for words in failing if words]
    if len(why) <= max_failed(node):
        return found
    of = f"the first {len(each)}" if total > len(each) else f"{total}"
    return replace(found, verdict=Forecast.FAILS, why=f"{len(why)} of {of} items fail; {why[0]}")


def _rendered(draft: PlanDraft, node: Node, item: Item | None) -> dict[str, Any]:
    """Return the fields that have expressions, each with the engine's own renderer."""
    renderer = draft.renderer(node, item)
    found: dict[str, Any] = {}
    for path, text in templated_fields.templated(node.task):
        if "${{" not in text:
            continue
        where = _field(path, node.task)
        try:
            value = renderer.field(text, where)
            # What is not known yet stays as it was written, not encoded.
            known = "${{" not in str(value)
            found[where] = renderer.url(text, where) if templated_fields.is_url(path) and known else value
        except (ExpressionError, TemplateError) as error:
            found[where] = Fails(f"fails: {error}")
    return found


def _field(path: Path, task: Task) -> str:
    """As users read it: env by the variable's name, since the defaults' variables come first in the list."""
    if path[0] == "env" and isinstance(path[1], int):
        return f"env {(task.env or ())[path[1]].name}"
    return field_name(path)
