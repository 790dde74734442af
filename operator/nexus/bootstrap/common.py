"""What the python, http and sql bootstraps share: reading the task, and telling how it ended.

`nexus.bootstrap.text` puts this text in front of each of them. It needs Python >= 3.9 and nothing else; at the top it
imports only what every task uses, since every task pays for it (json alone costs 7 ms).
"""

from __future__ import annotations

import json
import os
import sys

from nexus.api.numbers import INT_LIMIT, as_stored

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MESSAGE_LIMIT = 4096  # bytes of a termination message that the kubelet keeps
OUTPUT_LIMIT = 512 * 1024  # bytes of JSON, before compression; the operator stores it in a ConfigMap (1 MiB at most)
COUNTING_LIMIT = 4 * 1024 * 1024  # above this an output is refused without being measured to its end
DEPTH_LIMIT = 100  # levels; readers of JSON give up at some depth, and a value that contains itself never ends
REFUSED = 240  # exit code for an output that no retry will fix
NOT_LISTED = 241  # that of an http task for a failure that its retry.retryOn does not list
STORE_LIMIT = 64 * 1024 * 1024  # bytes of JSON of an output that goes to the output store
KEPT = os.environ.get("NEXUS_OUTPUT_FILE")  # where a large output is left; None if there is no store
MOST = STORE_LIMIT if KEPT else OUTPUT_LIMIT
SUMS: dict[str, str] = {}  # what files of the folder must hold: SHA-256 by name

ADVICE = {
    "date": "use .isoformat()",
    "datetime": "use .isoformat()",
    "time": "use .isoformat()",
    "timedelta": "use .total_seconds()",
    "Decimal": "use float(...) or str(...)",
    "UUID": "use str(...)",
    "bytes": "use .decode(), or base64 for binary data",
    "set": "use sorted(...)",
    "frozenset": "use sorted(...)",
    "generator": "use list(...)",
    "ndarray": "use .tolist()",
    "DataFrame": 'use .to_dict("records")',
}


class Refusal(Exception):
    """The output cannot travel: the task fails without a retry."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Failure(Exception):
    """The task failed: `kind` is the error's type, `line` the line of the user's code, `code` the exit code.

    `logged`: standard error has it already. `retry_after`: seconds to wait before another attempt, as a server asked.
    """

    def __init__(self, kind: str, message: str, line: int | None = None, code: int = 1, logged: bool = False) -> None:
        super().__init__(message)
        self.retry_after: int | None = None
        self.kind = kind
        self.line = line
        self.code = code
        self.logged = logged


def folder() -> str:
    return os.environ.get("NEXUS_DIR", "/nexus")


def received(variable: str, file_name: str) -> Any:
    """Return a JSON value from the environment, or from its file where it was too long for that.

    The variable is taken out, so that neither user code nor its children see it. Bytes, because an image's locale
    need not be UTF-8.
    """
    text = os.environb.pop(variable.encode(), None)
    if text is not None:
        return json.loads(text)
    try:
        return json.loads(content(file_name))
    except OSError as error:
        path = os.path.join(folder(), file_name)
        message = f"neither ${variable} nor {path} can be read ({error.strerror}): only Nexus starts this script"
        raise Failure("BootstrapError", message) from None


def content(file_name: str) -> bytes:
    """Return what a file of the task's folder holds; raises OSError, and Refusal where that is not what was stored.

    In a pod the files come from ConfigMaps, which others may write, and what is mounted changes with them: only the
    bytes that were held against the hash, which comes in the Job, are used. Outputs that an older version of the
    operator stored have none; nor have the files of a local run.
    """
    if not SUMS and "NEXUS_SHA256SUMS" in os.environ:
        for line in os.environ.pop("NEXUS_SHA256SUMS").splitlines():
            known, _, name = line.partition("  ")
            SUMS[name] = known
    with open(os.path.join(folder(), file_name), "rb") as file:
        found = file.read()
    if file_name in SUMS:
        import hashlib

        if hashlib.sha256(found).hexdigest() != SUMS[file_name]:
            text = (
                f"the file {file_name} does not hold what was stored for this task; its ConfigMap was changed by "
                "another client"
            )
            raise Refusal("ContentChanged", f"{text}: find out who writes ConfigMaps in the namespace, then run again")
    return found


def item_line() -> tuple[int, bytes, bytes] | None:
    """Of a fan-out in one Job: this pod's index, its item as JSON, and what else belongs to that item; else None."""
    path = os.path.join(folder(), "items")
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    if not index.isdigit() or not os.path.exists(path):
        return None
    lines = content("items").split(b"\n")
    if int(index) < len(lines) and lines[int(index)]:
        item, _, rest = lines[int(index)].partition(b"\t")
        return int(index), item, rest
    raise Failure("BootstrapError", f"{path} has no item {index}: only Nexus starts this script")


