"""Outputs: what a termination message says, and where the output it refers to is kept.

The messages are written by the bootstraps (see nexus.bootstrap) and, for container tasks, by the image itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.api.reasons import Reason
from nexus.core.data import output_lines
from nexus.core.data.limits import OUTPUT_LIMIT
from nexus.core.text.json_text import dump, load

# Kubernetes keeps 4,096 bytes of a container's termination message (kubelet, MaxContainerTerminationMessageLength).
MESSAGE_LIMIT = 4_096
FRAME_PREFIX = "NEXUS-OUTPUT "
# A frame of lines is larger than the JSON made of it; the bash bootstrap refuses more than this.
FRAME_LIMIT = 1024 * 1024
FRAME_CANDIDATES = 20

_BAD_BYTE = re.compile("[\udc80-\udcff]")
# Reasons that a bootstrap gives for an output, and those that a transfer gives.
_REFUSALS = (Reason.INVALID_OUTPUT, Reason.OUTPUT_TOO_LARGE)
_TOLD = (*_REFUSALS, Reason.STORE_FAILED, Reason.ARTIFACT_MISSING, Reason.CONTENT_CHANGED)


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


def message_text(message: bytes) -> str:
    """Return a termination message as the API server gives it back: at most its last 4,096 bytes (kubelet,
    pkg/util/tail, ReadAtMost), and U+FFFD for each byte that is not UTF-8 (Go's encoding/json; Python's "replace" gives
    one for several)."""
    text = message[-MESSAGE_LIMIT:].decode(errors="surrogateescape")
    return _BAD_BYTE.sub("\ufffd", text)


def of_container(message: str) -> Output | Rejected:
    """Return the output of a container task: its termination message if that is a JSON object, none if it is not JSON.

    What starts as an object is meant as one: where it cannot be kept as it is, the task fails.
    """
    text = message.strip()
    problem = ""
    try:
        value = load(text)
    except ValueError as error:
        # The kubelet cuts at the limit without a sign of it: a full message that does not parse was cut.
        if len(message.encode()) >= MESSAGE_LIMIT:
            return Rejected(
                Reason.OUTPUT_TOO_LARGE,
                f"the termination message reached Kubernetes' limit of {MESSAGE_LIMIT} bytes and is not a JSON object: "
                "write less to /dev/termination-log, or use a python or bash task (512 KiB)",
            )
        value, problem = None, str(error)
    if isinstance(value, dict) and "\ufffd" in text:
        problem = 'it is not UTF-8, or has the character U+FFFD, to be written as "\\ufffd"'
    # A byte order mark, in UTF-8 or in UTF-16.
    if problem and text.lstrip("\ufeff\ufffd\0").startswith("{"):
        got = output_lines.quoted(text)
        return Rejected(
            Reason.INVALID_OUTPUT,
            f"the output is not valid JSON: {problem}; a termination message that starts with {{ must be a JSON "
            f"object in UTF-8, got {got}",
        )
    return Output(value) if isinstance(value, dict) else Output({})


def of_bootstrap(message: str) -> Output | Frame | Kept | Rejected:
    """Return the output of a python, http, bash or sql task from the message of its bootstrap."""
    head, _, rest = message.partition("\n")
    try:
        envelope = load(head)
    except ValueError:
        envelope = None
    match envelope:
        case {"output": dict(value)}:
            return Output(value)
        case {"lines": int(size)} if size >= 0:
            return _inline_lines(rest, size)
        case {"frame": {"size": int(size), "sha256": str(sha256), "format": "json" | "lines" as form}} if size >= 0:
            if size > FRAME_LIMIT:
                return _too_large(size)
            return Frame(size, sha256, form)
        case {"kept": {"size": int(size), "sha256": str(sha256)}} if size >= 0:
            return Kept(size, sha256)
        case {"error": {"reason": str(reason), "message": str(text)}} if reason in _REFUSALS:
            return Rejected(Reason(reason), text)
    return _shortened() if head.startswith('{"output":') else _unfinished()


def _shortened() -> Rejected:
    # kubelet, status_manager.go, normalizeStatus: the messages of a pod's containers share 12 KiB.
    return Rejected(
        Reason.INVALID_OUTPUT,
        "the end of the output is missing: the kubelet cuts termination messages where a pod has more than three "
        "containers (injected sidecars); output less than 2 KiB or more than 4 KiB, or keep the sidecars out",
    )


def _unfinished() -> Rejected:
    return Rejected(
        Reason.INVALID_OUTPUT,
        "the task ended before its output was written (os._exit, or a process that replaced it?); let the code run to "
        "its end",
    )


def is_kept(message: str) -> bool:
    """Return whether a message speaks of an output that goes to the output store. Asked at every look, hence so
    plainly."""
    return message.startswith('{"kept":')


def of_frame(frame: Frame, text: str) -> Output | Rejected:
    """Return the output that a frame's text (from `find_frame`) holds."""
    if frame.format == "lines":
        return of_lines(text)
    try:
        value = load(text)
    except ValueError as error:
        return Rejected(Reason.INVALID_OUTPUT, f"the output is not valid JSON: {error}")
    if not isinstance(value, dict):
        return Rejected(Reason.INVALID_OUTPUT, f"the output must be a JSON object, got {dump(value)[:80]}")
    return within_limit(value)


