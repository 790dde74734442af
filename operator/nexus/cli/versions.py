"""`nexus history` and `nexus diff`: the versions of a Workflow that its runs have pinned."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, WORKFLOW_RUNS, WORKFLOWS, KubeApi, Object
from nexus.adapters.kube.owners import owner_uid
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.workflow import WorkflowSpec
from nexus.cli.cluster import found, readable
from nexus.cli.detail import age, table
from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say, say_json
from nexus.core.manifest.schema_errors import read
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.text.json_text import dump
from nexus.core.workflow.changes import changes

RUNS_SHOWN = 2
CHANGES_SHOWN = 3


@dataclass(frozen=True)
class Version:
    """A version of a Workflow. `name` is that of its ControllerRevision, empty of the current one where no run has
    executed it; `runs` are those that there are of it, oldest first."""

    number: int
    name: str
    created: str
    spec: Mapping[str, Any]
    runs: Sequence[str]
    current: bool
    replaced: bool = False
    """Whether its ControllerRevision holds another definition than its runs began with."""


async def versions(api: KubeApi, namespace: str, workflow: str) -> list[Version]:
    """All versions that are kept, the newest first, the current one among them. Raises Refused."""
    body = readable(await found(api, WORKFLOWS, namespace, workflow))
    label = f"{LABEL_WORKFLOW}={label_value(workflow)}"
    revisions, runs = await asyncio.gather(
        api.list(CONTROLLER_REVISIONS, namespace, label), api.list(WORKFLOW_RUNS, namespace, label)
    )
    runs_of: dict[str, list[str]] = {}
    hashes: dict[str, set[str | None]] = {}
    for run in sorted(runs, key=lambda run: str(run["metadata"]["creationTimestamp"])):
        status = run.get("status") or {}
        revision = status.get("revision") or ""
        runs_of.setdefault(revision, []).append(run["metadata"]["name"])
        hashes.setdefault(revision, set()).update([status["revisionHash"]] if "revisionHash" in status else [])
    uid = body["metadata"]["uid"]
    current = revision_name(workflow, uid, dump(body["spec"]))
    kept = [
        _version(entry, runs_of, current, _replaced(entry, hashes))
        for entry in revisions
        if owner_uid(entry, "Workflow") == uid
    ]
    if all(not version.current for version in kept):
        metadata = body["metadata"]
        kept.append(Version(int(metadata.get("generation") or 1), "", "", body["spec"], (), current=True))
    return sorted(kept, key=lambda version: (version.current, version.number), reverse=True)


def _version(body: Object, runs_of: Mapping[str, Sequence[str]], current: str, replaced: bool) -> Version:
    name, created = body["metadata"]["name"], body["metadata"]["creationTimestamp"]
    spec = {} if replaced else revision_spec(body, None)
    return Version(
        int(body.get("revision") or 0), name, created, spec, runs_of.get(name, ()), name == current, replaced
    )


def _replaced(body: Object, hashes: Mapping[str, set[str | None]]) -> bool:
    """Whether it is not what the runs that name it recorded."""
    try:
        for sha256 in hashes.get(body["metadata"]["name"]) or {None}:
            revision_spec(body, sha256)
    except ContentChanged:
        return True
    return False


async def print_history(api: KubeApi, namespace: str, workflow: str, *, as_json: bool) -> Exit:
    """Print the versions, the newest first. Raises Refused."""
    kept = await versions(api, namespace, workflow)
    if as_json:
        say_json({"workflow": workflow, "revisions": list(map(_object, kept))})
        return Exit.SUCCEEDED
    now = datetime.now(UTC)
    rows = []
    for version, before in zip(kept, [*kept[1:], None], strict=True):
        number = f"{version.number}{' (current)' if version.current else ''}"
        created = age(now, version.created) if version.created else ""
        rows.append([number, created, _runs(version), _changed(version, before)])
    say("\n".join(table(("REVISION", "AGE", "RUNS", "CHANGED"), rows)))
    return Exit.SUCCEEDED


def _runs(version: Version) -> str:
    if not version.runs:
        return "none" if version.name else "none yet"
    last = version.runs[-RUNS_SHOWN:][::-1]
    more = len(version.runs) - len(last)
    return ", ".join(last) + (f" and {more} more" if more else "")


def _changed(version: Version, before: Version | None) -> str:
    if version.replaced:
        return f"unknown: {version.name} was replaced, it holds another definition"
    if before is None:
        return ""
    if before.replaced:
        return "unknown: the one below was replaced"
    told = changes(before.spec, version.spec)
    more = len(told) - CHANGES_SHOWN
    return "; ".join(told[:CHANGES_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _object(version: Version) -> dict[str, Any]:
    return {
        "revision": version.number,
        "name": version.name or None,
        "created": version.created or None,
        "current": version.current,
        "replaced": version.replaced,
        "runs": list(version.runs),
    }


async def print_diff(api: KubeApi, namespace: str, workflow: str, old: str, new: str | None) -> Exit:
    """Print what is different in `new`, or in the Workflow as it is now. Raises Refused."""
    kept = await versions(api, namespace, workflow)
    first = _named(kept, workflow, old)
    second = _named(kept, workflow, new) if new is not None else next(version for version in kept if version.current)
    for version in (first, second):
        if version.replaced:
            words = f"ControllerRevision {version.name} was replaced: it does not hold what its runs began with"
            raise UsageError(f"{words}: delete it (kubectl delete controllerrevision {version.name})")
    lines = list(_diff(workflow, first, second))
    say("\n".join(lines) if lines else f"{_label(workflow, first)} and {_label(workflow, second)} are the same")
    return Exit.FAILED if lines else Exit.SUCCEEDED


def _named(kept: Sequence[Version], workflow: str, text: str) -> Version:
    """The version that is meant: by its number, by the name of its ControllerRevision, or by a run of it."""
    for version in kept:
        if text in (str(version.number), version.name) or text in version.runs:
            return version
    known = ", ".join(str(version.number) for version in kept)
    raise UsageError(f"Workflow {workflow} has no revision {text}: there are {known} (nexus history {workflow})")


def _label(workflow: str, version: Version) -> str:
    return f"{workflow} revision {version.number}{' (current)' if version.current else ''}"


def _diff(workflow: str, old: Version, new: Version) -> Iterator[str]:
    texts = [yaml_text(version.spec).splitlines() for version in (old, new)]
    if texts[0] == texts[1]:
        # What the models leave out is a difference too, as a null that was written.
        texts = [_dumped(version.spec).splitlines() for version in (old, new)]
    first, second = texts
    return difflib.unified_diff(first, second, _label(workflow, old), _label(workflow, new), lineterm="")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do, and repeats what comes twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def yaml_text(spec: Mapping[str, Any]) -> str:
    """A spec as YAML, its fields in the order of the reference: the API server gives them in that of the alphabet."""
    try:
        shown = read(spec, WorkflowSpec).to_json()
    except ValueError:
        shown = dict(spec)
    return _dumped(shown)


def _dumped(value: Mapping[str, Any]) -> str:
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
