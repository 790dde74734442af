"""What a new leader looks at first: what happened since the old one fell silent, then what else is under way.

It cannot know which of a thousand runs the old one had dealt with, and looks at all of them. That takes seconds, for
which those few would wait that something has just become due in.
"""

from __future__ import annotations

from collections.abc import Mapping

from nexus.adapters.kube.cache.records import RunRecord
from nexus.runtime.ports import RunKey

NEWS_SECONDS = 60.0
"""Longer than a leader is silent before another one takes over, by the default and twice that, backlog and all."""


class News:
    """Runs that the watches reported while another replica was active."""

    def __init__(self) -> None:
        self._told: dict[RunKey, float] = {}

    def note(self, key: RunKey, now: float) -> None:
        """Note that something happened to a run; `now` in monotonic seconds."""
        self._told.pop(key, None)
        self._told[key] = now
        while self._told[oldest := next(iter(self._told))] < now - NEWS_SECONDS:
            del self._told[oldest]

    def first(self, runs: Mapping[RunKey, RunRecord], now: float) -> list[RunKey]:
        """Return all runs, in the order to look at them, and forget the news."""
        news = {key: at for key, at in self._told.items() if key in runs and at >= now - NEWS_SECONDS}
        self._told.clear()
        others = [key for key in runs if key not in news]
        return [*news, *sorted(others, key=lambda key: runs[key].ended)]
