"""Pod render: the `${{ }}` of a task's `pod`. Only values that choose nothing of security's are rendered: labels,
annotations, node labels, quantities. Which account, images, volumes and paths a task gets is its author's word alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nexus.api.pod import Pod, Resources
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import ExpressionError
from nexus.core.manifest.problem import Path
from nexus.core.pods.quantity import amount

MAPS = {"labels": "labels", "annotations": "annotations", "node_selector": "nodeSelector"}


def templated(pod: Pod) -> Iterator[tuple[Path, str]]:
    """Yield (path below the pod, text) of the fields that are rendered."""
    for attribute, field in MAPS.items():
        for key, text in (getattr(pod, attribute) or {}).items():
            yield (field, key), text
    for field in ("requests", "limits"):
        for name, quantity in (getattr(pod.resources, field, None) or {}).items():
            if isinstance(quantity, str):
                yield ("resources", field, name), quantity


def literal(pod: Pod) -> Iterator[tuple[Path, str]]:
    """Yield (path below the pod, text) of every other text."""
    rendered = {path for path, _ in templated(pod)}
    yield from ((path, text) for path, text in _texts((), pod.to_json()) if path not in rendered)


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts((*path, position), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts((*path, key), item)


def rendered(pod: Pod, renderer: Renderer) -> Pod:
    """Return the pod with its expressions' values in it. Raises ExpressionError and TemplateError."""
    if not any("${{" in text for _, text in templated(pod)):
        return pod
    update: dict[str, Any] = {}
    for attribute, field in MAPS.items():
        values = getattr(pod, attribute)
        if values:
            update[attribute] = {
                key: renderer.text(text, f"pod.{field}[{key}]") if "${{" in text else text
                for key, text in values.items()
            }
    if pod.resources is not None:
        update["resources"] = Resources(
            **{field: _quantities(pod.resources, field, renderer) for field in ("requests", "limits")}
        )
    return pod.model_copy(update=update)


def _quantities(resources: Resources, field: str, renderer: Renderer) -> dict[str, int | str] | None:
    given: dict[str, int | str] | None = getattr(resources, field)
    if given is None:
        return None
    return {
        name: _quantity(quantity, f"pod.resources.{field}[{name}]", renderer) if isinstance(quantity, str) else quantity
        for name, quantity in given.items()
    }


def _quantity(text: str, where: str, renderer: Renderer) -> str:
    value = renderer.text(text, where)
    if "${{" in text and amount(value) is None:
        # The API server cannot even read a Job with a field like this, and its answer names none.
        raise ExpressionError(f"{where}: must be a quantity such as 500m, 2 or 64Mi, got {value[:80]!r}", None)
    return value
