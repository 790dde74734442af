"""One setting: how its value in the environment is read, and the error if it is invalid."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nexus.core.text.similar_names import closest, did_you_mean

PREFIX = "NEXUS_"
# A Service named nexus-http gives every pod of its namespace NEXUS_HTTP_PORT=tcp://10.96.12.7:80, and more.
OF_A_SERVICE = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
ADDRESS_OF_A_SERVICE = re.compile(r"^(tcp|udp|sctp)://")

_TEXTS = {"type": "array", "items": {"type": "string"}}


class SettingsError(Exception):
    """An invalid setting; the message names it and says what is allowed."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a value from a string. `read` raises ValueError, with a message if `takes` does not say everything."""

    takes: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    """The same as JSON Schema, for the chart's values."""


def setting(default: Any, reader: Reader, about: str) -> Any:
    """Return a field of Settings. `about` describes it in one or two sentences, for docs/settings.md."""
    return dataclasses.field(default=default, metadata={"reader": reader, "about": about})


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + field.upper()


def value(name: str, text: str, reader: Reader) -> Any:
    """Return the value of a setting. Raises SettingsError if it is invalid."""
    try:
        return reader.read(text.strip())
    except ValueError as error:
        why = str(error) or f"expected {reader.takes}"
        raise SettingsError(f"{name}={text!r}: {why}") from None


def number(low: int, high: int) -> Reader:
    """Return a reader of integers."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Reader(f"an integer from {low:,} to {high:,}", read, {"type": "integer", "minimum": low, "maximum": high})


def choice(*words: str) -> Reader:
    """Return a reader of one of some words, in any case; the value is spelled as here."""
    by_case = {word.lower(): word for word in words}

    def read(text: str) -> str:
        if text.lower() not in by_case:
            raise ValueError
        return by_case[text.lower()]

    return Reader(f"{', '.join(words[:-1])} or {words[-1]}", read, {"enum": list(words)})


def name() -> Reader:
    """Return a reader of names of Kubernetes objects."""

    def read(text: str) -> str:
        if len(text) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text):
            raise ValueError
        return text

    return Reader("the name of a Kubernetes object (a-z, 0-9, - and .)", read, {"type": "string"})


def names(of: str) -> Reader:
    """Return a reader of names that are separated by commas."""
    one = name()

    def read(text: str) -> tuple[str, ...]:
        return tuple(one.read(word.strip()) for word in text.split(",") if word.strip())

    return Reader(f"names of {of}, separated by commas", read, _TEXTS)


def some_of(what: str, of: str, known: Collection[str]) -> Reader:
    """Return a reader of words of a set, separated by commas; each is a `what` of `of`. Unknown words are refused:
    they would have no effect."""

    def read(text: str) -> frozenset[str]:
        words = frozenset(word.strip() for word in text.split(",") if word.strip())
        for word in sorted(words - set(known)):
            close = closest(word, known, cutoff=0.75)
            hint = did_you_mean(close) if close else f"expected {', '.join(known)}"
            raise ValueError(f'unknown {what} "{word}" of {of}; {hint}')
        return words

    return Reader(f"{what}s of {of}, separated by commas", read, {"type": "array", "items": {"enum": list(known)}})


def template(*needed: str) -> Reader:
    """Return a reader of strings that contain certain parts."""

    def read(text: str) -> str:
        for part in needed:
            if part not in text:
                raise ValueError
        return text

    return Reader(f"a string that contains {' and '.join(needed)}", read, {"type": "string"})


def digests(*of: str) -> Reader:
    """Return a reader of image digests, as KEY=sha256:..., for some keys."""
    pair = re.compile(rf"({'|'.join(of)})=(sha256:[0-9a-f]{{64}})")

    def read(text: str) -> tuple[tuple[str, str], ...]:
        found = [pair.fullmatch(word.strip()) for word in text.split(",") if word.strip()]
        given = [(match[1], match[2]) for match in found if match]
        if len(given) < len(found) or len(dict(given)) < len(given):
            raise ValueError
        return tuple(sorted(given))

    takes = f"TYPE=sha256:... for {', '.join(of[:-1])} or {of[-1]}, each once, separated by commas"
    return Reader(takes, read, {"type": "array", "items": {"type": "string", "pattern": f"^{pair.pattern}$"}})
