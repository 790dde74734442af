"""`nexus run -f FILE --local`: find out what is to run, refuse what cannot, run it, show it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.local.backend import container_runtime
from nexus.adapters.local.bindings import Bindings
from nexus.adapters.local.pools import read_sizes, unbounded
from nexus.adapters.local.run import Finished, run
from nexus.api.base import API_VERSION, format_time
from nexus.api.codes import Code
from nexus.api.manifest import Document
from nexus.api.run import Approval, Trigger, WorkflowRef, WorkflowRunSpec
from nexus.api.workflow import WorkflowSpec
from nexus.cli import asking, given, summary, view
from nexus.cli.ending import Exit, UsageError, of_phase
from nexus.cli.local_rerun import load_rerun, saved
from nexus.cli.located import Located
from nexus.cli.manifests import Manifest, RunDocument, load_sound
from nexus.cli.pools import of_namespace
from nexus.cli.prepared import Prepared
from nexus.cli.schedule import time_of, told
from nexus.cli.terminal import say, say_json
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Problem
from nexus.core.model.definition import Definition, prepare, waits_for
from nexus.core.model.facts import RunFact
from nexus.core.names import LABEL_WORKFLOW, label_value
from nexus.core.pools.size import CONFIG_MAP
from nexus.core.schedule.as_of import of_time
from nexus.core.validate.calls import callees, missing, reachable
from nexus.services.calendar import remark

# The alphabet and length of the API server's generateName.
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Answers:
    """What is said beforehand to approval tasks, by their names, and whether the others can be asked about."""

    approve: Sequence[str] = ()
    reject: Sequence[str] = ()
    terminal: bool = False


async def run_local(
    file: str,
    param_texts: Sequence[str],
    secret_texts: Sequence[str],
    answers: Answers,
    store: Path | None = None,
    *,
    at: str | None = None,
    again: tuple[str, Sequence[str]] | None = None,
    as_json: bool,
) -> Exit:
    """Run the Workflow of a file on this machine, as of the time `at` where it is given; `again` is a file with a run,
    of which only what did not succeed is to run, and these tasks; `store` is the folder
    that is its output store. Raises Refused, before anything was started."""
    old = saved(*again) if again is not None else None
    with CelEvaluator() as evaluator:
        param_texts = old.params(param_texts) if old is not None else param_texts
        prepared = prepare_run(file, param_texts, secret_texts, answers, evaluator, at)
        prepared, earlier = load_rerun(prepared, old, store, evaluator) if old is not None else (prepared, None)
        if store is not None:
            _make(store)
        stream = sys.stderr if as_json else sys.stdout
        waits = waits_for(prepared.definition.spec)
        depends_on = {name: waits[name] for name in prepared.definition.nodes}
        with view.choose(prepared.fact.name, stream, depends_on) as shown:
            for note in prepared.notes:
                shown.note(note)
            ask = asking.Terminal(shown, sys.stdin.fileno()) if answers.terminal else None
            shown.asks_here = ask is not None
            finished = await run(
                prepared.fact,
                prepared.definition,
                prepared.bindings,
                prepared.search_path,
                shown,
                evaluator,
                prepared.workflows,
                ask,
                prepared.answers,
                earlier,
                store,
            )
    for line in summary.lines(prepared.fact.name, finished.status, finished.outputs, depends_on, local=True):
        say(line, to=stream)
    if as_json:
        say_json(_object(prepared, finished))
    return Exit.INTERRUPTED if finished.interrupted else of_phase(finished.status.phase)


def _make(store: Path) -> None:
    """Make the folder. Raises Refused if it cannot be made, or not be written."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=store):
            pass
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise UsageError(f"--store {store}: cannot be created or written: {words}") from error


