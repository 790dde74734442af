"""Nodes that are only played: kwok answers for their kubelets, so that thousands of pods fit on a small machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from nexus_cluster import api, control_plane, daemons, programs
from nexus_cluster.settings import Settings, extra_arguments
from nexus_cluster.shell import Refused, say, wait_until

COMPONENTS = ("kwok",)
ANNOTATION = "kwok.x-k8s.io/node"


def node_count(settings: Settings) -> int:
    """Return how many nodes are played: what NEXUS_KWOK_NODES said when the cluster was started, 10 by default."""
    record = settings.state / "nodes"
    if not record.exists():
        record.write_text(os.environ.get("NEXUS_KWOK_NODES", "10"))
    return int(record.read_text())


def start(settings: Settings) -> None:
    """Start a control plane on the loopback, kwok, and its nodes; wait until all are Ready. Needs no root."""
    _refuse_if_ports_taken(settings)
    paths = control_plane.build(settings)
    kwok = programs.build(settings, programs.FAKE_KUBELET) / "kwok"
    control_plane.start(settings, paths)
    daemons.start(settings, "kwok", [kwok, *_flags(settings)])
    count = node_count(settings)
    say(f"creating {count} nodes, played by kwok")
    for number in range(count):
        api.request(settings, "/api/v1/nodes", _node(number))
    wait_until("all nodes to be Ready", lambda: len(api.ready_nodes(settings)) == count, 60, settings.logs)


def _flags(settings: Settings) -> list[str | Path]:
    return [
        f"--kubeconfig={settings.config / 'kwok.kubeconfig'}",
        f"--config={settings.here / 'kwok-stages.yaml'}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        f"--server-address=127.0.0.1:{settings.ports.kwok}",
        # Without leases the node controller takes the nodes for dead after 50 s.
        "--node-lease-duration-seconds=40",
        "--cidr=10.232.0.0/16",
        *extra_arguments("kwok"),
    ]


def _node(number: int) -> dict[str, Any]:
    pods = os.environ.get("NEXUS_KWOK_PODS", "500")
    size = {"cpu": "1k", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": pods}
    labels = {"kubernetes.io/hostname": f"kwok-{number}", "kubernetes.io/os": "linux", "type": "kwok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"kwok-{number}", "labels": labels, "annotations": {ANNOTATION: "fake"}},
        "status": {"allocatable": size, "capacity": size},
    }


def _refuse_if_ports_taken(settings: Settings) -> None:
    for name, port in vars(settings.ports).items():
        with socket.socket() as probe:
            # As the servers do: a port whose last connections are still in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise Refused(
                    f"port {port} of the loopback ({name}) is taken: end what listens there, then try again"
                ) from None
