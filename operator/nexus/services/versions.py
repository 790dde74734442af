"""The versions of a Workflow that its runs have pinned: which there are, and what is different between two."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from nexus.adapters.kube.client.api import CONTROLLER_REVISIONS, WORKFLOW_RUNS, KubeApi, Object
from nexus.adapters.kube.owners import owner_uid
from nexus.adapters.kube.runs.revisions import ContentChanged, revision_spec
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.schema_errors import read
from nexus.core.names import LABEL_WORKFLOW, label_value, revision_name
from nexus.core.text.json_text import dump
from nexus.core.workflow.changes import changes

CHANGES_SHOWN = 3


class VersionError(Exception):
    """A version that is not there, or cannot be compared."""


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


async def versions(api: KubeApi, body: Object) -> list[Version]:
    """Return all versions of a Workflow that are kept, the newest first, the current one among them."""
    namespace, workflow = body["metadata"]["namespace"], body["metadata"]["name"]
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
    """Return whether it is not what the runs that name it recorded."""
    try:
        for sha256 in hashes.get(body["metadata"]["name"]) or {None}:
            revision_spec(body, sha256)
    except ContentChanged:
        return True
    return False


def changed(version: Version, before: Version | None) -> str:
    """Return what is different from the version before, in one line."""
    if version.replaced:
        return f"unknown: {version.name} was replaced, it holds another definition"
    if before is None:
        return ""
    if before.replaced:
        return "unknown: the one below was replaced"
    told = changes(before.spec, version.spec)
    more = len(told) - CHANGES_SHOWN
    return "; ".join(told[:CHANGES_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def to_json(version: Version) -> dict[str, Any]:
    """Return a version as `-o json` and the API show it."""
    return {
        "revision": version.number,
        "name": version.name or None,
        "created": version.created or None,
        "current": version.current,
        "replaced": version.replaced,
        "runs": list(version.runs),
    }


def named(kept: Sequence[Version], workflow: str, text: str) -> Version:
    """Return the version that is meant: by its number, by the name of its ControllerRevision, or by a run of it.

    Raises:
        VersionError: there is no such version.
    """
    for version in kept:
        if text in (str(version.number), version.name) or text in version.runs:
            return version
    known = ", ".join(str(version.number) for version in kept)
    raise VersionError(f"Workflow {workflow} has no revision {text}: there are {known} (nexus history {workflow})")


def label(workflow: str, version: Version) -> str:
    """Return how a version is called."""
    return f"{workflow} revision {version.number}{' (current)' if version.current else ''}"


def diff(workflow: str, old: Version, new: Version) -> Iterator[str]:
    """Return the lines of a unified diff from one version to another, none where they are the same.

    Raises:
        VersionError: one of the two does not hold what its runs began with.
    """
    for version in (old, new):
        if version.replaced:
            words = f"ControllerRevision {version.name} was replaced: it does not hold what its runs began with"
            raise VersionError(f"{words}: delete it (kubectl delete controllerrevision {version.name})")
    texts = [yaml_text(version.spec).splitlines() for version in (old, new)]
    if texts[0] == texts[1]:
        # What the models leave out is a difference too, as a null that was written.
        texts = [_dumped(version.spec).splitlines() for version in (old, new)]
    first, second = texts
    return difflib.unified_diff(first, second, label(workflow, old), label(workflow, new), lineterm="")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do, and repeats what comes twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def yaml_text(spec: Mapping[str, Any]) -> str:
    """Return a spec as YAML, its fields in the order of the reference: the API server gives them in that of the
    alphabet."""
    try:
        shown = read(spec, WorkflowSpec).to_json()
    except ValueError:
        shown = dict(spec)
    return _dumped(shown)


def _dumped(value: Mapping[str, Any]) -> str:
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
