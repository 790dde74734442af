"""What the CLI prints: every line of it goes through here, and is plain text in the terminal's own encoding."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any

from nexus.core.text.plain import json_text, plain

# For terminals without UTF-8: what the CLI itself writes beyond ASCII. The rest becomes an escape such as \u4e2d.
_INSTEAD = {"→": "->", "–": "-", "…": "...", "·": ".", "▶": ">", "✓": "+", "✗": "x", "○": "o", "⊘": "/"}
_FALLBACK = "nexus.fallback"
# The device, the quota or the file's limit is full.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare() -> None:
    """Have both streams write what they cannot encode in another way: a run must not fail over an arrow."""
    _open_missing()
    codecs.register_error(_FALLBACK, _fallback)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream of another owner's
            stream.reconfigure(errors=_FALLBACK)  # type: ignore[union-attr]


def _open_missing() -> None:
    """Point each standard stream that the caller closed (`<&-`, some supervisors) at nothing. Its number would go to
    the next file or socket that is opened, and what tasks print into that."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            if nothing != number:
                os.close(nothing)
        os.set_inheritable(number, True)
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def unwritten(error: BaseException) -> str | None:
    """Return what to say of an error that kept output from being written; None where it is another."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        return f"the output could not be written: {os.strerror(error.errno or 0).lower()}"
    return None


def _fallback(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_written(error)), error.end


def _written(error: UnicodeEncodeError) -> Iterator[str]:
    for character in error.object[error.start : error.end]:
        escaped = character.encode("ascii", "backslashreplace").decode()
        yield _INSTEAD.get(character, escaped)


class Lasting(io.TextIOBase):
    """A stream whose reader may go: a pager that is closed, a terminal that hangs up.

    From then on what is written goes nowhere, and the run that is shown is cancelled, as by Ctrl-C or the end of the
    terminal: its tasks must not go on unseen.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, as long as the other end reads."""
        self._guarded(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        self._guarded(self._stream.flush)

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            # EIO: a terminal has hung up, and standard error is mostly the same one.
            hung_up = error.errno == errno.EIO
            gone = (1, 2) if hung_up else (self._stream.fileno(),)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for number in gone:
                os.dup2(nowhere, number)
            os.close(nowhere)
            words = unwritten(error)
            if words is not None and 2 not in gone:
                with suppress(OSError):
                    os.write(2, f"{words}; the run is cancelled\n".encode())
            signal.raise_signal(signal.SIGHUP if hung_up else signal.SIGINT)


def say(text: str = "", *, to: IO[str] | None = None, end: str = "\n", flush: bool = False) -> None:
    """Print text, on standard output unless `to` is another stream."""
    print(plain(text), file=to or sys.stdout, end=end, flush=flush)


def say_json(value: Any) -> None:
    """Print a JSON value on standard output, in ASCII where the stream cannot write anything else."""
    text = json_text(value, indent=2)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, indent=2, ascii_only=True)
    print(text)
