"""Limits on what a container can be handed."""

from __future__ import annotations

from dataclasses import dataclass

from nexus.api.reasons import Reason

# Linux takes at most 131,072 bytes for one argument or environment string, its NUL included (MAX_ARG_STRLEN).
STRING_LIMIT = 131_071


@dataclass(frozen=True, slots=True)
class PayloadError(Exception):
    """A field is too large to hand to a container."""

    reason: Reason
    message: str


def check_string(field: str, text: str) -> None:
    """Raise PayloadError for a string that cannot be an argument or environment variable."""
    size = len(text.encode())
    if size > STRING_LIMIT:
        raise PayloadError(
            Reason.INPUT_TOO_LARGE,
            f"{field} is {size:,} bytes when rendered; Linux allows {STRING_LIMIT:,} for one argument or variable; "
            "use a python, bash or sql task, which gets its input as a file",
        )


def check_item_text(index: int, text: str) -> None:
    """Raise PayloadError where an item cannot be the variable ITEM."""
    check_string(f"item {index}", f"ITEM={text}")
    if "\0" in text:
        raise PayloadError(
            Reason.INVALID_ITEMS,
            f"item {index} contains a NUL byte, which an environment variable cannot hold; encode it as base64",
        )
