"""Outputs: what a termination message says, and where the output it stands for is kept.

The messages are written by the bootstraps (see nexus.bootstrap) and, for container tasks, by the image itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.api.reasons import Reason

# Kubernetes keeps 4,096 bytes of a container's termination message (kubelet, MaxContainerTerminationMessageLength).
MESSAGE_LIMIT = 4_096
OUTPUT_LIMIT = 512 * 1024
INLINE_LIMIT = 1_024
FRAME_PREFIX = "NEXUS-OUTPUT "
# The exit code of a bootstrap that refuses an output: the same code would write the same again, so no retry.
OUTPUT_REFUSED = 240
# A frame of lines is larger than the JSON made of it; the bash bootstrap refuses more than this.
FRAME_LIMIT = 1024 * 1024
FRAME_CANDIDATES = 20
DEPTH_LIMIT = 100

_INT_LIMIT = 2**63
# Reasons that a bootstrap gives for an output, and those that a transfer gives.
_REFUSALS = (Reason.INVALID_OUTPUT, Reason.OUTPUT_TOO_LARGE)
_TOLD = (*_REFUSALS, Reason.STORE_FAILED, Reason.ARTIFACT_MISSING)
_TOO_DEEP = f"it is nested more than {DEPTH_LIMIT} levels deep"


@dataclass(frozen=True, slots=True)
class Output:
    """An accepted output."""

    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """An output that lies in the pod's log: bytes and SHA-256 of its text, which is `json` or `lines`."""

    size: int
    sha256: str
    format: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An output that goes to the output store."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """No output can be made of it."""

    reason: Reason
    message: str


def of_container(message: str) -> Output | Rejected:
    """The output of a container task: its termination message where that is a JSON object, else none."""
    try:
        value = load(message)
    except ValueError:
        # The kubelet cuts at the limit without a sign of it: a full message that does not parse was cut.
        if len(message.encode()) >= MESSAGE_LIMIT:
            return Rejected(
                Reason.OUTPUT_TOO_LARGE,
                f"the termination message reached Kubernetes' limit of {MESSAGE_LIMIT} bytes and is not a JSON object: "
                "write less to /dev/termination-log, or use a python or bash task (512 KiB)",
            )
        return Output({})
    return Output(value) if isinstance(value, dict) else Output({})


def of_bootstrap(message: str) -> Output | Frame | Kept | Rejected:
    """The output of a python, http, bash or sql task from the message of its bootstrap."""
    head, _, rest = message.partition("\n")
    try:
        envelope = load(head)
    except ValueError:
        envelope = None
    match envelope:
        case {"output": dict(value)}:
            return Output(value)
        case {"lines": int(size)} if size >= 0:
            return of_lines(rest.encode()[:size].decode(errors="replace"))
        case {"frame": {"size": int(size), "sha256": str(sha256), "format": "json" | "lines" as form}} if size >= 0:
            if size > FRAME_LIMIT:
                return _too_large(size)
            return Frame(size, sha256, form)
        case {"kept": {"size": int(size), "sha256": str(sha256)}} if size >= 0:
            return Kept(size, sha256)
        case {"error": {"reason": str(reason), "message": str(text)}} if reason in _REFUSALS:
            return Rejected(Reason(reason), text)
    return Rejected(
        Reason.INVALID_OUTPUT,
        "the task ended before its output was written (os._exit, or a process that replaced it?): let the code run to "
        "its end",
    )


def is_kept(message: str) -> bool:
    """Whether a message speaks of an output that goes to the output store. Asked at every look, hence so plainly."""
    return message.startswith('{"kept":')


def of_frame(frame: Frame, text: str) -> Output | Rejected:
    """The output that a frame's text (from `find_frame`) holds."""
    if frame.format == "lines":
        return of_lines(text)
    try:
        value = load(text)
    except ValueError as error:
        return Rejected(Reason.INVALID_OUTPUT, f"the output is no JSON: {error}")
    if not isinstance(value, dict):
        return Rejected(Reason.INVALID_OUTPUT, f"the output is {dump(value)[:80]}, and an output is a JSON object")
    return within_limit(value)