def prepare_run(
    file: str,
    param_texts: Sequence[str],
    secret_texts: Sequence[str],
    answers: Answers,
    evaluator: Evaluator,
    at: str | None = None,
) -> Prepared:
    """Everything that can be found out before a run; all that is wrong is raised at once, as Refused."""
    time = time_of(at, "--at") if at else None
    secrets = given.secrets(secret_texts)
    manifest = load_sound(file, evaluator)
    asked, spec, document, name = what_runs(manifest)
    read = given.params(param_texts, spec.params or ())
    fact = fact_of(asked, name, read.values, manifest)
    notes = [*map(str, manifest.warnings), *_notes(file, name, spec, manifest)]
    as_of = of_time(spec.schedules or (), time) if time is not None else None
    if as_of is not None:
        fact = told(as_of, fact, evaluator)
        notes += filter(None, [remark(as_of, spec.schedules or ())])
    definition = prepare(spec)
    workflows = _below(manifest, spec)
    beforehand = asking.beforehand(definition, workflows, answers.approve, answers.reject)
    approvals = _approvals(asked, [approval for path, approval in beforehand.items() if "/" not in path])
    fact = replace(fact, approvals=approvals)
    bindings = Bindings(_merged(manifest.secrets, secrets), _config_maps(manifest, fact.namespace))
    notes += _unbounded(file, fact.namespace, (spec, *(child.spec for child in workflows.values())), bindings)
    wrong = params_problems(manifest, asked, document, fact, spec, evaluator, read)
    problems = [*read.problems, *map(str, wrong)]
    problems += [str(manifest.locate(problem, asked.document, "spec")) for problem in _steered(asked)] if asked else []
    below = ("spec", "workflowSpec") if document.body["kind"] == "WorkflowRun" else ("spec",)
    problems += _unready(manifest, document, below, definition, bindings)
    if not answers.terminal:
        unasked = asking.unanswered(definition, approvals)
        problems += [str(manifest.locate(problem, document, *below)) for problem in unasked]
    for child, prepared in workflows.items():
        if child != name:
            problems += _unready(manifest, _document(manifest, child), ("spec",), prepared, bindings)
    if not answers.terminal:
        for child, problem in asking.unanswered_below(definition, workflows, beforehand):
            problems.append(str(manifest.locate(problem, _document(manifest, child), "spec")))
    if problems:
        raise UsageError(*problems)
    recorded = asked.spec if asked is not None and asked.spec is not None else WorkflowRunSpec()
    inline = spec if document.body["kind"] == "WorkflowRun" else None
    return Prepared(
        fact=fact,
        spec=_recorded(as_of.spec(recorded) if as_of is not None else recorded, fact, name, inline),
        definition=definition,
        bindings=bindings,
        search_path=Path.cwd() if file == "-" else Path(file).resolve().parent,
        workflows=workflows,
        answers=beforehand,
        notes=notes,
    )


def _recorded(spec: WorkflowRunSpec, fact: RunFact, workflow: str, inline: WorkflowSpec | None) -> WorkflowRunSpec:
    """Return the spec that `-o json` prints: what the run was, from wherever it came."""
    return spec.model_copy(
        update={
            "workflow_ref": None if inline else WorkflowRef(name=workflow),
            "workflow_spec": inline,
            "params": dict(fact.params) or None,
            "triggered_by": fact.trigger,
            "approvals": list(fact.approvals) or None,
        }
    )


def _notes(file: str, name: str, spec: WorkflowSpec, manifest: Manifest) -> list[str]:
    """Print notes on what a user may not expect."""
    notes = []
    if len(manifest.runs) > 1:
        notes.append(f"{file} holds {len(manifest.runs)} WorkflowRuns; the first one runs")
    if spec.suspend:
        notes.append(f"Workflow {name} is suspended; in a cluster this run would wait")
    return notes


def _unbounded(file: str, namespace: str, specs: Iterable[WorkflowSpec], bindings: Bindings) -> list[str]:
    pools = unbounded(specs, read_sizes(bindings.config_maps))
    where = f"no ConfigMap {CONFIG_MAP} of namespace {namespace} with it in {file}"
    return [f"pool {pool} is not limited here: {where}" for pool in pools]


def _config_maps(manifest: Manifest, namespace: str) -> dict[str, Mapping[str, str]]:
    """Return those of the file; the sizes of pools are those of the run's namespace, as in a cluster."""
    others = {name: data for name, data in manifest.config_maps.items() if name != CONFIG_MAP}
    sizes = of_namespace(manifest.pools, namespace)
    return {**others, **({CONFIG_MAP: sizes} if sizes is not None else {})}


def _below(manifest: Manifest, spec: WorkflowSpec) -> dict[str, Definition]:
    """Return the Workflows of the file that a run's children may execute."""
    specs = manifest.specs()
    found = {child: None for _, _, callee in callees(spec) for child in reachable(callee, specs)}
    return {child: prepare(specs[child]) for child in found}


def _document(manifest: Manifest, workflow: str) -> Document:
    found = manifest.workflow(workflow)
    assert found is not None
    return found.document


def _unready(
    manifest: Manifest, document: Document, below: tuple[str, ...], definition: Definition, bindings: Bindings
) -> list[str]:
    """Return what this machine or this file lacks for a definition."""
    found = (
        *missing(definition.spec, manifest.specs()),
        *_containers(definition),
        *bindings.missing(definition),
    )
    return [str(manifest.locate(problem, document, *below)) for problem in found]


