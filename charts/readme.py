"""Writes the table of values in a chart's README.md, from the comments that begin with `# --` in its values.yaml."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

MARK = "<!-- made by `make crds` from values.yaml -->\n"
"""What follows it in README.md is the table."""


def rows(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and description of each value that has a description, in the file's order.

    Raises ValueError for one that has none, neither itself nor through those in it.
    """
    yield from _rows(yaml.compose(text, yaml.SafeLoader), text.splitlines(), "")


def _rows(mapping: yaml.Node | None, lines: list[str], path: str) -> Iterator[tuple[str, str, str, str]]:
    assert isinstance(mapping, yaml.MappingNode)
    for key, value in mapping.value:
        name = f"{path}{key.value}"
        described = _comment(lines, key.start_mark.line)
        if described:
            default = yaml.safe_load(yaml.serialize(value))
            yield name, _type(default), json.dumps(default, ensure_ascii=False), described
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _rows(value, lines, f"{name}.")
        else:
            raise ValueError(f"line {key.start_mark.line + 1}: {name} has no comment `# -- ...` above it")


def _comment(lines: list[str], line: int) -> str:
    """Return the lines of a comment right above a line, from the one that begins with `# --`; empty without one."""
    above: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        above.insert(0, text.removeprefix("#").strip())
        if above[0].startswith("-- "):
            return " ".join(above).removeprefix("-- ")
        line -= 1
    return ""


def _type(value: object) -> str:
    names = {bool: "boolean", int: "integer", str: "string", list: "list", dict: "object"}
    return names[type(value)]


def table(text: str) -> str:
    """Return the table of the values, as Markdown."""
    head = "| value | type | default | |\n| --- | --- | --- | --- |\n"
    cells = (f"| `{name}` | {kind} | `{default}` | {said} |" for name, kind, default, said in rows(text))
    return head + "\n".join(cells) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, or check it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it differs")
    parser.add_argument("chart", type=Path, help="the chart's folder")
    options = parser.parse_args(arguments)
    readme = options.chart / "README.md"
    before = readme.read_text(encoding="utf-8")
    wanted = before.partition(MARK)[0] + MARK + "\n" + table((options.chart / "values.yaml").read_text("utf-8"))
    if options.check:
        if before != wanted:
            sys.stderr.write(f"{readme} differs from values.yaml: run `make crds`\n")
        return int(before != wanted)
    readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