def of_lines(text: str) -> Output | Rejected:
    """The output that bash wrote: lines `key=text` or `key:=json`; empty lines are passed over; the last one wins."""
    value: dict[str, Any] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line:
            continue
        key, equals, content = line.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key or key.split() != [key]:
            return Rejected(
                Reason.INVALID_OUTPUT,
                f"line {number} of $NEXUS_OUTPUT is neither key=value nor key:=json: {line[:80]!r}",
            )
        if not is_json:
            value[key] = content
            continue
        try:
            value[key] = load(content)
        except ValueError as error:
            return Rejected(
                Reason.INVALID_OUTPUT,
                f"line {number} of $NEXUS_OUTPUT: {key}:= wants JSON, not {content[:80]!r} ({error}); "
                f"for text write {key}=...",
            )
    return within_limit(value)


def within_limit(value: Mapping[str, Any]) -> Output | Rejected:
    """The output, unless its JSON is over 512 KiB."""
    size = len(dump(value).encode())
    return _too_large(size) if size > OUTPUT_LIMIT else Output(value)


def _too_large(size: int) -> Rejected:
    return Rejected(
        Reason.OUTPUT_TOO_LARGE,
        f"the output is {size:,} bytes of JSON, the limit is {OUTPUT_LIMIT:,}: return less, or leave the data as an "
        "artifact (spec.outputStore)",
    )


def load(text: str) -> Any:
    """The value of a JSON text that task code wrote.

    Raises ValueError for what is no JSON, and for what the API server, CEL or the next reader would not take: NaN,
    infinities, whole numbers beyond 64 bits, half a surrogate pair, more than 100 levels.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(value, DEPTH_LIMIT)
    return value


def dump(value: object) -> str:
    """Compact JSON, non-ASCII kept: the one form in which sizes are measured and outputs are stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def find_frame(log: bytes, size: int, sha256: str) -> str | None:
    """The text of the frame in a task's log, or None where it is not there whole.

    The frame is the last line with the prefix; a line that user code forged fails the hash.
    """
    prefix = FRAME_PREFIX.encode()
    lines = [line for line in log.split(b"\n") if line.startswith(prefix)]
    # What follows the frame was printed by processes that outlived the task's code. A few are looked past; a log full
    # of forged lines, each to be decompressed, would hold up other runs.
    for line in reversed(lines[-FRAME_CANDIDATES:]):
        try:
            packed = base64.b64decode(line[len(FRAME_PREFIX) :].strip(), validate=True)
            # 32 + MAX_WBITS: zlib (python) or gzip (bash), whichever the header says. The bound on what comes out
            # is the size that the message announced, so a forged line cannot blow up memory.
            text = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(packed, size + 1)
        except (binascii.Error, zlib.error):
            continue
        if len(text) == size and hashlib.sha256(text).hexdigest() == sha256:
            return text.decode(errors="replace")
    return None


def exception_of(message: str) -> tuple[str, str, int | None] | None:
    """Type, message and line of the exception that a failed bootstrap tells of; None where it was none."""
    try:
        envelope = load(message)
    except ValueError:
        return None
    match envelope:
        case {"error": {"type": str(kind), "message": str(text), **error}} if kind != "ExitCode":
            line = error.get("line")
            return kind, text, line if isinstance(line, int) else None
    return None


def error_of(message: str) -> tuple[str, Reason | None]:
    """What a failed bootstrap says of the error: a sentence, and a reason where it names one."""
    try:
        envelope = load(message)
    except ValueError:
        return "", None
    match envelope:
        case {"error": {"message": str(text), **error}}:
            kind, line, reason = error.get("type"), error.get("line"), error.get("reason")
            sentence = f"{kind}: {text}" if kind and kind != "ExitCode" else text
            if line and f"line {line}" not in text:
                sentence = f"{sentence} (line {line})"
            return sentence, Reason(str(reason)) if reason in _TOLD else None
    return "", None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _whole(text: str) -> int:
    # Counted before it is read: Python takes quadratic time for digits beyond all use.
    if len(text) > 20 or not -_INT_LIMIT <= int(text) < _INT_LIMIT:
        raise ValueError(f"{text[:40]} does not fit into 64 bits: write it as text")
    return int(text)


def _check(value: Any, levels: int) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("it holds half a surrogate pair, which is no text")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise ValueError(_TOO_DEEP)
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check(item, levels - 1)
