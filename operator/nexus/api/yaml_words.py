"""The words of YAML's parser, for who wrote the file: where it went wrong, and what to do.

libyaml tells where it could read no further. Often that is not where the mistake is: a quote that is never closed
goes on to the end of the file.
"""

from __future__ import annotations

import re

import yaml

EXPRESSION = "; quote an expression within [ ] and { }, and one that contains ': ' or ' #'"


def syntax(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str]:
    """Return the line and column, from 1, and message for what the parser refuses."""
    lines = text.splitlines()
    mark = error.problem_mark or error.context_mark
    line, column = _place(mark)
    if line <= len(lines) and re.match(" *\t", lines[line - 1]):
        return line, column, "YAML cannot be indented with tabs; use spaces"
    problem = error.problem or "this is not YAML"
    opened = _place(error.context_mark or mark)
    if problem == "found unexpected end of stream":
        return *opened, "unclosed quote"
    if problem == "could not find expected ':'":
        line, column = opened
    written = lines[line - 1] if line <= len(lines) else ""
    message = _words(problem, written, column, opened) or problem + (f" ({error.context})" if error.context else "")
    around = lines[max(0, line - 2) : line]
    return line, column, message + (EXPRESSION if any("${{" in entry for entry in around) else "")


def _words(problem: str, written: str, column: int, opened: tuple[int, int]) -> str | None:
    """Return what it means; `written` is the line, `opened` where began what could not be read."""
    match problem:
        case "mapping values are not allowed in this context":
            if ": " in written[: column - 1]:
                return "a string that contains ': ' must be quoted"
            return "inconsistent indentation: the line above already has its value; indent both alike"
        case "found character that cannot start any token":
            return f"a string that begins with {written[column - 1 : column]} must be quoted"
        case "did not find expected key" | "did not find expected '-' indicator":
            return f"inconsistent indentation with line {opened[0]}; indent both alike, and check the quotes above"
        case "could not find expected ':'":
            return "missing ':' after this key; write text of several lines after key: |"
        case "did not find expected node content":
            return "missing value, or missing ] or } of what is opened above"
        case "did not find expected ',' or '}'" | "did not find expected ',' or ']'":
            place = f"line {opened[0]}, column {opened[1]}"
            return f"missing ] or }} of what is opened on {place}, or a string in it must be quoted"
        case "found unknown escape character":
            return r"unknown escape \; write \\, or use single quotes"
        case "block sequence entries are not allowed in this context":
            return "a list must begin on the line below its key"
    return None


def _place(mark: yaml.Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
