"""What a file says to NEXUS: its Workflows, WorkflowRuns, Secrets and ConfigMaps, and what is wrong with them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from nexus.api.base import API_VERSION, GROUP, Model
from nexus.api.codes import Code
from nexus.api.manifest import Document, ManifestError, read
from nexus.api.rules import FROM_OR_TASKS, NAME_LIMIT, REF_OR_SPEC, SHORT_NAME
from nexus.api.workflow import WorkflowSpec
from nexus.cli.ending import UsageError
from nexus.cli.located import Located, locate, odd_keys, unquoted
from nexus.cli.pools import PoolSizes, of_namespace, unknown
from nexus.cli.syntax import NO_BASH, check_code
from nexus.cli.terminal import say
from nexus.core.expressions.templates import Evaluator
from nexus.core.manifest.problem import Path as FieldPath
from nexus.core.manifest.problem import Problem
from nexus.core.manifest.schema_errors import misfits
from nexus.core.manifest.suggestions import of_string
from nexus.core.pools.size import CONFIG_MAP
from nexus.core.text.similar_names import closest, did_you_mean
from nexus.core.validate import problems
from nexus.core.validate.calls import circle, unfit
from nexus.core.validate.warnings import warnings

if TYPE_CHECKING:
    from nexus.api.run import WorkflowRunSpec

KINDS = ("Workflow", "WorkflowRun")
ENVELOPE = ("apiVersion", "kind", "metadata", "spec", "status")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Spec = TypeVar("Spec", bound=Model)


@dataclass(frozen=True)
class WorkflowDocument:
    """A Workflow of the file; `spec` is None where it has problems."""

    document: Document
    name: str
    namespace: str | None
    spec: WorkflowSpec | None


@dataclass(frozen=True)
class RunDocument:
    """A WorkflowRun of the file; `spec` is without its inline definition, which is `workflow_spec`."""

    document: Document
    metadata: Mapping[str, Any]
    spec: WorkflowRunSpec | None
    workflow_spec: WorkflowSpec | None


@dataclass
class Manifest:
    """One file, read and checked."""

    source: str
    text: str
    workflows: list[WorkflowDocument] = field(default_factory=list)
    runs: list[RunDocument] = field(default_factory=list)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    pools: list[PoolSizes] = field(default_factory=list)
    problems: list[Located] = field(default_factory=list)
    warnings: list[Located] = field(default_factory=list)
    """What keeps nothing from running, and should be looked at again."""
    definitions: list[tuple[Document, FieldPath, WorkflowSpec]] = field(default_factory=list)
    """Each definition whose fields fit, with its document and its place there."""
    unchecked: bool = False
    """Whether there is more to check once these problems have been fixed."""

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines()
        self._named: dict[str, WorkflowDocument] = {}

    def workflow(self, name: str) -> WorkflowDocument | None:
        """Return the Workflow of this name."""
        return self._named.get(name)

    def add_workflow(self, workflow: WorkflowDocument) -> None:
        """Note a Workflow; of several with one name the first is meant by it."""
        self.workflows.append(workflow)
        self._named.setdefault(workflow.name, workflow)

    def specs(self) -> dict[str, WorkflowSpec]:
        """Return the sound definitions of its Workflows, by name."""
        return {workflow.name: workflow.spec for workflow in self.workflows if workflow.spec is not None}

    def definition(self, run: RunDocument) -> WorkflowSpec | None:
        """Return what a WorkflowRun executes, where the file has it and it is sound."""
        if run.workflow_spec is not None or run.spec is None or run.spec.workflow_ref is None:
            return run.workflow_spec
        named = self.workflow(run.spec.workflow_ref.name)
        return named.spec if named is not None else None

    def locate(self, problem: Problem, document: Document, *below: str | int) -> Located:
        """Return the place of a problem of one of its documents; its path starts at `below`."""
        return locate(problem, document, self.lines, below)

    def add(self, document: Document, found: Iterable[Problem], *below: str | int) -> None:
        """Note problems of one of its documents."""
        self.problems += [self.locate(problem, document, *below) for problem in found]

    def warn(self, document: Document, found: Iterable[Problem], *below: str | int) -> None:
        """Note warnings of one of its documents."""
        told = (self.locate(problem, document, *below) for problem in found)
        self.warnings += [replace(warning, warning=True) for warning in told]

    def order(self) -> None:
        """Put problems and warnings in the order of the file."""
        self.problems.sort()
        self.warnings.sort()


class Unsound(UsageError):
    """A file, or what is given for a run of it, has problems."""

    def __init__(self, found: Sequence[Located], given: Sequence[str] = ()) -> None:
        super().__init__(*given, *map(str, found))
        self._found, self._given = found, given

    def to_json(self) -> list[dict[str, Any]]:
        """For `-o json`, as lint has it; what `--param` gives has no place."""
        nowhere = dict.fromkeys(("file", "line", "column"))
        options = [
            {**nowhere, "code": Code.INVALID_PARAM.value, "severity": "error", "task": None, "field": None,
             "message": text}
            for text in self._given
        ]  # fmt: skip
        return [*options, *(problem.to_json() for problem in self._found)]


def load_sound(file: str, evaluator: Evaluator, *, code: bool = True) -> Manifest:
    """Read and check a file, or standard input (-), the syntax of its code only with `code`. Raises Refused with all
    that is wrong in it."""
    manifest = load(read_text(file), "<stdin>" if file == "-" else file, evaluator)
    if code and not check_code(manifest):
        say(f"nexus: {NO_BASH}", to=sys.stderr)
    if manifest.problems:
        raise Unsound(manifest.problems)
    return manifest


def load(text: str, source: str, evaluator: Evaluator) -> Manifest:
    """Read and check a file; documents of kinds that are not ours are passed over."""
    manifest = Manifest(source, text)
    try:
        documents = read(text, source)
    except ManifestError as error:
        manifest.problems.append(Located(error.source, error.line, error.column, error.code, error.message))
        manifest.unchecked = True
        return manifest
    for document in documents:
        envelope = list(_envelope(document, manifest.lines))
        manifest.add(document, envelope)
        version, kind = document.body.get("apiVersion"), document.body.get("kind")
        if envelope:
            manifest.unchecked = True
            continue
        if version == API_VERSION:
            manifest.problems += odd_keys(document, manifest.lines)
        if version == API_VERSION and kind == "Workflow":
            _workflow(manifest, document, evaluator)
        elif version == API_VERSION:
            _run(manifest, document, evaluator)
        elif version == "v1" and kind in ("Secret", "ConfigMap"):
            manifest.add(document, _entries(manifest, document))
    _calls(manifest, evaluator)
    _pools(manifest)
    manifest.problems.sort()
    manifest.warnings.sort()
    return manifest


def _envelope(document: Document, lines: Sequence[str]) -> Iterator[Problem]:
    """Yield what is around the spec: enough to know whether the document is ours."""
    body = document.body
    version, kind = body.get("apiVersion"), body.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        missing = "kind" if isinstance(version, str) else "apiVersion"
        yield Problem(
            (),
            Code.MISSING_FIELD,
            f'missing required field "{missing}"; a Workflow has apiVersion: {API_VERSION} and kind: Workflow',
        )
        return
    group = version.partition("/")[0]
    close = closest(group, [GROUP], cutoff=0.75)
    if group != GROUP and not (close and kind in KINDS):
        return
    if version != API_VERSION:
        yield Problem(("apiVersion",), Code.UNKNOWN_KIND, f'unsupported apiVersion "{version}"; use {API_VERSION}')
    if kind not in KINDS:
        near = closest(kind, KINDS)
        hint = did_you_mean(near) if near else f"must be {' or '.join(KINDS)}"
        yield Problem(("kind",), Code.UNKNOWN_KIND, f'unknown kind "{kind}" in {GROUP}; {hint}')
    for name in body:
        if name not in ENVELOPE:
            near = closest(name, ENVELOPE)
            hint = did_you_mean(near) if near else f"fields are {', '.join(ENVELOPE)}"
            yield Problem((name,), Code.UNKNOWN_FIELD, f'unknown field "{name}"; {hint}')
    if not isinstance(body.get("spec"), dict):
        missing_spec = body.get("spec") is None
        code = Code.MISSING_FIELD if missing_spec else Code.WRONG_TYPE
        yield Problem(("spec",), code, 'missing required field "spec"' if missing_spec else "spec must be an object")
    yield from _metadata(body.get("metadata"), generated=kind == "WorkflowRun")
    for path, value in _texts(body.get("metadata")):
        if not isinstance(value, str):
            yield Problem(path, Code.WRONG_TYPE, of_string(value, unquoted(document, lines, path)))


def _texts(metadata: object) -> Iterator[tuple[FieldPath, object]]:
    """Yield (path, value) of what is there in the metadata and must be a string. kubectl takes nulls out."""
    given = metadata if isinstance(metadata, dict) else {}
    pairs: list[tuple[FieldPath, object]] = [
        ((name,), given.get(name)) for name in ("name", "generateName", "namespace")
    ]
    for name in ("labels", "annotations"):
        entries = given.get(name)
        pairs += [((name, key), value) for key, value in entries.items()] if isinstance(entries, dict) else []
    yield from ((("metadata", *path), value) for path, value in pairs if value is not None)


def _metadata(metadata: object, *, generated: bool) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        yield Problem(
            ("metadata",),
            Code.MISSING_FIELD,
            'missing required field "metadata"; set a name, as in metadata: {name: sales}',
        )
        return
    name = metadata.get("name")
    if name is None:
        if not (generated and isinstance(metadata.get("generateName"), str)):
            yield Problem(
                ("metadata",),
                Code.MISSING_FIELD,
                'missing required field "name"' + (" (or generateName)" if generated else ""),
            )
    elif isinstance(name, str) and (len(name) > 253 or not _NAME.fullmatch(name)):
        rule = "at most 253 lower-case letters, digits, - and ., a letter or digit first and last"
        yield Problem(("metadata", "name"), Code.INVALID_NAME, f'invalid name "{name[:80]}"; a name has {rule}')
    elif isinstance(name, str) and len(name) > NAME_LIMIT:
        yield Problem(("metadata", "name"), Code.WRONG_LENGTH, SHORT_NAME.message)


def _workflow(manifest: Manifest, document: Document, evaluator: Evaluator) -> None:
    metadata: Any = document.body["metadata"]
    name = str(metadata.get("name"))
    spec, found = _definition(manifest, document, ("spec",), evaluator, name)
    manifest.add(document, found, "spec")
    if manifest.workflow(name) is not None:
        manifest.add(document, [Problem((), Code.DUPLICATE_NAME, f'duplicate Workflow name "{name}"')])
    manifest.add_workflow(WorkflowDocument(document, name, metadata.get("namespace"), spec))


def _run(manifest: Manifest, document: Document, evaluator: Evaluator) -> None:
    from nexus.api.run import WorkflowRunSpec

    body: Any = document.body["spec"]
    inline = body.get("workflowSpec")
    spec, found = checked({key: value for key, value in body.items() if key != "workflowSpec"}, WorkflowRunSpec)
    manifest.add(document, found, "spec")
    if (inline is None) == (body.get("workflowRef") is None):
        manifest.add(document, [Problem((), Code.EXCLUSIVE_FIELDS, REF_OR_SPEC.message)], "spec")
    manifest.add(document, _choices(spec), "spec")
    definition = None
    if inline is not None:
        if isinstance(inline, dict) and inline.get("schedules"):
            message = "a run's own definition is executed once: schedules are for a Workflow"
            manifest.add(document, [Problem(("schedules",), Code.NO_EFFECT, message)], "spec", "workflowSpec")
        definition, found = _definition(manifest, document, ("spec", "workflowSpec"), evaluator)
        manifest.add(document, found, "spec", "workflowSpec")
    metadata: Any = document.body["metadata"]
    manifest.runs.append(RunDocument(document, metadata, spec, definition))


def _choices(spec: WorkflowRunSpec | None) -> Iterator[Problem]:
    """Yield what the API server refuses of a rerun and of decisions."""
    rerun = spec.rerun_of if spec is not None else None
    if rerun is not None and rerun.from_ is not None and rerun.tasks is not None:
        yield Problem(("rerunOf",), Code.EXCLUSIVE_FIELDS, FROM_OR_TASKS.message)
    decided = [one.task for one in (spec.approvals if spec is not None else None) or ()]
    for position, task in enumerate(decided):
        if task in decided[:position]:
            message = f'duplicate approval of task "{task}"'
            yield Problem(("approvals", position, "task"), Code.DUPLICATE_NAME, message)


def _calls(manifest: Manifest, evaluator: Evaluator) -> None:
    """Check how the Workflows of the file call each other. One that is not in it may be in the cluster."""
    specs = manifest.specs()
    for workflow in manifest.workflows:
        if workflow.spec is not None:
            manifest.add(workflow.document, unfit(workflow.spec, specs, evaluator), "spec")
    for run in manifest.runs:
        if run.workflow_spec is not None:
            manifest.add(run.document, unfit(run.workflow_spec, specs, evaluator), "spec", "workflowSpec")
    found = circle(specs)
    if found is not None:
        name, problem = found
        first = manifest.workflow(name)
        assert first is not None
        manifest.add(first.document, [problem], "spec")


def _pools(manifest: Manifest) -> None:
    """Check the sizes of pools, and the tasks that name pools, if the file has the ConfigMap of their namespace."""
    for sizes in manifest.pools:
        manifest.add(sizes.document, sizes.problems())
    for workflow in manifest.workflows:
        if workflow.spec is not None:
            sizes_there = of_namespace(manifest.pools, workflow.namespace or "default")
            manifest.add(workflow.document, unknown(workflow.spec, sizes_there), "spec")
    for run in manifest.runs:
        if run.workflow_spec is not None:
            sizes_there = of_namespace(manifest.pools, run.metadata.get("namespace") or "default")
            manifest.add(run.document, unknown(run.workflow_spec, sizes_there), "spec", "workflowSpec")


def _definition(
    manifest: Manifest, document: Document, place: FieldPath, evaluator: Evaluator, name: str = ""
) -> tuple[WorkflowSpec | None, list[Problem]]:
    """Return the definition at a place of a document, and its problems; its warnings are noted."""
    body: Any = document.body
    for step in place:
        body = body[step]
    spec, found = checked(body, WorkflowSpec)
    if spec is None:
        manifest.unchecked = True
    else:
        found = problems(spec, evaluator, name, datetime.now(UTC), every_cycle=True)
        manifest.definitions.append((document, place, spec))
        manifest.warn(document, warnings(spec), *place)
    return (spec if not found else None), found


def _entries(manifest: Manifest, document: Document) -> Iterator[Problem]:
    """Yield a Secret or ConfigMap, for local runs."""
    metadata = document.body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        yield Problem(("metadata",), Code.MISSING_FIELD, 'missing required field "name"')
        return
    from nexus.adapters.local.bindings import of_manifest

    kept = manifest.secrets if document.body["kind"] == "Secret" else manifest.config_maps
    try:
        kept[name] = of_manifest(document.body)
    except ValueError as error:
        yield Problem((), Code.INVALID_VALUE, str(error))
        return
    if document.body["kind"] == "ConfigMap" and name == CONFIG_MAP:
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        manifest.pools.append(PoolSizes(document, str(namespace) if namespace else None, kept[name]))


def checked(body: Any, model: type[Spec]) -> tuple[Spec | None, list[Problem]]:
    """Return a spec as its model, or what is wrong with its fields."""
    try:
        # As JSON and strictly, since the API server converts nothing either: "30" is no number of seconds. By alias
        # alone: depends_on, which is our name for it in Python, is not a field of a manifest.
        return model.model_validate_json(json.dumps(body), strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, misfits(error.errors(include_url=False), body, model)


def read_text(file: str) -> str:
    """Return the text of a file, or of standard input for `-`. Raises Refused."""
    try:
        return sys.stdin.buffer.read().decode() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is not UTF-8 (byte {error.start})") from error
