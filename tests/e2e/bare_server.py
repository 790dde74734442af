"""A second API server beside the cluster's: with other flags, and nothing behind it that would run a pod."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import yaml

USERS = {"admin": "system:masters", "operator": "", "starter": ""}


class BareServer:
    """Its kubeconfigs, one for each of USERS."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory, self._port = directory, port
        self._tokens = {user: secrets.token_hex(16) for user in USERS}

    def tokens(self) -> Path:
        """The file by which the server knows its users."""
        path = self._directory / "tokens.csv"
        rows = [f'{token},{user},{user},"{USERS[user]}"' for user, token in self._tokens.items()]
        path.write_text("\n".join(rows) + "\n")
        return path

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a user."""
        path = self._directory / f"kubeconfig-{user}"
        cluster = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self._directory / "certificates" / "apiserver.crt"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bare", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": user, "context": {"cluster": "bare", "user": user}}],
            "current-context": user,
        }
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def bare_server(directory: Path, *arguments: str) -> Iterator[BareServer]:
    """A kube-apiserver with more arguments, up and answering, and its etcd."""
    kubectl = shutil.which("kubectl")
    program = Path(kubectl).with_name("kube-apiserver") if kubectl else None
    etcd = next(program.parents[1].glob("etcd-*/etcd"), None) if program is not None else None
    if program is None or etcd is None or not program.exists():
        pytest.skip("no kube-apiserver and etcd beside kubectl: the cluster is not one of tests/cluster")
    port, client, peer = _free_ports(3)
    server = BareServer(directory, port)
    store = [
        str(etcd),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]
    key = directory / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    words = [
        str(program),
        "--bind-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={server.tokens()}",
        "--service-cluster-ip-range=10.255.0.0/24",
        "--service-account-issuer=https://bare",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
        "--authorization-mode=RBAC",
        # Nobody makes the account `default` of a namespace here.
        "--disable-admission-plugins=ServiceAccount",
        *arguments,
    ]
    processes = [_started(store, directory / "etcd.log"), _started(words, directory / "apiserver.log")]
    try:
        _wait_until_ready(port, processes[-1], directory / "apiserver.log")
        yield server
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _started(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(words, stdout=out, stderr=out)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3_000:]
        with suppress(httpx.HTTPError):
            # Whose certificate it is does not matter here: whether it answers does.
            if httpx.get(f"https://127.0.0.1:{port}/readyz", verify=False, trust_env=False).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"the API server is not ready: {log.read_text()[-3_000:]}")
