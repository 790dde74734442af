"""How late the event loop runs what is due: the metric `event_loop_lag_seconds`.

Whatever keeps the loop from its turn, a long step of its own or a thread that holds the interpreter, delays every run
and, beyond the Lease, ends the leader. 20 beats a second cost 0.3 % of a core at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nexus.runtime.stats import Stats

BEAT = 0.05
"""Seconds between two beats: a stall of 100 ms shows as at least half of it."""


async def beat(late: Callable[[float], None]) -> None:
    """Call `late` with the seconds by which each beat came late, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT
        await asyncio.sleep(BEAT)
        late(max(0.0, loop.time() - due))


async def measure(stats: Stats) -> None:
    """Count the lag, for ever."""
    await beat(lambda seconds: stats.observe("event_loop_lag_seconds", seconds))
