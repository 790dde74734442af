"""Where the cluster keeps its files, which addresses it uses, and what the environment may change."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "v1.34.4"
"""The Kubernetes release; tests/cluster/go/kubernetes/go.mod holds the same one, with the checksums."""

NODE = "nexus-node"


class Flavor(enum.Enum):
    """Which of the three clusters this is. They keep apart: a KWOK one may run beside a real one."""

    NODE = "cluster"
    KWOK = "kwok"
    KIND = "kind"


@dataclass(frozen=True)
class Network:
    """Addresses of the node's own network: nothing of it but `link` can be seen outside the node's namespace."""

    link: str = "nexus0"
    host: str = "10.231.0.1"
    node: str = "10.231.0.2"
    prefix: int = 24
    pods: str = "10.231.4.0/22"
    services: str = "10.231.16.0/20"
    apiserver_service: str = "10.231.16.1"
    dns_service: str = "10.231.16.10"


@dataclass(frozen=True)
class Ports:
    """TCP ports of the control plane.

    In a node's namespace all are free, and so the usual ones serve; on the host's loopback (KWOK) unusual ones keep
    clear of a cluster that somebody else runs.
    """

    apiserver: int
    etcd: int
    etcd_peer: int
    controllers: int
    scheduler: int
    kwok: int


IN_NODE = Ports(apiserver=6443, etcd=2379, etcd_peer=2380, controllers=10257, scheduler=10259, kwok=10247)
ON_LOOPBACK = Ports(apiserver=21443, etcd=21379, etcd_peer=21380, controllers=21257, scheduler=21259, kwok=21247)


@dataclass(frozen=True)
class Settings:
    """All paths and addresses of one cluster."""

    flavor: Flavor
    repository: Path
    cache: Path
    state: Path
    network: Network
    ports: Ports

    @property
    def here(self) -> Path:
        """The folder of this program in the repository."""
        return self.repository / "tests" / "cluster"

    @property
    def apiserver(self) -> str:
        """The API server's address, as `host:port`, reachable from this machine and (real cluster) from pods."""
        host = self.network.node if self.flavor is Flavor.NODE else "127.0.0.1"
        return f"{host}:{self.ports.apiserver}"

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        """Keys and certificates, made anew by each `up`."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Configuration files and kubeconfigs of the components."""
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig: user `admin` in `system:masters`."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each write that the API server has answered, and for what service accounts read."""
        if self.flavor is Flavor.KIND:
            # kind-config.yaml mounts just this path.
            return Path("/tmp/nexus-kind/audit/audit.log")
        return self.state / "audit" / "audit.log"

    @property
    def scratch(self) -> Path:
        """For what is under construction, to be renamed into place in the cache; `down` empties it."""
        return self.cache / f"scratch-{self.flavor.value}"

    @property
    def ready(self) -> Path:
        """Exists once `up` has gone through; without it the state is what a killed `up` left behind."""
        return self.state / "ready"

    @property
    def owner(self) -> Path:
        """Holds the path of the checkout that started the cluster."""
        return self.state / "owner"


def load() -> Settings:
    """Read the settings from the environment: KWOK=1, NEXUS_CLUSTER=kind|node, XDG_CACHE_HOME, XDG_STATE_HOME."""
    repository = Path(__file__).resolve().parents[3]
    flavor = _flavor()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nexus"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "nexus" / flavor.value
    ports = IN_NODE if flavor is Flavor.NODE else ON_LOOPBACK
    return Settings(flavor, repository, cache, state, Network(), ports)


def _flavor() -> Flavor:
    if os.environ.get("KWOK", "") not in ("", "0"):
        return Flavor.KWOK
    chosen = os.environ.get("NEXUS_CLUSTER", "")
    if chosen:
        return Flavor.KIND if chosen == "kind" else Flavor.NODE
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return Flavor.NODE
    # A docker command alone says nothing: its daemon may be absent.
    answered = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0
    return Flavor.KIND if answered else Flavor.NODE


def extra_arguments(component: str) -> list[str]:
    """Flags from the environment to add to a component's own, where a later flag wins over an earlier one.

    NEXUS_KCM_ARGS, NEXUS_APISERVER_ARGS, NEXUS_SCHEDULER_ARGS, NEXUS_KUBELET_ARGS, NEXUS_ETCD_ARGS, NEXUS_KWOK_ARGS:
    split at spaces.
    """
    short = {"kube-controller-manager": "KCM", "kube-apiserver": "APISERVER", "kube-scheduler": "SCHEDULER"}
    name = short.get(component, component.upper().replace("-", "_"))
    return os.environ.get(f"NEXUS_{name}_ARGS", "").split()
