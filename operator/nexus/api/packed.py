"""Packed: an output as its JSON text, for whoever keeps many statuses and reads few of the outputs in them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Packed:
    """The JSON text of an object, equal to the object.

    A tree takes up to 26 times the bytes of its text. What is unpacked is not kept. It is not a Mapping: each access
    would read the whole text again, so whoever needs a value unpacks it, once.
    """

    __slots__ = ("_text",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: bytes) -> None:
        """`text` is the JSON of an object, in UTF-8, not deeper than may be read."""
        self._text = text

    def unpack(self) -> dict[str, Any]:
        """Return the object itself, a new one each time."""
        found: dict[str, Any] = json.loads(self._text)
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self._text == other._text or self.unpack() == other.unpack()
        return self.unpack() == other if isinstance(other, dict) else NotImplemented

    def __repr__(self) -> str:
        return f"Packed({self._text!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        serialization = core_schema.plain_serializer_function_ser_schema(cls.unpack)
        return core_schema.no_info_plain_validator_function(_packed, serialization=serialization)


def _packed(value: Any) -> Packed:
    if not isinstance(value, Packed):
        raise PydanticCustomError("packed_type", "is not packed")
    return value


Output = Annotated[
    Annotated[dict[str, Any], Field(max_length=1_024)] | SkipJsonSchema[Packed], Field(union_mode="left_to_right")
]
"""An output in a status."""


def unpacked(values: dict[str, Any] | Packed | None) -> dict[str, Any]:
    """Return the values of an output, none if there is no output."""
    return values.unpack() if isinstance(values, Packed) else values or {}
