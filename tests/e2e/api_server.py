"""The API server as the end-to-end tests speak to it: raw answers, and kubectl."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client, config

from nexus.api.base import GROUP, VERSION

Object = dict[str, Any]


class Cluster:
    """The API server and kubectl, in a namespace of the tests' own."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig, self.namespace = kubeconfig, namespace
        self.program = shutil.which("kubectl")
        if self.program is None:
            pytest.fail("kubectl is not on the PATH: `tests/cluster/cluster.py env` prints where the built one is")
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        # A token, where there is one, stands under a key that differs between versions of the client.
        token = next(iter(settings.api_key.values()), None)
        headers = {"Authorization": token} if token else {}
        self.http = httpx.Client(base_url=settings.host, verify=context, headers=headers, timeout=60, trust_env=False)

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints; its complaint is the test's failure."""
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def path(self, kind: str, name: str = "") -> str:
        """The address of the objects of a kind, or of one."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{kind.lower()}s/{name}".rstrip("/")

    def create(self, body: Object, *, dry: bool = True) -> httpx.Response:
        """POST, as kubectl does it: fields that the schema does not have are errors."""
        parameters = {"fieldValidation": "Strict", "fieldManager": "test-crd"} | ({"dryRun": "All"} if dry else {})
        return self.http.post(self.path(body["kind"]), params=parameters, json=body)

    def replace(self, body: Object, subresource: str = "", *, dry: bool = False) -> httpx.Response:
        """PUT of the object or of its status."""
        address = "/".join(filter(None, (self.path(body["kind"], body["metadata"]["name"]), subresource)))
        return self.http.put(address, params={"dryRun": "All"} if dry else {}, json=body)

    def apply(self, body: Object, manager: str) -> httpx.Response:
        """Server-side apply."""
        return self.http.patch(
            self.path(body["kind"], body["metadata"]["name"]),
            params={"fieldManager": manager, "fieldValidation": "Strict"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(body),
        )

    def delete(self, body: Object) -> None:
        """DELETE; it has to be there."""
        answer = self.http.delete(self.path(body["kind"], body["metadata"]["name"]))
        assert answer.status_code == 200, answer.text


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what the API server does a moment after it answered: serving a new type, publishing its schema."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the API server did not get there"
        time.sleep(0.2)
