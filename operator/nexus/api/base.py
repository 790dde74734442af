"""What all API models share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP = "nexus.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Model(BaseModel):
    """A frozen object of the API: camelCase outside, snake_case inside, unknown fields refused.

    Modules of models do without `from __future__ import annotations`: each annotation would be a string that pydantic
    compiles at every start.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        defer_build=True,  # a model is built at its first use, since a process uses a few of those that it loads
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe each field by the string below it in the source."""
        from nexus.api import docstrings

        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, description in docstrings.of_fields(cls).items():
            properties[cls.model_fields[name].alias or name]["description"] = description
        return schema

    def to_json(self) -> dict[str, Any]:
        """Return the object as the API server stores it: aliases, JSON types, no absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def format_time(value: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds, the precision that status times have."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_time(value: object) -> datetime:
    """Return a status or metadata time (an RFC 3339 string, seconds or finer) as an aware datetime.

    Raises ValueError for text without an offset: a time without a zone is not a time.
    """
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f'invalid time "{str(value)[:40]}"; write it as 2026-11-22T02:30:00Z') from None
    if parsed.tzinfo is None:
        example = f"{parsed.isoformat()}Z, or with an offset as +02:00"
        raise ValueError(f'time "{str(value)[:40]}" has no offset; write it as {example}')
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f'time "{str(value)[:40]}" is out of range; years in UTC are 1 to 9999') from None


Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
