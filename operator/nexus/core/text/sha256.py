"""Content: the SHA-256 by which a run knows again what it stored. A name says which object it is, not what it holds."""

from __future__ import annotations

import hashlib
import json

from nexus.api.run import OutputRef


def sha256(text: str) -> str:
    """Return the SHA-256 of a string's UTF-8, as 64 hexadecimal digits. Half a surrogate pair, which no string of ours
    holds, is hashed unchanged."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def reference(config_map: str, text: str) -> OutputRef:
    """Return what a status says of an output that is stored as this text."""
    return OutputRef(config_map=config_map, size=len(text.encode()), sha256=sha256(text))


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a JSON value, however its objects are ordered: the API server sorts some and keeps
    others."""
    return sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True))
