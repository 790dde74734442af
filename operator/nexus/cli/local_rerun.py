"""`nexus run -f FILE --local --rerun-of RUN.json`: run again what did not succeed in a run that -o json printed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nexus.api.base import parse_time
from nexus.api.reasons import Reason
from nexus.api.run import RerunOf, TaskStatus, Trigger, WorkflowRunSpec, WorkflowRunStatus
from nexus.cli.ending import UsageError
from nexus.cli.prepared import Prepared
from nexus.core.engine.decide import decide
from nexus.core.engine.rerun import unknown_task
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition, Node
from nexus.core.model.facts import Earlier, Facts
from nexus.core.model.graph import descendants
from nexus.core.model.plan import LoadOutput


@dataclass(frozen=True)
class Saved:
    """A run as -o json printed it, and the tasks to run again besides what did not succeed."""

    name: str
    uid: str
    created_at: datetime
    spec: WorkflowRunSpec
    status: WorkflowRunStatus
    tasks: Sequence[str]

    def params(self, given: Sequence[str]) -> list[str]:
        """Return what `--param` is to say: the values of the saved run, but for those that are given."""
        names = {text.partition("=")[0] for text in given}
        kept = {name: value for name, value in (self.spec.params or {}).items() if name not in names}
        texts = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in kept.items()]
        return [*texts, *given]


def saved(file: str, tasks: Sequence[str]) -> Saved:
    """Read it. Raises Refused."""
    try:
        body = json.loads(Path(file).read_text(encoding="utf-8"))
        metadata = body["metadata"]
        return Saved(
            metadata["name"],
            metadata["uid"],
            parse_time(metadata["creationTimestamp"]),
            WorkflowRunSpec.model_validate(body["spec"]),
            WorkflowRunStatus.model_validate(body["status"]),
            tasks,
        )
    except OSError as error:
        raise UsageError(f"--rerun-of {file}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        words = "expected a run as printed by `nexus run --local -o json`"
        raise UsageError(f"--rerun-of {file}: {words}") from error


def load_rerun(prepared: Prepared, run: Saved, store: Path | None, evaluator: Evaluator) -> tuple[Prepared, Earlier]:
    """Return the prepared run, for the time of the saved one, and what it takes over. Raises Refused where it
    cannot."""
    workflow = run.spec.workflow_ref.name if run.spec.workflow_ref is not None else ""
    if workflow != prepared.fact.workflow:
        of = f"of Workflow {workflow}" if workflow else "with a definition of its own"
        raise UsageError(
            f"--rerun-of: run {run.name} is a run {of}, and this file runs another; pass the file of that run with -f"
        )
    wrong = [f"--from-task: {why}" for task in run.tasks if (why := unknown_task(task, prepared.definition.spec))]
    if wrong:
        raise UsageError(*wrong)
    times: dict[str, Any] = {
        "scheduled_time": run.spec.scheduled_time or run.created_at,
        "interval_start": run.spec.interval_start,
        "interval_end": run.spec.interval_end,
    }
    zone = run.spec.time_zone or prepared.fact.time_zone
    wanted = RerunOf(name=run.name, tasks=list(run.tasks) or None)
    fact = replace(prepared.fact, trigger=Trigger.RERUN, time_zone=zone, **times)
    named = {"rerun_of": wanted, "triggered_by": Trigger.RERUN, "time_zone": run.spec.time_zone}
    spec = prepared.spec.model_copy(update={**times, **named, "schedule": run.spec.schedule})
    earlier = Earlier(
        *(wanted, run.uid, workflow, run.spec.params or {}, run.status, run.spec.workflow_spec),
        named_by="with --from-task TASK",
        run=replace(
            prepared.fact,
            name=run.name,
            uid=run.uid,
            created_at=run.created_at,
            trigger=run.spec.triggered_by or Trigger.MANUAL,
            params=run.spec.params or {},
            scheduled_time=run.spec.scheduled_time,
            interval_start=run.spec.interval_start,
            interval_end=run.spec.interval_end,
            time_zone=run.spec.time_zone or "UTC",
        ),
    )
    # The result is known before anything starts.
    plan = decide(prepared.definition, Facts(fact, earlier=earlier), datetime.now(UTC), evaluator, may_start=False)
    if plan.status.reason is Reason.RERUN_REFUSED:
        raise UsageError(f"--rerun-of: {plan.status.message}")
    large = [read.task for read in plan.reads if isinstance(read, LoadOutput)]
    if large:
        again = " ".join(f"--from-task {task}" for task in large)
        raise UsageError(f"--rerun-of: the outputs of {', '.join(large)} were too large for the saved run; add {again}")
    lost = _lost(prepared.definition, {task.name: task for task in plan.status.tasks or ()}, store)
    if lost:
        place = f"not in {store}" if store is not None else "in the store of that run"
        again = " ".join(f"--from-task {task}" for task in lost)
        words = f"what {', '.join(lost)} wrote is {place}; pass the --store FOLDER of that run, or add {again}"
        raise UsageError(f"--rerun-of: {words}")
    return replace(prepared, fact=fact, spec=spec), earlier


def _lost(definition: Definition, tasks: Mapping[str, TaskStatus], store: Path | None) -> list[str]:
    """Return the tasks whose files and large outputs are needed and are not in the store: those to begin with."""
    kept = {name for name, task in tasks.items() if task.reason is Reason.REUSED}
    lost: set[str] = set()
    while True:
        after = _after(definition, lost)
        again = {name for name in definition.nodes if name not in kept} | lost | after
        needed = [(task, key) for name in again for task, key in _taken(definition.nodes[name], tasks)]
        absent = {task for task, key in needed if task not in again and not (store and (store / key).is_file())}
        if not absent:
            return [name for name in definition.nodes if name in lost - after]
        lost |= absent


def _after(definition: Definition, tasks: Collection[str]) -> set[str]:
    """Return the tasks after these."""
    return descendants({name: node.depends_on for name, node in definition.nodes.items()}, tasks) if tasks else set()


def _taken(node: Node, tasks: Mapping[str, TaskStatus]) -> Iterator[tuple[str, str]]:
    """Yield what a task takes from the output store: whose it is, and its key there."""
    for name in node.depends_on if not node.record.is_bare else ():
        stored = tasks[name].stored_output if name in tasks else None
        if stored is not None:
            yield name, stored.key
    for entry in (node.task.artifacts.inputs if node.task.artifacts else None) or ():
        name, _, artifact = entry.from_.partition(".")
        left = (tasks[name].artifacts if name in tasks else None) or ()
        yield from ((name, stored.key) for stored in left if stored.name == artifact)
