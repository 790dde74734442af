"""Writes the operator's settings into a chart: `settings` in values.yaml and in values.schema.json."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

from nexus.app.settings import FIELDS

SET_BY_TEMPLATES = {"namespaces", "task_images", "lease", "lease_namespace", "http_port"}
"""What templates/deployment.yaml says by itself."""


def chosen() -> list[tuple[str, Field[Any]]]:
    """Return the settings that are values, with their names there, which the template turns back into variables."""
    found = []
    for field in FIELDS.values():
        if field.name not in SET_BY_TEMPLATES:
            first, *others = field.name.split("_")
            found.append((first + "".join(word.capitalize() for word in others), field))
    return found


def default(field: Field[Any]) -> Any:
    """Return a setting's default as a value: an empty object or text where it has none."""
    nothing: Any = {} if _schema(field).get("type") == "object" else ""
    value = nothing if field.default is None else field.default
    return sorted(value) if isinstance(value, (frozenset, tuple)) else value


def _schema(field: Field[Any]) -> dict[str, Any]:
    return dict(field.metadata["reader"].schema)


def _about(field: Field[Any]) -> str:
    """Return what a setting is, with an example where its schema has one."""
    examples = "".join(f" Such as `{json.dumps(example)}`." for example in _schema(field).get("examples", ()))
    return f"{field.metadata['about']}{examples}"


def values(before: str) -> str:
    """values.yaml with the settings as they are now."""
    lines = []
    for name, field in chosen():
        lines += textwrap.wrap(f"-- {_about(field)}", 130, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  {name}: {json.dumps(default(field))}")
    block = "settings:\n" + "\n".join(lines) + "\n"
    return re.sub(r"^settings:\n(?:  .*\n)*", lambda _: block, before, flags=re.MULTILINE)


def schema(before: str) -> str:
    """values.schema.json with the settings as they are now."""
    body = json.loads(before)
    entries = {}
    for name, field in chosen():
        entry = _schema(field)
        entries[name] = {"anyOf": [entry, {"const": ""}]} if field.default is None and default(field) == "" else entry
    body["properties"]["settings"] = {"type": "object", "additionalProperties": False, "properties": entries}
    return json.dumps(body, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file differs")
    parser.add_argument("chart", type=Path, help="the chart's folder")
    options = parser.parse_args(arguments)
    stale = False
    for name, make in (("values.yaml", values), ("values.schema.json", schema)):
        path = options.chart / name
        before = path.read_text(encoding="utf-8")
        wanted = make(before)
        if options.check and before != wanted:
            sys.stderr.write(f"{path} does not have the operator's settings: run `make crds`\n")
            stale = True
        elif not options.check:
            path.write_text(wanted, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
