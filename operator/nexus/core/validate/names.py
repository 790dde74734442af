"""Names in expressions that are not there: why not, and what is written instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nexus.core.expressions.references import ROOTS
from nexus.core.expressions.templates import task_identifier, unknown_name
from nexus.core.text.similar_names import closest, did_you_mean
from nexus.core.validate.dependencies import no_task

# What other engines call it.
_ROOTS = {
    **dict.fromkeys(["args", "inputs", "param", "parameters"], "params"),
    **dict.fromkeys(["jobs", "needs", "steps", "task"], "tasks"),
    **dict.fromkeys(["context", "workflow"], "run"),
    "items": "item",
}
_NEVER = {
    "env": "an expression sees no environment variables: where a field is expanded in the pod, write $(NAME)",
    "input": "input is what the code of a task sees: an expression reads tasks.NAME.output",
    "output": "output is what the code of a task fills: an expression reads tasks.NAME.output",
    "secrets": "an expression sees no Secret: give it in env with valueFrom.secretKeyRef, and write $(NAME) for it",
}


def why_unknown(name: str, variables: Mapping[str, str], task: str | None, names: Collection[str]) -> str:
    """Return why a variable is not among those that are known; `task` is whose field it is in, `names` are those of all
    tasks.

    A task that exists but is not an ancestor is the usual mistake: a dependsOn is missing.
    """
    root, _, rest = name.partition(".")
    if root == "tasks":
        identifier = rest.partition(".")[0]
        other = next((other for other in names if task_identifier(other) == identifier), None)
        if other is None and names:
            return no_task(identifier, names)
        if other is not None and f"tasks.{identifier}.phase" not in variables:
            if other == task:
                return f'unknown reference "{name}": a task cannot read its own output'
            words = f'task "{task}" does not depend on "{other}"; add "{other}" to its dependsOn'
            return f'unknown reference "{name}": {words}'
    if root in ("item", "index"):
        words = "it exists in the fields of a task with forEach only, not in forEach itself and not in when"
        return f'unknown reference "{name}": {words}'
    return unknown_name(name, list(variables)) if root in ROOTS else _no_root(name, variables)


def _no_root(name: str, variables: Collection[str]) -> str:
    """Return why there is nothing of a name that no variable begins with."""
    root, _, rest = name.partition(".")
    if root in _NEVER:
        return f'unknown reference "{name}": {_NEVER[root]}'
    known = sorted(
        {variable.partition(".")[0] for variable in variables} | ({"tasks"} if "params" in variables else set())
    )
    meant = _ROOTS.get(root) or next(iter(closest(root, known)), None)
    if meant is None or meant not in known:
        params = [variable for variable in variables if variable == f"params.{root}"]
        hint = (
            did_you_mean(params[:1]) if params and not rest else f"known names: {', '.join(known) or 'functions only'}"
        )
        return f'unknown reference "{name}"; {hint}'
    field = rest.partition(".")[0]
    return f'unknown reference "{name}"; did you mean "{meant}{f".{field}" if field else ""}"?'
