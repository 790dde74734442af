"""Artifacts and large outputs of a local run: the script that pods have, around a subprocess, and a folder as store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nexus import bootstrap
from nexus.adapters.local.attempt import TRANSFER_LOG, Command
from nexus.api.store import OutputStore
from nexus.core.model.plan import Payload, Transfer
from nexus.core.task_types import TYPES
from nexus.core.tasks.transfers import SHARED, instructions, variable

LOCAL_STORE = OutputStore(url="file:///", volume_claim="local")
"""Stand-in for the folder that every local run has for its store, whatever the workflow names."""


def _shared(payload: Payload, folder: Path) -> Path:
    """Return where the task of an attempt finds what it takes and leaves what it makes."""
    return Path(SHARED) if TYPES[payload.type].is_bare else folder / "artifacts"


def task_variables(payload: Payload, folder: Path) -> dict[str, str]:
    """Return the variables that a task gets for its artifacts, as in its pod."""
    transfer, place = payload.transfer, _shared(payload, folder)
    assert transfer is not None
    paths = {variable(name): str(place / name) for name in (*transfer.artifacts_in, *transfer.artifacts_out)}
    kept = {"NEXUS_OUTPUT_FILE": str(place / ".nexus" / "output.json")} if transfer.keeps_output else {}
    return {"NEXUS_ARTIFACTS": str(place), **paths, **kept}


def mounted(payload: Payload, folder: Path) -> Sequence[str]:
    """Return the arguments of docker or podman for a container that has artifacts."""
    return [f"--volume={folder / 'artifacts'}:{SHARED}"] if payload.transfer is not None else []


def wrapped(command: Command, transfer: Transfer, folder: Path, store: Path) -> Command:
    """Return the command in the script that fetches before it and puts after it."""
    own = folder / "artifacts"
    own.mkdir()
    own.chmod(0o777)  # a container may run as another user
    environment = {
        **command.environment,
        "NEXUS_TRANSFER": instructions(transfer, {"root": str(store)}),
        "NEXUS_TRANSFER_FOLDER": str(own),
        "NEXUS_TRANSFER_LOG": str(folder / TRANSFER_LOG),
    }
    script = [sys.executable, "-c", bootstrap.text("transfer"), "wrap"]
    return replace(command, argv=[*script, *command.argv], environment=environment, start=None)
