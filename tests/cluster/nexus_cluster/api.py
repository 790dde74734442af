"""A few requests to the cluster's API server, to know when it is up."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from nexus_cluster.settings import Settings


def request(settings: Settings, path: str, body: dict[str, Any] | None = None, seconds: float = 5.0) -> bytes:
    """GET a path, or POST a JSON body to it, as the administrator; return the answer.

    Raises OSError (urllib's HTTPError and URLError among them) when refused or out of reach.
    """
    context = ssl.create_default_context(cafile=str(settings.pki / "ca.crt"))
    context.load_cert_chain(settings.pki / "admin.crt", settings.pki / "admin.key")
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "nexus-cluster"}
    message = urllib.request.Request(f"https://{settings.apiserver}{path}", data=content, headers=headers)
    # The cluster is on this machine: a proxy from the environment has no way to it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(message, timeout=seconds) as answer:
        content = answer.read()
        return bytes(content)


def answers(settings: Settings, path: str) -> bool:
    """Tell whether a GET succeeds: an object exists, or a health check passes."""
    try:
        request(settings, path)
    except (OSError, ssl.SSLError):
        return False
    return True


def ready_nodes(settings: Settings) -> list[str]:
    """Return the names of the nodes whose Ready condition is true; none where the API server can't be reached."""
    try:
        nodes = json.loads(request(settings, "/api/v1/nodes"))["items"]
    except OSError:
        return []
    ready = {"type": "Ready", "status": "True"}.items()
    return [
        node["metadata"]["name"]
        for node in nodes
        if any(ready <= c.items() for c in node["status"].get("conditions", []))
    ]