def received_task() -> dict[str, Any]:
    """Return the rendered task; in a fan-out its places for an item's own values are filled."""
    task: dict[str, Any] = received("NEXUS_TASK_JSON", "task.json")
    line = item_line()
    if line is not None and line[2]:
        places = received("NEXUS_ITEM_FIELDS", "item-fields.json")
        for position, value in enumerate(json.loads(line[2])):
            *outer, last = places[position]
            inside: Any = task
            for step in outer:
                inside = inside[step]
            inside[last] = value
    return task


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check(value: object, trail: list[object], room: list[int]) -> None:
    """Refuse what is not JSON, naming the place: json.dumps turns the key 1 into "1" and knows no place.

    `room` holds the bytes that are left, so that a huge or self-doubling value is not walked to its end, and whether a
    float was seen that the API server would give back as an integer.
    """
    room[0] -= 2  # a value and what separates it from the next
    if room[0] < 0:
        raise Refusal("OutputTooLarge", f"the output is more than {max(COUNTING_LIMIT, MOST)} bytes of JSON")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        check_text(value, trail, room)
    elif isinstance(value, int):
        if not -INT_LIMIT <= value < INT_LIMIT:
            refuse(trail, "is an integer of more than 64 bits: use str(...)")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            refuse(trail, f"is {value}, which JSON does not have: use None")
        if value.is_integer():
            room[1] = 1
    elif isinstance(value, (dict, list, tuple)):
        check_items(value, trail, room)
    else:
        kind = type(value).__name__
        advice = ADVICE.get(kind, "convert it to text, numbers, lists or dicts")
        refuse(trail, f"is a {kind}, which JSON does not have: {advice}")


def check_items(value: dict[Any, Any] | list[Any] | tuple[Any, ...], trail: list[object], room: list[int]) -> None:
    if len(trail) > DEPTH_LIMIT:
        refuse(trail[:3], f"is nested more than {DEPTH_LIMIT} levels deep, or contains itself")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                refuse(trail, f"has the key {key!r} ({type(key).__name__}): JSON keys are strings, use str(...)")
            check_text(key, trail, room)
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        trail.append(key)
        check(item, trail, room)
        trail.pop()


