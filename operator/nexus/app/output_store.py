"""The setting that names the output store of all workflows, in the form that a Workflow has it."""

from __future__ import annotations

from pydantic import ValidationError

from nexus.api.store import OutputStore
from nexus.app.setting import Reader
from nexus.core.validate.artifacts import store_problem

_TAKES = 'an outputStore as JSON: {"url": "s3://bucket/prefix", "credentialsSecret": "NAME"}'


def store() -> Reader:
    """A store with a url."""

    def read(text: str) -> OutputStore:
        try:
            found = OutputStore.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{step}: " for step in first["loc"])
            raise ValueError(f"{where}{first['msg']}: it takes {_TAKES}") from None
        if found.url is None:
            raise ValueError(f"it has no url: it takes {_TAKES}")
        wrong = store_problem(found)
        if wrong is not None:
            raise ValueError(wrong)
        return found

    return Reader(_TAKES, read, {"type": "string"})
