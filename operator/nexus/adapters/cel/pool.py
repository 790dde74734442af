"""The Evaluator in front of the child processes: hands out requests, and replaces a child that was killed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from nexus.adapters.cel import messages
from nexus.adapters.cel.child import Child, Death, Died
from nexus.adapters.cel.seats import Seat, Seats
from nexus.core.expressions.templates import ExpressionError
from nexus.runtime.turns import Overtaken

# Sources of one request: their answer, and with it the time that it may take, stays small.
_BATCH = 50
MAX_REQUEST = 4 * 1024 * 1024
"""Bytes of the values of one expression, as JSON: eight of the largest outputs."""
TURN_SECONDS = 0.1
"""How long a thread computes before those that wait are served."""

# The escape, not a backslash that is itself escaped and the letters after it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class _Turn:
    """What a thread computes with, from one turn to the next."""

    def __init__(self, seats: Seats, namespace: str, seconds: float, overtaken: Callable[[], bool]) -> None:
        self._seats, self._namespace, self._seconds, self._overtaken = seats, namespace, seconds, overtaken
        self._seat: Seat | None = seats.take(namespace)
        self._since = time.monotonic()

    def seat(self) -> Seat:
        """Return the seat, after a wait where this turn is used up. Raises Overtaken; RuntimeError where the end has
        come."""
        if self._seat is None or time.monotonic() - self._since >= self._seconds:
            self.end()
            if self._overtaken():
                raise Overtaken
            self._seat = self._seats.take(self._namespace)
            self._since = time.monotonic()
            if self._overtaken():
                raise Overtaken
        return self._seat

    def end(self) -> None:
        """Give the seat back."""
        if self._seat is not None:
            seat, self._seat = self._seat, None
            self._seats.give(seat, self._namespace, time.monotonic() - self._since)


class CelEvaluator:
    """CEL in `size` child processes, each started when first needed. Any thread may call it; calls beyond `size` wait.

    `seconds` is the CPU time after which a child is given up, `turn_seconds` how long a turn lasts, `nice` what is
    added to the children's niceness. `close()` ends the children; they end with their parent too.
    """

    def __init__(
        self, size: int = 1, seconds: float = 10.0, turn_seconds: float = TURN_SECONDS, *, nice: int = 0
    ) -> None:
        self._seconds = seconds
        self._turn_seconds = turn_seconds
        self._nice = nice
        self._seats = Seats(size)
        self._turns = threading.local()

    @contextmanager
    def turn(self, namespace: str, overtaken: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """See nexus.runtime.turns.Turns."""
        turn = self._turns.now = _Turn(self._seats, namespace, self._turn_seconds, overtaken)
        try:
            yield
        finally:
            self._turns.now = None
            turn.end()

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """See nexus.core.expressions.templates.Evaluator."""
        answer = self._ask({"source": source, "variables": dict(variables)}, source, variables)
        return str(answer["type"])

    def evaluate(
        self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], *, zone: str = "UTC"
    ) -> Any:
        """See nexus.core.expressions.templates.Evaluator."""
        request = {"source": source, "variables": dict(variables), "values": dict(values), "zone": zone}
        return self._ask(request, source, variables)["value"]

    def check_all(self, sources: Sequence[str], variables: Mapping[str, str]) -> list[str | ExpressionError]:
        """See nexus.core.expressions.templates.Evaluator."""
        found: list[str | ExpressionError] = []
        for start in range(0, len(sources), _BATCH):
            batch = sources[start : start + _BATCH]
            try:
                answers = self._ask({"sources": batch, "variables": dict(variables)}, "", variables)["answers"]
            except ExpressionError:
                # One of them went over its bounds, and took the others with it.
                found += [self._checked(source, variables) for source in batch]
                continue
            for source, answer in zip(batch, answers, strict=True):
                refused = answer.get("refused")
                found.append(answer["type"] if refused is None else messages.compile_error(refused, source, variables))
        return found

    def _checked(self, source: str, variables: Mapping[str, str]) -> str | ExpressionError:
        try:
            return self.check(source, variables)
        except ExpressionError as error:
            return error

    def warm_up(self) -> None:
        """Start a child, and do not wait for it: it gets ready while the caller goes on."""
        with self._seat() as seat:
            seat.child = seat.child or self._new_child()

    def close(self) -> None:
        """End the children after the calls under way; calls that come later raise RuntimeError."""
        for child in self._seats.close():
            child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], source: str, variables: Mapping[str, str]) -> dict[str, Any]:
        """Return the child's answer to a request. Raises ExpressionError."""
        try:
            line = json.dumps(request, default=_time_text).encode() + b"\n"
        except (RecursionError, ValueError) as error:
            raise ExpressionError(f"its values are too deep or too large: {error}") from None
        if len(line) > MAX_REQUEST:
            raise ExpressionError(
                f"its values have {len(line):,} bytes of JSON, at most {MAX_REQUEST:,} are allowed; compute the value "
                "in a python task",
                budget=True,
            )
        if b"\\u0000" in line and _NUL.search(line):
            # cel-expr-python 0.1.3 would read the string only up to there.
            raise ExpressionError("the character U+0000 is in its values, where CEL cannot read on: take it out first")
        with self._seat() as seat:
            child, seat.child = seat.child, None
            try:
                seat.child, answer = self._answered(child, line)
            except Died as death:
                raise messages.overrun(death, self._seconds) from None
        if "refused" in answer:
            raise messages.compile_error(answer["refused"], source, variables)
        if "failed" in answer:
            raise messages.run_error(answer["failed"], source)
        if "costly" in answer:
            raise messages.costly()
        if "large" in answer:
            raise ExpressionError(
                f"the result has {answer['large']:,} bytes of JSON, at most 1 MiB is allowed: make it smaller, or "
                "compute it in a python task",
                budget=True,
            )
        return answer

    @contextmanager
    def _seat(self) -> Iterator[Seat]:
        """Lend the seat of this thread's turn, or one for this call alone."""
        turn: _Turn | None = getattr(self._turns, "now", None)
        if turn is not None:
            yield turn.seat()
            return
        seat, began = self._seats.take(), time.monotonic()
        try:
            yield seat
        finally:
            self._seats.give(seat, "", time.monotonic() - began)

    def _answered(self, child: Child | None, line: bytes) -> tuple[Child, dict[str, Any]]:
        """Return an answer and the child that gave it. Raises Died."""
        if child is not None and child.alive:
            try:
                return child, child.ask(line)
            except Died as death:
                # What earlier expressions left in its heap, or whoever killed it, is not this expression's fault.
                if death.cause is Death.CPU:
                    raise
        elif child is not None:
            child.end()
        fresh = self._new_child()
        return fresh, fresh.ask(line)

    def _new_child(self) -> Child:
        return Child(self._seconds, self._nice)


def _time_text(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{value!r} is not a JSON value")
