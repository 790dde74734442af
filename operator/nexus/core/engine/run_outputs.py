"""Run outputs: the result of a run that has succeeded, as its definition's `outputs` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus.api.reasons import Reason
from nexus.api.run import Trigger
from nexus.core.data import scope
from nexus.core.data.limits import INLINE_LIMIT, OUTPUT_LIMIT
from nexus.core.expressions.templates import ExpressionError, TemplateError
from nexus.core.model.plan import StoreOutput
from nexus.core.model.refusal import Refusal
from nexus.core.names import outputs_name
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import reference


class NotStored(Exception):
    """The ConfigMap of the outputs is refused: the run does not end before it is made."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class NoOutputs(Exception):
    """The outputs cannot be had, and so the run has failed."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


def outputs(draft: PlanDraft) -> dict[str, Any]:
    """Return the fields of the status that hold the run's outputs; a store is noted on the draft where they are large.

    Raises NoOutputs, NotStored, and Unread where a task's output has to be read first.
    """
    value = _rendered(draft)
    text = dump(value)
    size = len(text.encode())
    if size > OUTPUT_LIMIT:
        raise NoOutputs(
            Reason.OUTPUT_TOO_LARGE,
            f"outputs: {size:,} bytes of JSON exceed the limit of {OUTPUT_LIMIT:,}; return less",
        )
    if size <= INLINE_LIMIT and not draft.facts.tight:
        return {"outputs": value or None}
    name = draft.free_name(outputs_name(draft.facts.run.name, draft.facts.run.uid), text)
    if name in draft.facts.refusals:
        raise NotStored(draft.facts.refusals[name])
    draft.stores.append(StoreOutput("", name, text))
    return {"outputs_ref": reference(name, text)}


def _rendered(draft: PlanDraft) -> Mapping[str, Any]:
    texts = draft.definition.spec.outputs
    if not texts:
        return _of_tasks(draft) if draft.facts.run.trigger is Trigger.WORKFLOW else {}
    renderer = draft.renderer_over(draft.tasks, scope.output_variables(draft.definition), "Succeeded")
    try:
        return {name: renderer.field(text, f"outputs.{name}") for name, text in texts.items()}
    except (ExpressionError, TemplateError) as error:
        raise NoOutputs(Reason.EXPRESSION_ERROR, str(error)) from error


def _of_tasks(draft: PlanDraft) -> Mapping[str, Any]:
    """Return the outputs of a child run whose definition declares none: every task's output, null where it did not
    succeed."""
    kept = [reference for status in draft.tasks.values() for reference in (status.output_ref, status.stored_output)]
    size = sum(reference.size for reference in kept if reference is not None)
    if size > OUTPUT_LIMIT:
        # Before any of them is read: they may be hundreds of times the limit.
        raise NoOutputs(
            Reason.OUTPUT_TOO_LARGE,
            f"the outputs of its tasks exceed the limit ({size:,} bytes of JSON together, limit {OUTPUT_LIMIT:,}); "
            "list the ones you need in the Workflow's outputs",
        )
    value: dict[str, Any] = {}
    unread = False
    for name in draft.tasks:
        try:
            value[name] = draft.output(name)
        except Unread:
            unread = True  # the others are asked for as well, to be read at once
        except ExpressionError as error:
            raise NoOutputs(Reason.OUTPUT_LOST, str(error)) from error
    if unread:
        raise Unread
    return value
