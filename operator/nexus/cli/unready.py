"""What the operator found wrong with a Workflow, from its status: for the commands that meet it."""

from __future__ import annotations

from collections.abc import Iterator

from nexus.adapters.kube.cache.workflows import known_status
from nexus.adapters.kube.client.api import Object
from nexus.api.workflow import WorkflowStatus
from nexus.core.text.plain import one_line


def refusal(body: Object) -> list[str] | None:
    """Return why a Workflow cannot run, a line for each problem; None where it is Ready, or was not looked at since it
    was changed."""
    status = body.get("status") or {}
    for condition in status.get("conditions") or ():
        current = condition.get("observedGeneration") == body["metadata"].get("generation")
        if condition["type"] == "Ready" and condition["status"] == "False" and current:
            head = f"Workflow {body['metadata']['name']} cannot run"
            found = list(_lines(known_status(status) or WorkflowStatus()))
            # An operator before `problems` said all in the condition.
            words = one_line(str(condition.get("message") or ""))
            return [f"{head}; fix these problems:", *found] if found else [f"{head}: {words}"]
    return None


def _lines(status: WorkflowStatus) -> Iterator[str]:
    for problem in status.problems or ():
        where = ", ".join(filter(None, (f"task {problem.task}" if problem.task else None, problem.field)))
        yield one_line(f"{where + ': ' if where else ''}{problem.message} ({problem.code})")
    if status.problems_omitted:
        yield f"and {status.problems_omitted} more"
