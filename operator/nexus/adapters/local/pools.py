"""Pools on this machine: shared by a run and its child runs, for there are no others here. Sizes come from the
ConfigMap nexus-pools of the file; a pool without one has no bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nexus.api.workflow import WorkflowSpec
from nexus.core.model.facts import SlotAsked, SlotGrant
from nexus.core.pools.queue import Entry, PoolQueue, settle
from nexus.core.pools.size import CONFIG_MAP, size_of


@dataclass
class LocalPools:
    """Who holds and who waits. `sizes` is by pool."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    _lines: dict[str, PoolQueue] = field(default_factory=dict)
    _changed: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Callbacks that have the run looked at that waits for a slot, by Job."""

    def ask(self, run: str, slot: SlotAsked, changed: Callable[[], None]) -> SlotGrant:
        """Return the place of a Job; `changed` is called when that may be another one."""
        if slot.pool not in self.sizes:
            return SlotGrant(granted=True)
        self._changed[slot.job_name] = changed
        self._settle(slot.pool, asks=[Entry(run, run, slot.task, slot.job_name, "")])
        line = self._lines[slot.pool]
        holders = tuple(entry.whose for entry in line.holders[:3])
        granted = line.holder(slot.job_name) is not None
        return SlotGrant(granted, self.sizes[slot.pool], len(line.holders), holders, line.place(slot.job_name))

    def leave(self, jobs: Iterable[str]) -> None:
        """Jobs that have ended, or that will not be made."""
        over = frozenset(jobs)
        for pool, line in self._lines.items():
            if any(entry.job in over for entry in (*line.holders, *line.waiting)):
                self._settle(pool, over=over)

    def _settle(self, pool: str, *, over: frozenset[str] = frozenset(), asks: Iterable[Entry] = ()) -> None:
        before = self._lines.get(pool, PoolQueue())
        after = settle(before, self.sizes[pool], over=over, asks=asks, by="local", now="")
        self._lines[pool] = after
        for entry in (*after.holders, *after.waiting):
            if before.place(entry.job) != after.place(entry.job) and before.place(entry.job):
                self._changed[entry.job]()


def read_sizes(config_maps: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return the sizes that a file gives."""
    data = config_maps.get(CONFIG_MAP, {})
    sizes = {pool: size_of(data, pool, CONFIG_MAP, "") for pool in data}
    return {pool: size for pool, size in sizes.items() if isinstance(size, int)}


def unbounded(specs: Iterable[WorkflowSpec], sizes: Mapping[str, int]) -> list[str]:
    """Return the pools of these definitions that the file has no size for."""
    named = (task.pool for spec in specs for _, task in spec.every_task())
    return sorted({pool for pool in named if pool is not None and pool not in sizes})
