"""What a local run and the runs below it share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nexus.adapters.local.fork_server import ForkServer
from nexus.adapters.local.pools import LocalPools
from nexus.adapters.local.questions import Ask
from nexus.api.run import Approval, TaskStatus
from nexus.core.expressions.templates import Evaluator
from nexus.core.model.definition import Definition


@dataclass
class Family:
    """What a run and the runs below it share."""

    evaluator: Evaluator
    store: Path
    """The folder that is their output store."""
    workflows: Mapping[str, Definition] = field(default_factory=dict)
    """The Workflows that child runs may execute, by name."""
    fork_server: ForkServer | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    """The outputs that statuses refer to, by the name of the ConfigMap that a cluster would have."""
    pools: LocalPools = field(default_factory=LocalPools)
    ask: Ask | None = None
    """Puts the question of an approval task, if there is a terminal to answer it on."""
    answers: Mapping[str, Approval] = field(default_factory=dict)
    """What was said beforehand to approval tasks of child runs, by their paths."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def answered(self, above: str) -> tuple[Approval, ...]:
        """Return what was said to the tasks of the run that the task `above`, a path, makes."""
        found = (path.rpartition("/") for path in self.answers)
        return tuple(self.answers["".join(parts)] for parts in found if parts[0] == above)

    async def put(self, task: TaskStatus) -> Approval:
        """Put a question, once the ones before it were answered."""
        assert self.ask is not None
        async with self._asking:
            return await self.ask(task)