def of_lines(text: str) -> Output | Rejected:
    """Return the output that bash wrote (see nexus.core.data.output_lines).

    `text` may hold bytes that are not UTF-8, decoded with "surrogateescape".
    """
    value: dict[str, Any] = {}
    first: dict[str, int] = {}
    try:
        for entry in output_lines.entries(text):
            found = _json_of(entry) if entry.is_json else entry.text
            if entry.key not in value:
                value[entry.key], first[entry.key] = found, entry.number
            elif dump(value[entry.key]) != dump(found):
                # Most likely a line of another value: which of the two its author meant is unknown.
                raise output_lines.LineError(
                    entry.number,
                    f"sets key {output_lines.quoted(entry.key)} again, to another value than line {first[entry.key]}; "
                    f"set each key once, and {output_lines.MULTILINE}",
                )
    except output_lines.LineError as error:
        return Rejected(Reason.INVALID_OUTPUT, str(error))
    return within_limit(value)


def _json_of(entry: output_lines.Entry) -> Any:
    try:
        return load(entry.text)
    except ValueError as error:
        key, got = entry.key[: output_lines.QUOTED], output_lines.quoted(entry.text)
        raise output_lines.LineError(
            entry.number,
            f"must have JSON behind {key}:, got {got} ({error}); for a string write {key}=..., for JSON of several "
            f"lines write {key}:<<$NEXUS_EOF, the JSON, and a last line $NEXUS_EOF",
        ) from None


def _inline_lines(text: str, size: int) -> Output | Rejected:
    """Return the output of lines that came in the message: `size` bytes, of which the API server has replaced each that
    is not UTF-8 by U+FFFD (encoding/json, like the kubelet's patch of the status): three bytes in place of one."""
    grown = len(text.encode()) - size
    if grown == 0:
        return of_lines(text)
    if grown < 0:
        return _shortened()
    lines = text.split("\n")
    suspects = [number for number, line in enumerate(lines, start=1) if "\ufffd" in line]
    if not suspects:
        # A bootstrap of an earlier version, and a process that outlived the command and wrote more meanwhile.
        return of_lines(text.encode()[:size].decode(errors="surrogateescape"))
    first = suspects[0]
    problem = output_lines.not_utf8(lines[first - 1])
    if 2 * text.count("\ufffd") == grown or len(suspects) == 1:
        return Rejected(Reason.INVALID_OUTPUT, str(output_lines.LineError(first, problem)))
    # Some of them were written as U+FFFD: which ones is not known any more.
    others = f"lines {', '.join(map(str, suspects[:10]))} of $NEXUS_OUTPUT: one of them"
    return Rejected(Reason.INVALID_OUTPUT, f"{others} {problem}")


def within_limit(value: Mapping[str, Any]) -> Output | Rejected:
    """Return the output, unless its JSON is over 512 KiB."""
    size = len(dump(value).encode())
    return _too_large(size) if size > OUTPUT_LIMIT else Output(value)


def _too_large(size: int) -> Rejected:
    return Rejected(
        Reason.OUTPUT_TOO_LARGE,
        f"the output exceeds the limit ({size:,} bytes of JSON, limit {OUTPUT_LIMIT:,}); return less, or leave the "
        "data as an artifact (spec.outputStore)",
    )


def find_frame(log: bytes, size: int, sha256: str) -> str | None:
    """Return the text of the frame in a task's log, or None where it is not there whole; bytes that are not UTF-8 are
    decoded with "surrogateescape".

    The frame is the last line with the prefix; a line that user code forged fails the hash.
    """
    begin = b"\n" + FRAME_PREFIX.encode()
    # Searched for, and not split into lines: a log of 2 MiB may have as many of them.
    log = b"\n" + log
    end = len(log)
    # What follows the frame was printed by processes that outlived the task's code. A few are looked past; a log full
    # of forged lines, each to be decompressed, would hold up other runs.
    for _ in range(FRAME_CANDIDATES):
        end = log.rfind(begin, 0, end)
        if end < 0:
            break
        stop = log.find(b"\n", end + 1)
        line = log[end + 1 : stop if stop >= 0 else len(log)]
        try:
            packed = base64.b64decode(line[len(FRAME_PREFIX) :].strip(), validate=True)
            # 32 + MAX_WBITS: zlib (python) or gzip (bash), whichever the header says. The bound on what comes out
            # is the size that the message announced, so a forged line cannot blow up memory.
            text = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(packed, size + 1)
        except (binascii.Error, zlib.error):
            continue
        if len(text) == size and hashlib.sha256(text).hexdigest() == sha256:
            return text.decode(errors="surrogateescape")
    return None


def exception_of(message: str) -> tuple[str, str, int | None] | None:
    """Return the type, message and line of the exception that a failed bootstrap tells of; None where it was none."""
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
    """Return what a failed bootstrap says of the error: a sentence, and a reason where it names one."""
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


def retry_after_of(message: str) -> int | None:
    """Return the seconds that the server of an http task asked to wait before another request."""
    try:
        envelope = load(message)
    except ValueError:
        return None
    match envelope:
        case {"error": {"retryAfter": int(seconds)}} if not isinstance(seconds, bool) and seconds > 0:
            return seconds
    return None