def check_text(text: str, trail: list[object], room: list[int]) -> None:
    room[0] -= len(text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            refuse(
                trail,
                f'has a string that is not valid Unicode ({text[error.start]!a}): decode it with errors="replace"',
            )


def refuse(trail: list[object], problem: str) -> NoReturn:
    place = "".join(f"[{json.dumps(key, ensure_ascii=False) if isinstance(key, str) else key}]" for key in trail)
    raise Refusal("InvalidOutput", f"output{place} {problem}")


def encoded(output: object) -> bytes:
    """Return the output as compact UTF-8 JSON of at most MOST bytes; raises Refusal."""
    if not isinstance(output, dict):
        raise Refusal("InvalidOutput", f"the output is a {type(output).__name__}, but it must be a dict")
    room = [max(COUNTING_LIMIT, MOST), 0]
    check(output, [], room)
    # What is too large for the operator to read has the same numbers as what is not.
    text = compact(as_stored(output) if room[1] else output).encode()
    if len(text) > MOST:
        raise Refusal("OutputTooLarge", f"the output is {len(text)} bytes of JSON")
    return text


def failed(error: dict[str, Any]) -> bytes:
    """Return the message of a failure, its text cut so that the whole fits."""
    text = error["message"]
    kept = text[:MESSAGE_LIMIT]
    while True:
        error["message"] = kept if kept == text else kept + "…"
        message = compact({"error": error}).encode("utf-8", "replace")
        if len(message) <= MESSAGE_LIMIT:
            return message
        kept = kept[: -((len(message) - MESSAGE_LIMIT) // 6 + 1)]  # JSON spends at most 6 bytes on a character


def too_much() -> str:
    """Return the limit that an output is over, and what would lift it."""
    if KEPT:
        return f"{MOST} (64 MiB) with an output store"
    return f"{MOST} (512 KiB) without an output store (spec.outputStore)"


class Report:
    """The one answer of this process, reported at its very end.

    Standard output is duplicated first: user code may close it or point it elsewhere, and the frame must still get
    out. Its process is noted: a fork that runs to its end has nothing to tell.
    """

    def __init__(self, remedy: str) -> None:
        """`remedy`: what to do about an output that is too large, for this type of task."""
        self.remedy = remedy
        self.path = os.environ.get("NEXUS_TERMINATION_LOG", "/dev/termination-log")
        self.process = os.getpid()
        try:
            self.stdout = os.dup(1)
        except OSError:
            self.stdout = -1  # started without one
        if self.process == 1:
            # The kernel keeps a signal without a handler from the first process of a container: without this a
            # cancelled task would live on until its grace period is over.
            import signal

            signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

    def end(self, produce: Callable[[], object]) -> NoReturn:
        """Tell what `produce` returns, or what it raises, and leave without the interpreter's slow farewell."""
        code = 0
        try:
            message = self.success(encoded(produce()))
        except Exception as error:
            code, message = self.failure(error)
        try:
            with open(self.path, "wb") as file:
                file.write(message)
        except OSError as error:
            say(f"the outcome cannot be written to {self.path}: {error.strerror}")
            code = code or 1
        leave(code)

    def failure(self, error: Exception) -> tuple[int, bytes]:
        """Return the exit code and message; the log gets it too, where it has not been there already."""
        text = str(error)
        if isinstance(error, Refusal):
            if error.reason == "OutputTooLarge":
                text += f", the limit is {too_much()}: {self.remedy}"
            say(f"{error.reason}: {text}")
            return REFUSED, failed({"reason": error.reason, "message": text})
        if not isinstance(error, Failure):  # such as no memory for the JSON, or no reader of standard output
            error = Failure(type(error).__name__, f"the output could not be reported: {text}")
        if not error.logged:
            say(f"{error.kind}: {error}")
        told: dict[str, Any] = {"type": error.kind[:200], "message": str(error)}
        if error.line is not None:
            told["line"] = error.line
        if error.retry_after is not None:
            told["retryAfter"] = error.retry_after
        return error.code, failed(told)

    def success(self, output: bytes) -> bytes:
        """Return the message for this output: itself, or where that is too small, the frame of what goes to the log."""
        message = b'{"output":' + output + b"}"
        if len(message) <= MESSAGE_LIMIT:
            return message
        import binascii
        import hashlib
        import zlib

        if KEPT and len(output) > OUTPUT_LIMIT:
            os.makedirs(os.path.dirname(KEPT), exist_ok=True)
            with open(KEPT, "wb") as file:
                file.write(output)
            return compact({"kept": {"size": len(output), "sha256": hashlib.sha256(output).hexdigest()}}).encode()
        flush()
        try:
            # What a daemon thread prints from now on would end up inside the line.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except OSError:
            pass
        line = b"\nNEXUS-OUTPUT " + binascii.b2a_base64(zlib.compress(output), newline=False) + b"\n"
        while line:
            line = line[os.write(self.stdout, line) :]
        frame = {"size": len(output), "sha256": hashlib.sha256(output).hexdigest(), "format": "json"}
        return compact({"frame": frame}).encode()


def package_missing(error: ModuleNotFoundError, kind: str) -> Failure:
    text = f"the image has no Python package {error.name}, which {kind} tasks require; choose one that has it"
    return Failure("ModuleNotFoundError", text)


def settle(run: Callable[[Any], object], kind: str, remedy: str) -> NoReturn:
    """Run a task that has no user code, from its rendered spec to its end."""

    def produce() -> object:
        try:
            return run(received_task())
        except ModuleNotFoundError as error:
            raise package_missing(error, kind) from None

    Report(remedy).end(produce)


def say(text: str) -> None:
    """Write a line to the task's log."""
    try:
        print("nexus:", text, file=sys.stderr)
    except Exception:  # user code may have closed or replaced it
        pass


def flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except Exception:  # closed, replaced, or without a reader
            pass


def leave(code: int) -> NoReturn:
    flush()
    os._exit(code)
