"""The child process: answers one line of JSON with one line of JSON, within its limits of CPU time and memory.

What an expression may cost is counted before it is evaluated (nexus.adapters.cel.cost). A C++ evaluation cannot be
interrupted from Python, so what else there is to stop it ends the process: RLIMIT_AS bounds the memory, and where an
evaluation has no end for an unforeseen reason, the profiling timer's SIGPROF comes after a CPU time that is
many times what the costliest one takes. The parent sees from the signal which of them it was, and starts another child.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from nexus.adapters.cel.cost import TooCostly, check, is_plain
from nexus.adapters.cel.programs import Programs, Refused
from nexus.adapters.cel.tree import Node, read

# Bytes of a result, as JSON. Task outputs end at 512 KiB; what is larger cannot be put anywhere.
MAX_ANSWER = 1024 * 1024
_MAX_INT = 2**63
_TREES = 256
# Bytes of a request that no plain expression can be too costly for.
_SMALL = 16 * 1024


def main() -> None:
    """Serve until the parent closes its end. Arguments: CPU seconds of a request, MiB of memory beyond the start's,
    and how much less urgent it is than its parent."""
    seconds, mebibytes, nice = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.nice(nice)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    programs = Programs()
    trees = Trees(programs)
    programs.evaluate("get({'a': 1}, 'a', 0)", {}, {}, "UTC")
    _limit(mebibytes * 1024 * 1024)
    with open(0, "rb", closefd=False) as requests, open(1, "wb", closefd=False) as answers:
        _send(answers, _text({"ready": True}))
        while line := requests.readline():
            signal.setitimer(signal.ITIMER_PROF, seconds)
            try:
                answer = _answer(programs, trees, line, seconds)
            except MemoryError:
                # Whatever is half built here is of no use to a next request.
                os._exit(os.EX_UNAVAILABLE)
            except RecursionError:
                answer = _text({"failed": "the values are nested too deeply"})
            signal.setitimer(signal.ITIMER_PROF, 0)
            _send(answers, answer)


class Trees:
    """The syntax trees of expressions, those used last kept."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._read = lru_cache(maxsize=_TREES)(self._new)

    def of(self, source: str, variables: dict[str, str]) -> tuple[Node, bool]:
        """Return the tree of an expression, and whether it is plain (see `cost.is_plain`). Raises Refused."""
        return self._read(source, tuple(variables.items()))

    def _new(self, source: str, variables: tuple[tuple[str, str], ...]) -> tuple[Node, bool]:
        tree = read(self._programs.serialized(source, dict(variables)))
        return tree, is_plain(tree)


def _answer(programs: Programs, trees: Trees, line: bytes, seconds: float) -> str:
    request: dict[str, Any] = _decoded(line)
    variables = request["variables"]
    if "sources" in request:
        return _text({"answers": [_checked(programs, source, variables, seconds) for source in request["sources"]]})
    source = request["source"]
    if "values" not in request:
        return _text(_checked(programs, source, variables, seconds))
    try:
        tree, plain = trees.of(source, variables)
        if not (plain and len(line) <= _SMALL):
            check(tree, request["values"])
        value = programs.evaluate(source, variables, request["values"], request["zone"])
    except TooCostly:
        return _text({"costly": True})
    except Refused as error:
        return _text({"failed" if error.compiled else "refused": error.text})
    text = _text(value)
    size = len(text.encode())
    return _text({"large": size}) if size > MAX_ANSWER else f'{{"value":{text}}}'


def _checked(programs: Programs, source: str, variables: dict[str, str], seconds: float) -> dict[str, str]:
    """Return the type of a source, or why it does not compile; each may take the whole time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return {"type": programs.check(source, variables)}
    except Refused as error:
        return {"refused": error.text}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _send(answers: BinaryIO, answer: str) -> None:
    answers.write(answer.encode(errors="backslashreplace") + b"\n")
    answers.flush()


def _decoded(line: bytes) -> Any:
    return json.loads(line, parse_float=_number, parse_int=_whole)


def _number(text: str) -> int | float:
    """Read 3.0 as an integer: `output.n + 1` works whoever wrote the JSON."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < _MAX_INT else number


def _whole(text: str) -> int | float:
    number = int(text)
    return number if -_MAX_INT <= number < _MAX_INT else float(number)


def _limit(memory: int) -> None:
    """Bounds the address space to what it is now and `memory` bytes more; no core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    statm = Path("/proc/self/statm")
    # macOS has neither the file nor a limit that it keeps: there the bounds are the CPU time and the library's own.
    with suppress(OSError, ValueError):
        pages = int(statm.read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
