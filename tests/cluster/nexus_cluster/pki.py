"""Keys, certificates and kubeconfigs, made with the openssl command anew for each cluster."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from nexus_cluster.settings import NODE, Settings
from nexus_cluster.shell import run

DAYS = "365"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A client or server certificate: the API server takes CN as the user's name and O as its group.

    Source: Kubernetes' documentation on X.509 client certificates; the names are those of its default RBAC roles.
    """

    file: str
    user: str
    group: str = ""
    hosts: tuple[str, ...] = ()


def identities(settings: Settings) -> list[Identity]:
    """Return every certificate the cluster needs beside its authority's."""
    net = settings.network
    hosts = ("DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "IP:127.0.0.1")
    return [
        Identity("apiserver", "kube-apiserver", hosts=(*hosts, f"IP:{net.node}", f"IP:{net.apiserver_service}")),
        Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("kubelet-server", f"system:node:{NODE}", "system:nodes", (f"DNS:{NODE}", f"IP:{net.node}")),
        Identity("admin", "admin", "system:masters"),
        Identity("kube-controller-manager", "system:kube-controller-manager"),
        Identity("kube-scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("kubelet", f"system:node:{NODE}", "system:nodes"),
        # kwok plays all nodes at once, which the Node authorizer grants to nobody.
        Identity("kwok", "kwok", "system:masters"),
    ]


def create(settings: Settings) -> None:
    """Make the authority, all certificates, the service accounts' signing key and a kubeconfig for each client."""
    folder = settings.pki
    folder.mkdir(parents=True, mode=0o700)
    settings.config.mkdir(parents=True, exist_ok=True)
    authority: list[str | Path] = [
        "-keyout",
        folder / "ca.key",
        "-out",
        folder / "ca.crt",
        "-subj",
        "/CN=nexus-test-cluster",
        "-days",
        DAYS,
    ]
    run(
        settings,
        ["openssl", "req", "-x509", *KEY, *authority, "-addext", "keyUsage=critical,keyCertSign,digitalSignature"],
    )
    run(settings, ["openssl", "genpkey", "-algorithm", "RSA", "-out", folder / "service-accounts.key"])
    run(
        settings,
        ["openssl", "pkey", "-in", folder / "service-accounts.key", "-pubout", "-out", folder / "service-accounts.pub"],
    )
    for identity in identities(settings):
        _certificate(settings, identity)
        if not identity.hosts:
            _kubeconfig(settings, identity, settings.config / f"{identity.file}.kubeconfig")
    _kubeconfig(settings, Identity("admin", "admin"), settings.kubeconfig)


def _certificate(settings: Settings, identity: Identity) -> None:
    folder = settings.pki
    subject = (f"/O={identity.group}" if identity.group else "") + f"/CN={identity.user}"
    usage = "serverAuth" if identity.hosts else "clientAuth"
    extensions = ["-addext", f"extendedKeyUsage={usage}", "-addext", "basicConstraints=critical,CA:FALSE"]
    if identity.hosts:
        extensions += ["-addext", f"subjectAltName={','.join(identity.hosts)}"]
    files: list[str | Path] = ["-keyout", folder / f"{identity.file}.key", "-out", folder / f"{identity.file}.crt"]
    signer: list[str | Path] = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-days", DAYS]
    run(settings, ["openssl", "req", "-x509", *KEY, *files, *signer, "-subj", subject, *extensions])


def _kubeconfig(settings: Settings, identity: Identity, target: Path) -> None:
    """Write a kubeconfig with its certificates inside, so that the one file can be copied anywhere.

    It is JSON, which is YAML too.
    """

    def inline(name: str) -> str:
        return base64.b64encode((settings.pki / name).read_bytes()).decode()

    cluster = {"server": f"https://{settings.apiserver}", "certificate-authority-data": inline("ca.crt")}
    user = {
        "client-certificate-data": inline(f"{identity.file}.crt"),
        "client-key-data": inline(f"{identity.file}.key"),
    }
    name = f"nexus-{settings.flavor.value}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": identity.user, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": identity.user}}],
        "current-context": name,
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(content, indent=1) + "\n")
