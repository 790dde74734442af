"""Content: the SHA-256 by which a run knows again what it stored. A name says which object it is, not what it holds."""

from __future__ import annotations

import hashlib
import json


def sha256(text: str) -> str:
    """The SHA-256 of a text's UTF-8, as 64 hexadecimal digits. Half a surrogate pair, which no text of ours holds, is
    hashed as it stands."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_of(value: object) -> str:
    """The SHA-256 of a JSON value, however its objects are ordered: the API server sorts some and keeps others."""
    return sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True))
