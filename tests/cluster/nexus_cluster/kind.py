"""The cluster where Docker runs: kind with the repository's kind-config.yaml, and images built by Docker."""

from __future__ import annotations

import shutil
from pathlib import Path

from nexus_cluster.images import Image
from nexus_cluster.settings import Settings
from nexus_cluster.shell import run, say

CLUSTER = "nexus"


def start(settings: Settings) -> None:
    """Create the cluster; return when its node is Ready."""
    # Made before kind mounts it: the API server appends to it and leaves its owner alone, so that we may read it.
    settings.audit_log.parent.mkdir(parents=True, exist_ok=True)
    settings.audit_log.write_bytes(b"")
    say("creating a kind cluster")
    target: list[str | Path] = ["--name", CLUSTER, "--kubeconfig", settings.kubeconfig]
    # The config's paths are relative to the repository.
    config: list[str | Path] = ["--config", settings.repository / "kind-config.yaml", "--wait", "120s"]
    run(settings, ["kind", "create", "cluster", *target, *config], cwd=settings.repository)


def load(settings: Settings, images: list[Image]) -> None:
    """Build images and load them into the node."""
    for image in images:
        name = image.name.removeprefix("docker.io/")
        say(f"building the image {name}")
        run(settings, ["docker", "build", "--quiet", "--tag", name, image.context])
        run(settings, ["kind", "load", "docker-image", "--name", CLUSTER, name])


def exists(settings: Settings) -> bool:
    """Tell whether kind has our cluster."""
    return CLUSTER in run(settings, ["kind", "get", "clusters"]).split()


def delete(settings: Settings) -> None:
    """Delete the cluster, half-made ones too; do nothing where there is none."""
    run(settings, ["kind", "delete", "cluster", "--name", CLUSTER])
    shutil.rmtree(settings.audit_log.parent.parent, ignore_errors=True)
