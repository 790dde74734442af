"""The pools of a file: sizes that a ConfigMap nexus-pools in it gives, and tasks that name pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nexus.api.codes import Code
from nexus.api.manifest import Document
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.problem import Problem
from nexus.core.pools.size import CONFIG_MAP, size_of


@dataclass(frozen=True)
class PoolSizes:
    """A ConfigMap nexus-pools of the file; `namespace` is None where it goes wherever the file does."""

    document: Document
    namespace: str | None
    data: Mapping[str, str]

    def problems(self) -> Iterator[Problem]:
        """Yield its sizes that are none; paths start at the document."""
        for pool in self.data:
            size = size_of(self.data, pool, CONFIG_MAP, "")
            if isinstance(size, str):
                yield Problem(("data", pool), Code.INVALID_POOL, size)


def of_namespace(found: Sequence[PoolSizes], namespace: str) -> Mapping[str, str] | None:
    """Return the sizes for the runs of a namespace: no namespace sees another's. None where the file does not have
    them."""
    own = [sizes.data for sizes in found if sizes.namespace == namespace]
    anywhere = [sizes.data for sizes in found if sizes.namespace is None]
    return next(reversed([*anywhere, *own]), None)


def unknown(spec: WorkflowSpec, sizes: Mapping[str, str] | None) -> Iterator[Problem]:
    """Yield pools of a definition that the namespace does not have, as far as the file knows it."""
    for place, task in spec.every_task():
        if sizes is not None and task.pool is not None and task.pool not in sizes:
            yield Problem(
                (*place, "pool"), Code.INVALID_POOL, str(size_of(sizes, task.pool, CONFIG_MAP, "")), task.name
            )
