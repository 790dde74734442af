"""One setting: how its text in the environment is read, and what is said where it cannot be."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nexus.core.text.similar_names import closest

PREFIX = "NEXUS_"
# A Service named nexus-http gives every pod of its namespace NEXUS_HTTP_PORT=tcp://10.96.12.7:80, and more.
OF_A_SERVICE = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
ADDRESS_OF_A_SERVICE = re.compile(r"^(tcp|udp|sctp)://")

_TEXTS = {"type": "array", "items": {"type": "string"}}


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what it takes."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How a text becomes a value; `read` raises ValueError, with words where `takes` does not say it all."""

    takes: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    """The same as JSON Schema, for the chart's values."""


def setting(default: Any, reader: Reader, about: str) -> Any:
    """A field of Settings. `about` is one or two sentences, for docs/settings.md."""
    return dataclasses.field(default=default, metadata={"reader": reader, "about": about})


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def value(name: str, text: str, reader: Reader) -> Any:
    """What a text means. Raises SettingsError."""
    try:
        return reader.read(text.strip())
    except ValueError as error:
        why = str(error) or f"it takes {reader.takes}"
        raise SettingsError(f"{name}={text!r}: {why}") from None


def number(low: int, high: int) -> Reader:
    """A whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Reader(
        f"a whole number from {low:,} to {high:,}", read, {"type": "integer", "minimum": low, "maximum": high}
    )


def choice(*words: str) -> Reader:
    """One of some words, however it is written; the value is spelt as here."""
    by_case = {word.lower(): word for word in words}

    def read(text: str) -> str:
        if text.lower() not in by_case:
            raise ValueError
        return by_case[text.lower()]

    return Reader(f"{', '.join(words[:-1])} or {words[-1]}", read, {"enum": list(words)})


def name() -> Reader:
    """The name of a Kubernetes object."""

    def read(text: str) -> str:
        if len(text) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text):
            raise ValueError
        return text

    return Reader("the name of a Kubernetes object (a-z, 0-9, - and .)", read, {"type": "string"})


def names(of: str) -> Reader:
    """Some names, separated by commas."""
    one = name()

    def read(text: str) -> tuple[str, ...]:
        return tuple(one.read(word.strip()) for word in text.split(",") if word.strip())

    return Reader(f"names of {of}, separated by commas", read, _TEXTS)


def some_of(what: str, of: str, known: Collection[str]) -> Reader:
    """Some of a set of words (`what` one of them is, of what), separated by commas. A word that is none of them would
    mean nothing, and nobody would notice."""

    def read(text: str) -> frozenset[str]:
        words = frozenset(word.strip() for word in text.split(",") if word.strip())
        for word in sorted(words - set(known)):
            close = closest(word, known, cutoff=0.75)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
            raise ValueError(f"there is no {what} {word} of {of}: {hint}")
        return words

    return Reader(f"{what}s of {of}, separated by commas", read, {"type": "array", "items": {"enum": list(known)}})


def template(*needed: str) -> Reader:
    """A text with certain parts."""

    def read(text: str) -> str:
        for part in needed:
            if part not in text:
                raise ValueError
        return text

    return Reader(f"a text with {' and '.join(needed)} in it", read, {"type": "string"})


def digests(*of: str) -> Reader:
    """Digests of images, as KEY=sha256:..., of some keys."""
    pair = re.compile(rf"({'|'.join(of)})=(sha256:[0-9a-f]{{64}})")

    def read(text: str) -> tuple[tuple[str, str], ...]:
        found = [pair.fullmatch(word.strip()) for word in text.split(",") if word.strip()]
        given = [(match[1], match[2]) for match in found if match]
        if len(given) < len(found) or len(dict(given)) < len(given):
            raise ValueError
        return tuple(sorted(given))

    takes = f"TYPE=sha256:... for {', '.join(of[:-1])} or {of[-1]}, each once, separated by commas"
    return Reader(takes, read, {"type": "array", "items": {"type": "string", "pattern": f"^{pair.pattern}$"}})
