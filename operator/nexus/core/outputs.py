"""Outputs: what a termination message says, and where the output it stands for is kept.

The messages are written by the bootstraps (see nexus.bootstrap) and, for container tasks, by the image itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.api.reasons import Reason

# Kubernetes keeps 4,096 bytes of a container's termination message (kubelet, MaxContainerTerminationMessageLength).
MESSAGE_LIMIT = 4_096
OUTPUT_LIMIT = 512 * 1024
INLINE_LIMIT = 1_024
INLINE_TOTAL_LIMIT = 64 * 1024
FRAME_PREFIX = "NEXUS-OUTPUT "
# The exit code of a bootstrap that refuses an output: the same code would write the same again, so no retry.
OUTPUT_REFUSED = 240


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
class Rejected:
    """No output can be made of it."""

    reason: Reason
    message: str


def of_container(message: str) -> Output | Rejected:
    """The output of a container task: its termination message where that is a JSON object, else none."""
    try:
        value = json.loads(message, parse_constant=_refuse_constant)
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


def of_bootstrap(message: str) -> Output | Frame | Rejected:
    """The output of a python, http, bash or sql task from the message of its bootstrap."""
    head, _, rest = message.partition("\n")
    try:
        envelope = json.loads(head)
    except ValueError:
        envelope = None
    match envelope:
        case {"output": dict(value)}:
            return Output(value)
        case {"lines": int(size)}:
            return of_lines(rest.encode()[:size].decode(errors="replace"))
        case {"frame": {"size": int(size), "sha256": str(sha256), "format": str(form)}}:
            return Frame(size, sha256, form)
        case {"error": {"reason": str(reason), "message": str(text)}} if reason in (
            Reason.INVALID_OUTPUT,
            Reason.OUTPUT_TOO_LARGE,
        ):
            return Rejected(Reason(reason), text)
    return Rejected(
        Reason.INVALID_OUTPUT,
        "the task ended before its output was written (os._exit, or a process that replaced it?): let the code run to its end",
    )


def of_frame(frame: Frame, text: str) -> Output | Rejected:
    """The output that a frame's text (from `find_frame`) holds."""
    if frame.format == "lines":
        return of_lines(text)
    value = json.loads(text)
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
        if not equals or not key or key != key.strip():
            return Rejected(
                Reason.INVALID_OUTPUT,
                f"line {number} of $NEXUS_OUTPUT is neither key=value nor key:=json: {line[:80]!r}",
            )
        if not is_json:
            value[key] = content
            continue
        try:
            value[key] = json.loads(content, parse_constant=_refuse_constant)
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
    if size > OUTPUT_LIMIT:
        return Rejected(
            Reason.OUTPUT_TOO_LARGE,
            f"the output is {size:,} bytes of JSON, the limit is {OUTPUT_LIMIT:,}: return less, or keep the data "
            "outside and return where it lies",
        )
    return Output(value)


def dump(value: object) -> str:
    """Compact JSON, non-ASCII kept: the one form in which sizes are measured and outputs are stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def find_frame(log: bytes, size: int, sha256: str) -> str | None:
    """The text of the frame in a task's log, or None where it is not there whole.

    The frame is the last line with the prefix; a line that user code forged fails the hash.
    """
    for line in reversed(log.split(b"\n")):
        if not line.startswith(FRAME_PREFIX.encode()):
            continue
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


def error_of(message: str) -> tuple[str, Reason | None]:
    """What a failed bootstrap says of the error: a sentence, and a reason where it names one."""
    try:
        envelope = json.loads(message)
    except ValueError:
        return "", None
    match envelope:
        case {"error": {"message": str(text), **error}}:
            kind, line, reason = error.get("type"), error.get("line"), error.get("reason")
            sentence = f"{kind}: {text}" if kind and kind != "ExitCode" else text
            if line:
                sentence = f"{sentence} (line {line})"
            known = reason in (Reason.INVALID_OUTPUT, Reason.OUTPUT_TOO_LARGE)
            return sentence, Reason(str(reason)) if known else None
    return "", None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
