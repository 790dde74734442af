"""What makes the node a node: containerd, kube-proxy and the kubelet, configured and started in order."""

from __future__ import annotations

import json
from pathlib import Path

from nexus_cluster import api, daemons, programs
from nexus_cluster.settings import NODE, Settings, extra_arguments
from nexus_cluster.shell import run, say, wait_until

COMPONENTS = ("containerd", "kube-proxy", "kubelet")
SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "docker.io/nexus/pause:dev"


def start_containerd(settings: Settings, enter: list[str]) -> None:
    """Start the node's own containerd; its root, state and socket have the usual paths, inside the node's mounts."""
    settings.config.mkdir(parents=True, exist_ok=True)
    path = settings.config / "containerd.toml"
    path.write_text(_containerd(settings))
    (settings.config / "cni").mkdir()
    (settings.config / "cni" / "10-nexus.conflist").write_text(json.dumps(_cni(settings), indent=1))
    daemons.start(settings, "containerd", ["containerd", "--config", path], enter)
    wait_until("containerd", lambda: _containerd_answers(settings, enter), 30, settings.logs)


def import_image(settings: Settings, enter: list[str], archive: Path) -> None:
    """Import an image archive, where the kubelet will find it under the name it holds."""
    run(settings, [*enter, "ctr", "--address", SOCKET, "--namespace", "k8s.io", "images", "import", archive])


def start(settings: Settings, paths: dict[str, Path], enter: list[str]) -> None:
    """Start kube-proxy, then the kubelet, and wait until the node is Ready."""
    resolv = settings.config / "resolv.conf"
    resolv.write_text("")
    (settings.config / "kube-proxy.json").write_text(json.dumps(_kube_proxy(settings), indent=1))
    (settings.config / "kubelet.json").write_text(json.dumps(_kubelet(settings, resolv), indent=1))
    say("starting kube-proxy and the kubelet")
    # kube-proxy first: a pod that runs before the rules are there can't reach the API server by its service's address.
    daemons.start(
        settings, "kube-proxy", [paths["kube-proxy"], f"--config={settings.config / 'kube-proxy.json'}"], enter
    )
    flags = [
        f"--config={settings.config / 'kubelet.json'}",
        f"--kubeconfig={settings.config / 'kubelet.kubeconfig'}",
        f"--hostname-override={NODE}",
        f"--node-ip={settings.network.node}",
        *extra_arguments("kubelet"),
    ]
    daemons.start(settings, "kubelet", [paths["kubelet"], *flags], enter)
    wait_until("the node to be Ready", lambda: NODE in api.ready_nodes(settings), 90, settings.logs)
    wait_until("the rules of kube-proxy", lambda: _service_answers(settings, enter), 60, settings.logs)


def _service_answers(settings: Settings, enter: list[str]) -> bool:
    """Tell whether kube-proxy has written its rules: its chain of services names the API server's."""
    rules = run(settings, [*enter, "iptables-save", "-t", "nat"])
    return f"-d {settings.network.apiserver_service}/32" in rules


def _containerd_answers(settings: Settings, enter: list[str]) -> bool:
    try:
        run(settings, [*enter, "ctr", "--address", SOCKET, "--connect-timeout", "1s", "version"])
    except Exception:  # noqa: BLE001 - any failure means: not yet
        return False
    return True


def _containerd(settings: Settings) -> str:
    """Return containerd's configuration, in the version that 1.6 reads and 2.x converts."""
    plugins = '[plugins."io.containerd.grpc.v1.cri"'
    # Snapshotters nobody uses only fill the log with why they can't start.
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "zfs", "devmapper"))
    return f"""version = 2
disabled_plugins = [{disabled}]

[grpc]
  address = "{SOCKET}"

{plugins}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE (many CI machines) a sandbox's score can't be lowered, and every sandbox would die of it.
  restrict_oom_score_adj = true

{plugins}.containerd]
  snapshotter = "overlayfs"

{plugins}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

{plugins}.containerd.runtimes.runc.options]
  SystemdCgroup = false

{plugins}.cni]
  bin_dir = "{programs.cni_plugins()}"
  conf_dir = "{settings.config / "cni"}"
"""


def _cni(settings: Settings) -> dict[str, object]:
    ranges = {"type": "host-local", "ranges": [[{"subnet": settings.network.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": ranges,
    }
    return {
        "cniVersion": "0.4.0",
        "name": "nexus-pods",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _kube_proxy(settings: Settings) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": settings.network.pods,
        "clientConnection": {"kubeconfig": str(settings.config / "kube-proxy.kubeconfig")},
        # Zero leaves the kernel's own limits: raising them takes a right that a container or a CI machine may not have.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _kubelet(settings: Settings, resolv: Path) -> dict[str, object]:
    pki = settings.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        # Version 1 of control groups is what some CI machines still have.
        "failCgroupV1": False,
        "failSwapOn": False,
        # No limits on the sum of all pods, no reservations: pods share this machine with the tests themselves.
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "maxPods": 250,
        "serializeImagePulls": False,
        # Images come from no registry, so the kubelet must never delete one, nor evict pods because the disk is rather
        # full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
        ),
        "clusterDomain": "cluster.local",
        # Without it every pod gets a warning event about a missing name server.
        "clusterDNS": [settings.network.dns_service],
        "resolvConf": str(resolv),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }
