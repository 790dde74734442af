"""The node's namespaces, and what of a node does not vanish with them: control groups and kernel settings."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path

from nexus_cluster import daemons
from nexus_cluster.node_init import PRIVATE
from nexus_cluster.settings import NODE, Network, Settings
from nexus_cluster.shell import Failed, Refused, run

CGROUPS = Path("/sys/fs/cgroup")

OURS = "nexus-cluster"
"""The control group of the daemons."""

PODS = "kubepods"
"""The control group the kubelet makes for pods, at the top of each hierarchy."""

TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Kernel settings that the kubelet changes and no namespace keeps apart.

Source: setupKernelTunables in Kubernetes' pkg/kubelet/cm/container_manager_linux.go.
"""


def create(settings: Settings) -> list[str]:
    """Make the node's namespaces and its link to this machine; return the command prefix that runs a program in them.

    Raises Refused where another node is in the way.
    """
    _refuse_if_taken(settings)
    _remember_tunables(settings)
    _enter_cgroup()
    state = settings.state
    words = ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--ipc", "--uts"]
    init = [sys.executable, "-m", "nexus_cluster.node_init", str(state), NODE]
    daemons.run_to_daemon(settings, "node", [*words, *init], {"PYTHONPATH": str(settings.here)})
    enter = enter_command(settings)
    if enter is None:
        raise Failed(f"the node's first process ended at once; see {settings.logs / 'node.log'}")
    _connect(settings, enter)
    return enter


def enter_command(settings: Settings) -> list[str] | None:
    """Return the command prefix that runs a program in the node's namespaces, or None if there is no node."""
    pids = daemons.running(settings).get("node", [])
    if not pids:
        return None
    return ["nsenter", f"--target={pids[0]}", "--mount", "--net", "--pid", "--ipc", "--uts", "--"]


def clean_up(settings: Settings) -> None:
    """Remove what outlives the namespaces; to be called when all processes have ended.

    Without the record of the kernel settings, which is written before anything is made, what there is belongs to
    somebody else's node.
    """
    saved = settings.state / "tunables.json"
    if not saved.exists():
        return
    for hierarchy in _hierarchies():
        for name in (OURS, PODS):
            _remove_cgroup(hierarchy / name)
    for name, value in json.loads(saved.read_text()).items():
        path = Path("/proc/sys") / name
        if path.read_text() != value:
            path.write_text(value)


def _refuse_if_taken(settings: Settings) -> None:
    for path in (*PRIVATE, "/run", "/proc"):
        if settings.state.is_relative_to(path):
            raise Refused(
                f"the cluster's state is in {settings.state}, but the node has a {path} of its own: set XDG_STATE_HOME"
            )
    if (Path("/sys/class/net") / settings.network.link).exists():
        raise Refused(
            f"the interface {settings.network.link} exists: another test cluster (other user or state directory?) is up"
        )
    groups = [hierarchy / PODS for hierarchy in _hierarchies() if (hierarchy / PODS).exists()]
    if groups and (_kubelet_runs() or any(_holds_processes(group) for group in groups)):
        raise Refused(f"a control group {PODS} exists: this machine is a Kubernetes node already")
    # Without a kubelet and without a process they are what a node left that was killed together with its session.
    for group in groups:
        _remove_cgroup(group)


def _kubelet_runs() -> bool:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == "kubelet":
                return True
        except OSError:
            continue  # it has just ended
    return False


def _holds_processes(group: Path) -> bool:
    return any(path.read_text().strip() for path in group.rglob("cgroup.procs"))


def _connect(settings: Settings, enter: list[str]) -> None:
    """Link the node to this machine, and to nothing else.

    The node has no default route: a pod's packet to a registry, or to wherever else, is refused at once instead of
    leaving the machine or timing out. Routes in the other direction let the tests call pods and services.
    """
    net = settings.network
    pid = enter[1].removeprefix("--target=")
    commands: list[list[str]] = [
        ["ip", "link", "add", net.link, "type", "veth", "peer", "name", "eth0", "netns", pid],
        ["ip", "addr", "add", f"{net.host}/{net.prefix}", "dev", net.link],
        ["ip", "link", "set", net.link, "up"],
        [*enter, "ip", "link", "set", "lo", "up"],
        [*enter, "ip", "addr", "add", f"{net.node}/{net.prefix}", "dev", "eth0"],
        [*enter, "ip", "link", "set", "eth0", "up"],
        [*enter, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        *([*enter, *command] for command in _refuse_unknown_services(net)),
        ["ip", "route", "add", net.pods, "via", net.node],
        ["ip", "route", "add", net.services, "via", net.node],
    ]
    for command in commands:
        run(settings, command)


def _refuse_unknown_services(net: Network) -> list[list[str]]:
    """Return the node's commands that refuse what kube-proxy's rules do not redirect: no such service, or no rules yet.

    The name server's address is one of these. Without its limit on answers (a second between two to the same address)
    the kernel would leave most of the queries of a name lookup unanswered, and the lookup would take 10 s to fail.
    """
    return [
        # A packet without a route is dropped before a rule sees it, so that there has to be one, to wherever.
        ["ip", "route", "add", net.services, "dev", "lo"],
        ["iptables", "-A", "FORWARD", "-d", net.services, "-j", "REJECT", "--reject-with", "icmp-port-unreachable"],
        ["iptables", "-A", "OUTPUT", "-p", "tcp", "-d", net.services, "-j", "REJECT", "--reject-with", "tcp-reset"],
        ["sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit"],
    ]


def _remember_tunables(settings: Settings) -> None:
    values = {name: (Path("/proc/sys") / name).read_text() for name in TUNABLES}
    partial = settings.state / "tunables.json.partial"
    partial.write_text(json.dumps(values))
    partial.rename(settings.state / "tunables.json")


def _enter_cgroup() -> None:
    """Move this process, and so all daemons it starts, out of its session's control group.

    Whoever ends the session (a login manager, a CI runner) would otherwise end the cluster with it. The memory
    hierarchy is the one that is used for this in version 1; version 2 has only one.
    """
    for hierarchy in _hierarchies():
        if hierarchy.name == "memory" or (hierarchy / "cgroup.controllers").exists():
            group = hierarchy / OURS
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if (path / "cgroup.procs").exists() and not path.is_symlink()]


def _remove_cgroup(group: Path) -> None:
    if group.exists():
        for child in group.iterdir():
            if child.is_dir():
                _remove_cgroup(child)
        _remove_when_empty(group)


def _remove_when_empty(group: Path) -> None:
    """Remove a control group, waiting for its killed processes: they belong to it until they are reaped."""
    until = time.monotonic() + 10
    while True:
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
