"""Log lines: what a task wrote, without the framed output that its bootstrap added."""

from __future__ import annotations

from nexus.core.data.outputs import FRAME_PREFIX

_FRAME = FRAME_PREFIX.encode()
# A line that never ends is passed on in pieces; a frame, always shorter than this, stays whole.
LONGEST = 4 * 1024 * 1024


# How much of the end of a log is read for a few lines of it; a frame, at most a third longer than its text, may follow.
TAIL_READ = 2 * 1024 * 1024
TAIL_LIMIT = 1_024


def tail(log: bytes, count: int) -> str:
    """Return the last lines of a log without the framed output, at most 1 KiB of them, without NUL characters."""
    lines = LogLines()
    text = "\n".join([*lines.feed(log), *lines.end()][-count:]).replace("\0", "")
    return text.encode(errors="replace")[-TAIL_LIMIT:].decode(errors="ignore")


class LogLines:
    """Takes a log in chunks and gives its lines.

    The frame comes with an empty line before it, in case the task's own last line was not ended; so an empty line is
    held back until it is known what follows.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._empty = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that are complete with this chunk."""
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST:
            complete.append(self._rest)
            self._rest = b""
        return [line for raw in complete for line in self._line(raw)]

    def end(self) -> list[str]:
        """Return what is left when the log has ended."""
        rest, self._rest = self._rest, b""
        return self._line(rest) if rest else []

    def _line(self, raw: bytes) -> list[str]:
        if not raw.strip(b"\r"):
            self._empty += 1
            return []
        held, self._empty = self._empty, 0
        if raw.startswith(_FRAME):
            return [""] * (held - 1)
        return [*[""] * held, raw.decode(errors="replace").rstrip("\r")]
