"""A status that another version of the operator wrote: what this one does not know is left out, not refused.

After a rollback the operator meets runs whose status has fields and reasons that came after it. Refusing them would
fail runs that are under way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nexus.api.reasons import Reason

Status = TypeVar("Status", bound=BaseModel)


def known_part(status: dict[str, Any], model: type[Status]) -> Status:
    """Return a status as its model, without fields and reasons that the model does not know. Raises ValidationError
    where the rest does not fit either."""
    try:
        return model.model_validate(status)
    except ValidationError as error:
        unknown = [tuple(entry["loc"]) for entry in error.errors(include_url=False) if _is_unknown(entry)]
    return model.model_validate(_without(copy.deepcopy(status), unknown))


def _is_unknown(error: Any) -> bool:
    reason = error["type"] == "enum" and error["loc"][-1] == "reason"
    return bool(error["type"] == "extra_forbidden" or reason)


def _without(status: Any, paths: Iterable[tuple[int | str, ...]]) -> Any:
    for path in paths:
        parent = status
        for step in path[:-1]:
            parent = parent[step]
        if path[-1] == "reason" and "failures" in path:
            parent["reason"] = Reason.TASK_ERROR.value  # each failed item has a reason
        else:
            del parent[path[-1]]
    return status
