"""etcd, the API server, the controller manager and the scheduler: their flags, and starting them in order."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nexus_cluster import api, daemons, programs
from nexus_cluster.settings import Flavor, Settings, extra_arguments
from nexus_cluster.shell import say, wait_until

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def build(settings: Settings) -> dict[str, Path]:
    """Build what is missing of Kubernetes and etcd; return program to path, with kubectl, kubelet and kube-proxy."""
    found = {}
    for module in programs.CONTROL_PLANE:
        folder = programs.build(settings, module)
        found.update({program: folder / program for program in module.programs})
    return found


def start(settings: Settings, paths: dict[str, Path], enter: Sequence[str] = ()) -> None:
    """Start the four and wait until the API server is ready; `enter` runs them in the node's namespaces."""
    (settings.state / "etcd").mkdir(mode=0o700)
    settings.audit_log.parent.mkdir()
    shutil.copy(settings.here / "audit-policy.yaml", settings.config)
    say("starting etcd and the API server")
    daemons.start(settings, "etcd", [paths["etcd"], *_etcd(settings)], enter)
    daemons.start(settings, "kube-apiserver", [paths["kube-apiserver"], *_apiserver(settings)], enter)
    wait_until("the API server", lambda: api.answers(settings, "/readyz"), 60, settings.logs)
    daemons.start(
        settings, "kube-controller-manager", [paths["kube-controller-manager"], *_controllers(settings)], enter
    )
    daemons.start(settings, "kube-scheduler", [paths["kube-scheduler"], *_scheduler(settings)], enter)


def _etcd(settings: Settings) -> list[str]:
    client = f"http://127.0.0.1:{settings.ports.etcd}"
    peer = f"http://127.0.0.1:{settings.ports.etcd_peer}"
    return [
        f"--data-dir={settings.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # Nothing in here outlives `down`; a run of benchmarks writes more than the default of 2 GiB between
        # compactions.
        "--quota-backend-bytes=8589934592",
        *extra_arguments("etcd"),
    ]


def _apiserver(settings: Settings) -> list[str]:
    pki, net = settings.pki, settings.network
    real = settings.flavor is Flavor.NODE
    # The service `kubernetes` can't point at a loopback address; without a node nobody would call it.
    place = (
        [f"--advertise-address={net.node}", "--bind-address=0.0.0.0"]
        if real
        else ["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    )
    return [
        *place,
        f"--secure-port={settings.ports.apiserver}",
        f"--etcd-servers=http://127.0.0.1:{settings.ports.etcd}",
        f"--service-cluster-ip-range={net.services}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        # The node's name can't be resolved, and without its address every request for logs fails.
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodSecurity",
        f"--audit-policy-file={settings.config / 'audit-policy.yaml'}",
        f"--audit-log-path={settings.audit_log}",
        # Lines are counted from one file: at the default of 100 MB a new one would be begun in the middle of a
        # benchmark.
        "--audit-log-maxsize=4096",
        *extra_arguments("kube-apiserver"),
    ]


def _controllers(settings: Settings) -> list[str]:
    pki = settings.pki
    return [
        *_kubeconfigs(settings, "kube-controller-manager"),
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports.controllers}",
        "--leader-elect=false",
        # As kubeadm sets it: each controller is a user of its own, and so the audit log tells the Job controller's
        # writes apart.
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        *extra_arguments("kube-controller-manager"),
    ]


def _scheduler(settings: Settings) -> list[str]:
    return [
        *_kubeconfigs(settings, "kube-scheduler"),
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports.scheduler}",
        "--leader-elect=false",
        *extra_arguments("kube-scheduler"),
    ]


def _kubeconfigs(settings: Settings, component: str) -> list[str]:
    path = settings.config / f"{component}.kubeconfig"
    return [f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}"]
