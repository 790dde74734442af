"""`nexus history` and `nexus diff`: print the versions of a Workflow that its runs have pinned."""

from __future__ import annotations

from datetime import UTC, datetime

from nexus.adapters.kube.client.api import WORKFLOWS, KubeApi
from nexus.cli.cluster import found, readable
from nexus.cli.detail import age, table
from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say, say_json
from nexus.services.versions import Version, VersionError, changed, diff, label, named, to_json, versions

RUNS_SHOWN = 2


async def _versions(api: KubeApi, namespace: str, workflow: str) -> list[Version]:
    return await versions(api, readable(await found(api, WORKFLOWS, namespace, workflow)))


async def print_history(api: KubeApi, namespace: str, workflow: str, *, as_json: bool) -> Exit:
    """Print the versions, the newest first. Raises UsageError."""
    kept = await _versions(api, namespace, workflow)
    if as_json:
        say_json({"workflow": workflow, "revisions": list(map(to_json, kept))})
        return Exit.SUCCEEDED
    now = datetime.now(UTC)
    rows = []
    for version, before in zip(kept, [*kept[1:], None], strict=True):
        number = f"{version.number}{' (current)' if version.current else ''}"
        created = age(now, version.created) if version.created else ""
        rows.append([number, created, _runs(version), changed(version, before)])
    say("\n".join(table(("REVISION", "AGE", "RUNS", "CHANGED"), rows)))
    return Exit.SUCCEEDED


def _runs(version: Version) -> str:
    if not version.runs:
        return "none" if version.name else "none yet"
    last = version.runs[-RUNS_SHOWN:][::-1]
    more = len(version.runs) - len(last)
    return ", ".join(last) + (f" and {more} more" if more else "")


async def print_diff(api: KubeApi, namespace: str, workflow: str, old: str, new: str | None) -> Exit:
    """Print what is different in `new`, or in the Workflow as it is now. Raises UsageError."""
    kept = await _versions(api, namespace, workflow)
    try:
        first = named(kept, workflow, old)
        current = next(version for version in kept if version.current)
        second = named(kept, workflow, new) if new is not None else current
        lines = list(diff(workflow, first, second))
    except VersionError as error:
        raise UsageError(str(error)) from error
    say("\n".join(lines) if lines else f"{label(workflow, first)} and {label(workflow, second)} are the same")
    return Exit.FAILED if lines else Exit.SUCCEEDED
