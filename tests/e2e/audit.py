"""The API server's audit log: who wrote what. It has each answered write, without bodies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.rights import ACCOUNT


class AuditLog:
    """The writes since this object was made."""

    def __init__(self) -> None:
        self._file = Path(os.environ["NEXUS_AUDIT_LOG"])
        self._start = self._file.stat().st_size

    def writes(self, user: str) -> Iterator[str]:
        """Verb and resource of each write of a user that took effect or was tried, as `create jobs`."""
        time.sleep(0.3)  # entries follow the answers
        with self._file.open("rb") as file:
            file.seek(self._start)
            for line in file.read().splitlines():
                entry = json.loads(line)
                if entry["user"]["username"] == user:
                    reference = entry["objectRef"]
                    parts = (reference["resource"], reference.get("subresource"))
                    yield f"{entry['verb']} {'/'.join(part for part in parts if part)}"

    def of_operator(self, namespace: str) -> list[str]:
        """The writes of the operator whose account is in a namespace."""
        return list(self.writes(f"system:serviceaccount:{namespace}:{ACCOUNT}"))

    def of_pods(self, namespace: str) -> list[str]:
        """The writes of pods that run as the default account of a namespace."""
        return list(self.writes(f"system:serviceaccount:{namespace}:default"))
