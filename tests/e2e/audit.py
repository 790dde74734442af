"""The API server's audit log: who asked what of it. It has each answered write, and what service accounts read; no
bodies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.rights import ACCOUNT

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Request:
    """One answered request for objects, with what RBAC would call it."""

    verb: str
    group: str
    resource: str
    """With its subresource, as `pods/log`."""
    allowed: bool
    code: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class AuditLog:
    """The requests since this object was made."""

    def __init__(self) -> None:
        self._file = Path(os.environ["NEXUS_AUDIT_LOG"])
        self._start = self._file.stat().st_size

    def requests(self, user: str) -> Iterator[Request]:
        """What a user asked. A watch stands here once it has ended; discovery, which is about no object, does not."""
        time.sleep(0.3)  # entries follow the answers
        with self._file.open("rb") as file:
            file.seek(self._start)
            for line in file:
                if user.encode() not in line:  # cheaper than reading it: most lines are others'
                    continue
                entry = json.loads(line)
                if entry["user"]["username"] == user and "objectRef" in entry:
                    yield _request(entry)

    def of_operator(self, namespace: str) -> list[str]:
        """The writes of the operator whose account is in a namespace, as `create jobs`."""
        return [str(request) for request in self.by_operator(namespace) if request.verb in WRITES]

    def by_operator(self, namespace: str) -> list[Request]:
        """All that the operator asked whose account is in a namespace."""
        return list(self.requests(f"system:serviceaccount:{namespace}:{ACCOUNT}"))

    def of_pods(self, namespace: str) -> list[str]:
        """What pods asked that run as the default account of a namespace."""
        return [str(request) for request in self.requests(f"system:serviceaccount:{namespace}:default")]


def _request(entry: dict[str, dict[str, str]]) -> Request:
    reference = entry["objectRef"]
    resource = "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)
    return Request(
        verb=str(entry["verb"]),
        group=reference.get("apiGroup", ""),
        resource=resource,
        allowed=entry.get("annotations", {}).get("authorization.k8s.io/decision") == "allow",
        code=int(entry["responseStatus"]["code"]),
    )
