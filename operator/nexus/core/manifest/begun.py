"""Begun: reading the spec of a run that is under way, which another version of the operator may have let begin.

It was valid when the run began. A field of a later version is left out, and a limit that this version draws narrower
does not count: refusing either would end a run for an upgrade.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator

from nexus.core.manifest.schema_errors import read

Spec = TypeVar("Spec", bound=BaseModel)

_LIMITS = ("pattern", "min_length", "max_length", "ge", "gt", "le", "lt", "multiple_of")
# What is not a schema, though it may look like one.
_VALUES = ("default", "metadata", "members", "expected", "cls", "function")


def read_begun(body: Any, model: type[Spec]) -> Spec:
    """Return a spec as its model, without what this version does not know or would limit. Raises ValueError where it
    lacks a field, or has a value of another type or an unknown word: nothing sound can be made of that."""
    try:
        return model.model_validate(body)
    except ValidationError:
        pass
    try:
        found = _lenient(model).validate_python(body)
    except ValidationError:
        return read(body, model)  # which says what does not fit
    assert isinstance(found, model)
    return found


@cache
def _lenient(model: type[BaseModel]) -> SchemaValidator:
    # False: of each class within it the validator is built anew, and not the class's own strict one taken.
    return SchemaValidator(_without_limits(model.__pydantic_core_schema__), None, False)


def _without_limits(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_without_limits, schema))
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: value if key in _VALUES else _without_limits(value)
        for key, value in schema.items()
        if key not in _LIMITS or isinstance(value, dict)
    }
    if schema.get("type") == "model":
        kept["config"] = {**schema.get("config", {}), "extra_fields_behavior": "ignore"}
    return kept