def what_runs(manifest: Manifest) -> tuple[RunDocument | None, WorkflowSpec, Document, str]:
    """Return the WorkflowRun, if there is one; the definition, its document, and the name of its Workflow."""
    asked = manifest.runs[0] if manifest.runs else None
    if asked is not None and asked.workflow_spec is not None:
        return asked, asked.workflow_spec, asked.document, ""
    if asked is not None and asked.spec is not None and asked.spec.workflow_ref is not None:
        name = asked.spec.workflow_ref.name
        workflow = manifest.workflow(name)
        if workflow is None or workflow.spec is None:
            known = ", ".join(other.name for other in manifest.workflows) or "none"
            missing = Problem(
                ("workflowRef",), Code.UNKNOWN_WORKFLOW, f'unknown Workflow "{name}"; this file has {known}'
            )
            raise UsageError(str(manifest.locate(missing, asked.document, "spec")))
        return asked, workflow.spec, workflow.document, name
    if not manifest.workflows or manifest.workflows[0].spec is None:
        raise UsageError(f"{manifest.source}: no Workflow found (apiVersion: {API_VERSION}, kind: Workflow)")
    first = manifest.workflows[0]
    assert first.spec is not None
    return None, first.spec, first.document, first.name


def fact_of(asked: RunDocument | None, workflow: str, params: dict[str, Any], manifest: Manifest) -> RunFact:
    """Return the run that is asked for, as the engine sees it; `params` win over those that the file gives it."""
    metadata = asked.metadata if asked is not None else {}
    prefix = str(metadata.get("generateName") or f"{workflow or 'run'}-")
    definition = manifest.workflow(workflow)
    namespace = metadata.get("namespace") or (definition.namespace if definition is not None else None)
    spec = asked.spec if asked is not None and asked.spec is not None else WorkflowRunSpec()
    return RunFact(
        namespace=str(namespace or "default"),
        name=str(metadata.get("name") or prefix + "".join(random.choices(_SUFFIX, k=5))),
        uid=str(uuid4()),
        created_at=datetime.now(UTC).replace(microsecond=0),
        workflow=workflow,
        trigger=spec.triggered_by or Trigger.MANUAL,
        params={**(spec.params or {}), **params},
        scheduled_time=spec.scheduled_time,
        interval_start=spec.interval_start,
        interval_end=spec.interval_end,
        time_zone=spec.time_zone or "UTC",
    )


def params_problems(
    manifest: Manifest,
    asked: RunDocument | None,
    document: Document,
    fact: RunFact,
    spec: WorkflowSpec,
    evaluator: Evaluator,
    read: given.Params,
) -> list[Located]:
    """Return what is wrong with the params of a run, each with its place."""
    try:
        resolve(spec.params or (), fact.params, fact, evaluator)
    except ParamsInvalid as error:
        place = asked.document if asked is not None else document
        return [manifest.locate(problem, place, "spec") for problem in read.others(error.problems)]
    return []


def _steered(asked: RunDocument) -> list[Problem]:
    """Return what a WorkflowRun of a file says that only makes sense of one in a cluster."""
    fields = [field for field in ("suspend", "cancel") if asked.spec is not None and getattr(asked.spec, field)]
    found = [
        Problem((field,), Code.CLUSTER_ONLY, "not supported for local runs, where it has no effect; remove it")
        for field in fields
    ]
    if asked.spec is not None and asked.spec.rerun_of is not None:
        message = (
            "refers to a run in a cluster; remove it, or pass a run that was printed with -o json as --rerun-of FILE"
        )
        found.append(Problem(("rerunOf",), Code.CLUSTER_ONLY, message))
    return found


def _approvals(asked: RunDocument | None, beforehand: Sequence[Approval]) -> tuple[Approval, ...]:
    """Return those of the file's WorkflowRun, and of the command line, which wins."""
    written = asked.spec.approvals if asked is not None and asked.spec is not None else None
    return tuple({approval.task: approval for approval in (*(written or ()), *beforehand)}.values())


def _containers(definition: Definition) -> list[Problem]:
    if container_runtime() is not None:
        return []
    message = (
        "container tasks require docker or podman on this machine, and neither is on the PATH; install one of them"
    )
    places = {task.name: place for place, task in definition.spec.every_task()}
    return [
        Problem((*places[name], node.type), Code.CLUSTER_ONLY, message, name)
        for name, node in definition.nodes.items()
        if node.record.is_bare
    ]


def _merged(first: dict[str, dict[str, str]], second: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return both, by key; the second wins."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}}


def _object(prepared: Prepared, finished: Finished) -> dict[str, Any]:
    """Return the WorkflowRun as the API server would give it."""
    fact = prepared.fact
    labels = {"labels": {LABEL_WORKFLOW: label_value(fact.workflow)}} if fact.workflow else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {
            "name": fact.name,
            "namespace": fact.namespace,
            "uid": fact.uid,
            "creationTimestamp": format_time(fact.created_at).replace(".000Z", "Z"),
            "generation": fact.generation,
            **labels,
        },
        "spec": prepared.spec.to_json(),
        "status": finished.status.to_json(),
    }
