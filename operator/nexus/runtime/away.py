"""Away from the event loop: work that may evaluate expressions, in a thread, when its namespace has its turn.

Long work is not an error, and delays its own namespace alone: a turn lasts 0.1 s, then the others that wait are served,
and the work continues where it was when its namespace is next. A worker of the queue does not wait for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from nexus.api.reasons import Reason
from nexus.core.expressions.templates import EvaluationLost
from nexus.core.model.refusal import Code, Refusal
from nexus.runtime.ports import Refused
from nexus.runtime.share import at_hand

Result = TypeVar("Result")

# Not asyncio's own pool of cpu + 4: work that waits for its turn keeps its thread, and the next one must not wait for
# that. How much of it there is the queue bounds, for each namespace.
_threads = ThreadPoolExecutor(max_workers=1_000, thread_name_prefix="away")


async def away(function: Callable[[], Result], overtaken: Callable[[], bool] = lambda: False) -> Result:
    """Return the result of a function that may evaluate. Raises Overtaken, Refused where the evaluator fails, and what
    the function raises."""
    try:
        return await _away(function, overtaken)
    except EvaluationLost as lost:
        refusal = Refusal(
            Reason.EVALUATOR_FAILED, f"{lost}; retried", final=False, code=Code.UNAVAILABLE, write="", resource=""
        )
        raise Refused(refusal) from lost


async def _away(function: Callable[[], Result], overtaken: Callable[[], bool]) -> Result:
    share, cancelled = at_hand(), threading.Event()
    if share is None:
        return await asyncio.to_thread(function)

    def in_turn() -> Result:
        with share.turns.turn(share.namespace, lambda: cancelled.is_set() or overtaken()):
            return function()

    async with share.aside():
        try:
            return await asyncio.get_running_loop().run_in_executor(_threads, copy_context().run, in_turn)
        finally:
            cancelled.set()
