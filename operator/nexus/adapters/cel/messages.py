"""cel-cpp's messages, in words for the author of an expression."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nexus.adapters.cel.child import MEMORY_MIB, Death, Died
from nexus.core.expressions.templates import EvaluationLost, ExpressionError, UnknownName
from nexus.core.text.similar_names import closest, did_you_mean

# Unit in which a cost is reported: a step is 100 ns of it.
STEP = 100

# One error of cel-cpp's list: `ERROR: <input>:LINE:COLUMN: text`, both counted from 1, then lines that draw the place.
_PROBLEM = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \||\nERROR: |(?<!\s)\s*\[[A-Z_]+\]$|$)", re.DOTALL)
# Characters of a message that are read: cel-cpp draws each place of many.
_MOST_READ = 8_000
_CODE = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_NO_OVERLOAD = re.compile(r"found no matching overload for '([^']+)' applied to '\((.*)\)'")
_NO_OVERLOAD_AT_RUN = re.compile(
    r"No matching overloads found : (?:\((?P<on>[^)]*)\)\.)?(?P<name>[^(]*)(?:\((?P<of>.*)\))?$"
)

# A comma between two types, not one inside map(string, dyn).
_COMMA_BETWEEN = re.compile(r",(?![^(]*\))")
# What the message may quote of the user's values: it ends in a task's status.
_LONGEST = 400

_TYPE_NAMES = {
    "int64": "int", "uint64": "uint", "null_type": "null", "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}  # fmt: skip

# Words of other languages, and what CEL has in their place.
_INSTEAD = {
    "and": "&&", "or": "||", "not": "!", "True": "true", "False": "false", "None": "null", "nil": "null",
    "if": "condition ? a : b", "else": "condition ? a : b", "len": "size(x)", "str": "string(x)", "float": "double(x)",
    "is": "==", "=": "==", "#": "// for a comment", ";": "one expression alone",
}  # fmt: skip

FUNCTIONS = (
    "all", "bool", "bytes", "charAt", "contains", "date", "double", "duration", "dyn", "endsWith", "exists",
    "exists_one", "filter", "flatten", "format", "get", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has", "indexOf", "int",
    "join", "json", "lastIndexOf", "lowerAscii", "map", "matches", "math.abs", "math.ceil", "math.floor",
    "math.greatest", "math.least", "math.round", "math.trunc", "range", "replace", "reverse", "size", "split",
    "startsWith", "strftime", "string", "substring", "timestamp", "trim", "type", "uint", "upperAscii",
)  # fmt: skip


def compile_error(text: str, source: str, variables: Mapping[str, str]) -> ExpressionError:
    """Return the error for an expression that does not compile: the first of cel-cpp's list, which the others follow
    from."""
    text = text[:_MOST_READ]
    problem = _PROBLEM.search(text)
    if "recursion" in text:
        return ExpressionError("the expression is nested too deeply, or chains more than 32 operators; split it")
    if problem is None:
        return ExpressionError(_plain(text))
    line, column, what = int(problem[1]), int(problem[2]), problem[3].strip()
    offset = _offset(source, line, column)
    undeclared = _UNDECLARED.search(what)
    if undeclared is not None and offset is not None:
        return _undeclared(undeclared[1], source, offset, variables)
    if (no_overload := _NO_OVERLOAD.search(what)) is not None:
        return ExpressionError(_no_overload(no_overload[1], no_overload[2]), offset)
    if (reserved := re.fullmatch(r"reserved identifier: (\w+)", what)) is not None:
        return ExpressionError(_not_cel(reserved[1]), offset)
    if (typed := re.match(r"expression of type '([^']+)' cannot be the operand of a select", what)) is not None:
        return ExpressionError(f"a {_TYPE_NAMES.get(typed[1], typed[1])} has no fields", offset)
    if what.startswith("Syntax error: "):
        return ExpressionError(_syntax(what.removeprefix("Syntax error: "), source, offset), offset)
    return ExpressionError(_plain(what), offset)


def run_error(text: str, source: str) -> ExpressionError:
    """Return the error for an expression that compiled and failed on its values."""
    text = _plain(text[:_MOST_READ])
    if "Iteration budget exceeded" in text:
        return ExpressionError(
            "the expression takes too many steps; nest fewer all(), exists(), filter() and map(), or compute the value "
            "in a python task",
            budget=True,
        )
    if (no_overload := _NO_OVERLOAD_AT_RUN.fullmatch(text)) is not None:
        types = ", ".join(part for part in (no_overload["on"], no_overload["of"]) if part)
        return ExpressionError(_no_overload(no_overload["name"], types))
    if text.startswith("Key not found in map"):
        key = text.partition(":")[2].strip()
        message = f"missing key {key}; get(map, {key}, default) gives a default instead"
        return ExpressionError(message, _at(source, key))
    if "SELECT to non-message" in text:
        return ExpressionError(
            f"a field is read from a value that has none ({_why_none(source)}); "
            'get(value, "field", default) gives a default instead'
        )
    if (index := re.fullmatch(r"Index error: index=(-?\d+) size=(\d+)", text)) is not None:
        return ExpressionError(f"missing element [{index[1]}]; the list has {index[2]}, counted from 0")
    if (value := re.match(r"Unexpected value type for '([^']+)': (\w+)\. \(Expected (\w+)\)", text)) is not None:
        return ExpressionError(f"{value[1]} must be of type {value[3].lower()}, got {value[2]}")
    if text.startswith("Non-CEL value type for 'Python function"):
        return ExpressionError("get() and flatten() do not support a time; convert it with string(...) first")
    if "to Timestamp conversion" in text:
        return ExpressionError("timestamp() requires an RFC 3339 string, such as 2026-11-23T02:30:00Z")
    if "to Duration conversion" in text:
        return ExpressionError("duration() requires a string such as 90s, 1h30m or 1.5h")
    return ExpressionError(text)


def _why_none(source: str) -> str:
    if re.search(r"\bitem\b", source) and "tasks" not in source:
        return "the item is null, or not an object"
    return "the output of a task that did not succeed is null"


_ADVICE = "simplify it, or compute the value in a python task"


def costly() -> ExpressionError:
    """Return the error for an expression that may cost more than one is allowed."""
    from nexus.adapters.cel.cost import LIMIT  # with all that counts a cost, which only the child does

    return ExpressionError(
        f"the expression may take more than {LIMIT // STEP:,} steps with values of this size; {_ADVICE}", budget=True
    )


def overrun(death: Died, seconds: float) -> ExpressionError | EvaluationLost:
    """Return the error for an expression whose evaluation had to be ended."""
    if death.cause is Death.MEMORY:
        return ExpressionError(f"the expression needs more than {MEMORY_MIB} MiB of memory; {_ADVICE}", budget=True)
    what = {
        Death.CPU: f"did not finish within {seconds:g} s of CPU time",
        Death.SILENCE: "did not answer in time",
    }.get(death.cause, f"ended with exit status {death.status}")
    return EvaluationLost(f"the evaluator of expressions {what}")


def _undeclared(name: str, source: str, offset: int, variables: Mapping[str, str]) -> ExpressionError:
    if source[offset : offset + 1] == "(":
        return ExpressionError(_no_function(name), max(0, offset - len(name)))
    # The place of a dotted name is its last dot; what the user looks for is its start.
    start = source.rfind(name, 0, offset + len(name))
    start = offset if start < 0 else start
    if name in _INSTEAD:
        return ExpressionError(_not_cel(name), start)
    return UnknownName(name, tuple(variables), start)


def _not_cel(word: str) -> str:
    if word in _INSTEAD:
        return f'unsupported syntax "{word}"; write {_INSTEAD[word]}'
    return f'reserved word "{word}"; it is allowed after a dot only'


def _no_function(name: str) -> str:
    if name in FUNCTIONS:
        return f'wrong number of arguments for "{name}"; docs/expressions.md has an example'
    close = closest(_INSTEAD.get(name, name).removesuffix("(x)"), FUNCTIONS)
    hint = did_you_mean(close) if close else "docs/expressions.md lists those there are"
    return f'unknown function "{name}"; {hint}'


def _syntax(what: str, source: str, offset: int | None) -> str:
    """Return a complaint of the parser. It says what it met and a list of all that it would have taken, which does not
    help."""
    opening, closing = what.find("'"), what.find("' expecting")
    closing = len(what) - 1 if closing < 0 and what.endswith("'") else closing
    word = what[opening + 1 : closing].strip() if 0 <= opening < closing else ""
    before = source[: offset or 0]
    if before[-1:].isspace() and (last := re.split(r"\W+", before.rstrip())[-1]) in ("not", "if"):
        word = last
    if (missing := re.match(r"missing '(.)' at '(.*)'", what)) is not None:
        return f'missing "{missing[1]}" before ' + ("the end" if missing[2] == "<EOF>" else missing[2])
    if word == "<EOF>":
        return "the expression ends too early"
    if word in _INSTEAD:
        return _not_cel(word)
    if word[:1] in ('"', "'"):
        return f"unclosed string, or an unknown escape, at {word}; write \\\\ for a backslash"
    return f'unexpected "{word}"' if word else what


def _no_overload(operation: str, types: str) -> str:
    """Return why an operator or a function does not take these types, and the usual way out."""
    for long, short in _TYPE_NAMES.items():
        types = types.replace(long, short)
    names = [name.strip() for name in _COMMA_BETWEEN.split(types)] if types else []
    if operation in ("_?_:_", "<jump_condition>"):
        if operation == "_?_:_" and names[0] in ("bool", "dyn"):
            return f"both results of ? : must have one type, got {names[1]} and {names[2]}; wrap both in dyn(...)"
        return "the condition before ? must be a boolean" + (f", got {names[0]}" if names else "")
    symbol = operation.strip("_@").replace("_", "") if not operation[:1].isalpha() else operation
    symbol = "[ ]" if operation == "_[_]" else symbol
    if symbol in ("&&", "||", "!"):
        return (
            f"{symbol} requires booleans" + (f", got {types}" if types else "") + "; compare the value with something"
        )
    taken = " and ".join(names) if names else "values of these types"
    return f"{symbol} does not support {taken}{_conversion(symbol, set(names))}"


def _conversion(symbol: str, types: set[str]) -> str:
    if symbol in ("date", "strftime"):
        return "; convert the string with timestamp(...)" if "timestamp" not in types else ""
    if symbol == "in" and types == {"string"}:
        return "; in is for lists and keys of objects, text.contains(part) for strings"
    if symbol == "contains" and any(name.startswith("list") for name in types):
        return "; contains is for strings, value in list for lists"
    if symbol == "string" and any(name.startswith(("map", "list")) for name in types):
        return "; convert a list or an object with json(...)"
    if symbol[:1].isalpha():
        return ""
    if {"int", "double"} <= types:
        return "; write the number with a point (1.0), or convert with double(...) or int(...)"
    if "timestamp" in types and "string" in types:
        return "; convert the string with timestamp(...)"
    if "string" in types and types & {"int", "double", "uint"}:
        return "; convert with string(...), int(...) or double(...)"
    if types & {"null", "null_type"}:
        return "; one of them is null, as the output of a task that did not succeed"
    return ""


def _plain(text: str) -> str:
    while (shorter := _CODE.sub("", text)) != text:
        text = shorter
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _offset(source: str, line: int, column: int) -> int | None:
    if line < 1 or column < 1:
        return None
    before = sum(len(text) + 1 for text in source.split("\n")[: line - 1])
    return min(before + column - 1, len(source))


def _at(source: str, key: str) -> int | None:
    """Return where a key is written in the expression, as a field or in brackets."""
    place = source.find(key)
    if place < 0 and (field := re.search(rf"\.{re.escape(key.strip(chr(34)))}\b", source)):
        place = field.start() + 1
    return place if place >= 0 else None
