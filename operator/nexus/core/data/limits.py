"""How large what travels between tasks may be, in bytes of JSON."""

from __future__ import annotations

PARAMS_LIMIT = 64 * 1024
"""All params of a run together: they travel in the environment of every pod of it."""
OUTPUT_LIMIT = 512 * 1024
"""An output without an output store."""
INLINE_LIMIT = 1_024
"""Bytes of the largest output that is stored in the status itself."""
