"""The setting that names the output store of all workflows, in the form that a Workflow has it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from nexus.api.store import OutputStore
from nexus.app.setting import Reader
from nexus.core.validate.artifacts import store_problem

_EXAMPLE = {"url": "s3://bucket/prefix", "credentialsSecret": "NAME"}
_TAKES = f"an outputStore as JSON: {json.dumps(_EXAMPLE)}"


def store() -> Reader:
    """Return a reader of a store with a url."""

    def read(text: str) -> OutputStore:
        try:
            found = OutputStore.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{step}: " for step in first["loc"])
            raise ValueError(f"{where}{first['msg']}: expected {_TAKES}") from None
        if found.url is None:
            raise ValueError(f"it has no url: expected {_TAKES}")
        wrong = store_problem(found)
        if wrong is not None:
            raise ValueError(wrong[1])
        return found

    return Reader(_TAKES, read, _schema())


def _schema() -> dict[str, Any]:
    """Return the schema of a store with a url, or of no store: an object without fields."""
    fields = OutputStore.model_json_schema()["properties"]
    return {
        "type": "object",
        "additionalProperties": False,
        # The type of each allows null, which a manifest does not have.
        "properties": {name: field["anyOf"][0] for name, field in fields.items()},
        "dependencies": {name: ["url"] for name in fields if name != "url"},
        "examples": [_EXAMPLE],
    }
