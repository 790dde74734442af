"""Names of the containers of a task's pod."""

from __future__ import annotations

CONTAINER = "task"
FETCH, PUT = "fetch", "put"
"""The containers that move data, before and after it."""
