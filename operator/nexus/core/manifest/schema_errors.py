"""Shape: what in a manifest does not fit the models, in words for its author."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from nexus.api.codes import Code
from nexus.core.manifest import suggestions
from nexus.core.manifest.problem import MOST_PROBLEMS, Path, Problem, first
from nexus.core.manifest.suggestions import described
from nexus.core.text.json_text import dump
from nexus.core.text.similar_names import closest, did_you_mean

_MOST_NAMES = 12
MOST_ERRORS = 10 * MOST_PROBLEMS
"""Errors of pydantic's that are looked at: a union has some for each of its branches."""

Fitting = TypeVar("Fitting", bound=BaseModel)


class DoesNotFit(ValueError):
    """An object does not fit its model. The words name the first three problems."""

    def __init__(self, problems: Sequence[Problem], otherwise: str) -> None:
        super().__init__("; ".join(str(problem) for problem in problems[:3]) or otherwise)
        self.problems = tuple(problems) or (Problem((), Code.INVALID_VALUE, otherwise),)

    @classmethod
    def of(cls, error: ValidationError, body: Any, model: type[BaseModel]) -> DoesNotFit:
        """Return pydantic's error about `body` read as `model` in words of ours."""
        return cls(misfits(error.errors(include_url=False), body, model), str(error))


def read(body: Any, model: type[Fitting]) -> Fitting:
    """Return an object of the API server as its model. Raises DoesNotFit: some fields are free in the CRD's schema, and
    strict here."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise DoesNotFit.of(error, body, model) from error


def misfits(errors: Iterable[Any], body: Any, model: type[BaseModel]) -> list[Problem]:
    """Return the problems for pydantic's errors about `body` read as `model`, one for each place; their paths start at
    `body`."""
    found: dict[Path, Any] = {}
    for error in islice(errors, MOST_ERRORS):
        path = _real_path(error, body)
        # Each branch of a union complains; the one that got further knows more than the one of another type.
        if path not in found or _knowledge(error) > _knowledge(found[path]):
            found[path] = error
    deeper = {path[:length] for path in found for length in range(len(path))}
    return first(
        _problem(path, error, body, model)
        for path, error in found.items()
        if path not in deeper or _knowledge(error) == 2
    )


def _problem(path: Path, error: Any, body: Any, model: type[BaseModel]) -> Problem:
    code, message = _message(path, error, model, _beside(path, body))
    task, subject = _owner(path, body)
    # What is missing has no place of its own.
    place = path[:-1] if error["type"] == "missing" else path
    return Problem(place, code, message, task, subject=subject, boolean=_boolean(error))


def _boolean(error: Any) -> bool | None:
    """Return the boolean that was given for a string."""
    given = error.get("input")
    return given if error["type"] == "string_type" and isinstance(given, bool) else None


def _beside(path: Path, body: Any) -> Collection[str]:
    """Return the keys of the object that a field belongs to."""
    for step in path[:-1]:
        body = body[step] if _has(body, step) else None
    return body.keys() if isinstance(body, dict) else ()


def _knowledge(error: Any) -> int:
    """Return how much an error says: least that a value is of another type, more that it is another text than a fixed
    one."""
    if str(error["type"]).endswith(("_type", "_parsing")):
        return 0
    return 1 if error["type"] == "literal_error" else 2


def _real_path(error: Any, body: Any) -> Path:
    """Pydantic puts the names of union branches into `loc`; the manifest knows no such steps."""
    loc = tuple(error["loc"])
    path: list[str | int] = []
    value = body
    for position, step in enumerate(loc):
        if _has(value, step):
            value = value[step]
        elif position < len(loc) - 1 or error["type"] != "missing":
            continue
        path.append(step)
    return tuple(path)


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


_NAMED = {"schedules": "schedule", "params": "param"}


def _owner(path: Path, body: Any) -> tuple[str | None, str | None]:
    """Return the named thing that a field belongs to, as a Problem's task and subject."""
    if len(path) < 2 or path[0] not in ("tasks", "finally", *_NAMED) or not isinstance(path[1], int):
        return None, None
    named = body[path[0]][path[1]]
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str):
        return None, None
    kind = _NAMED.get(str(path[0]))
    return (None, f"{kind} {name}") if kind else (name, None)


def _message(
    path: Path, error: Mapping[str, Any], model: type[BaseModel], beside: Collection[str] = ()
) -> tuple[Code, str]:
    kind, given, limits = str(error["type"]), error.get("input"), error.get("ctx") or {}
    shown, field = dump(given)[:80], _field(path)
    if kind == "extra_forbidden":
        return Code.UNKNOWN_FIELD, _no_field(path, given, model, beside)
    if kind == "missing":
        return Code.MISSING_FIELD, f'missing required field "{path[-1]}"'
    if kind in ("enum", "literal_error"):
        return Code.UNSUPPORTED_VALUE, _not_among(
            path, given, re.findall(r"'([^']*)'", str(limits.get("expected", "")))
        )
    if kind == "string_pattern_mismatch":
        return _mismatch_code(path, given), _no_match(path, given, shown, str(limits.get("pattern")))
    if kind == "string_type" and field in _EXPRESSIONS and isinstance(given, bool | int | float):
        return Code.NOT_AN_EXPRESSION, f"must be an expression, got {described(given)}; write it as ${{{{ {shown} }}}}"
    if kind == "string_type":
        return Code.WRONG_TYPE, suggestions.of_string(given)
    if kind in _TYPES:
        return Code.WRONG_TYPE, f"must be {_TYPES[kind]}, got {described(given)}" + _form(field, _TYPES[kind], given)
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits['le']}"
        return Code.OUT_OF_RANGE, f"must be {bound}, got {shown}"
    if kind == "string_too_long" and field == "country":
        return Code.INVALID_VALUE, f"invalid country {shown}; {suggestions.of_country(str(given))}"
    if kind in ("too_long", "string_too_long"):
        what = "characters" if kind == "string_too_long" else "entries"
        return Code.WRONG_LENGTH, f"must have at most {limits['max_length']:,} {what}, got {len(given or ()):,}"
    if kind in ("too_short", "string_too_short"):
        return Code.WRONG_LENGTH, "must have at least one entry" if kind == "too_short" else "must not be empty"
    # A validator of ours raised `error`; pydantic's own words are of what is not named above.
    return Code.INVALID_VALUE, str(limits.get("error", error["msg"]))


_EXPRESSIONS = ("when", "result")
_TYPES = {
    "int_type": "an integer", "int_parsing": "an integer", "int_from_float": "an integer", "float_type": "a number",
    "float_parsing": "a number", "bool_type": "a boolean", "bool_parsing": "a boolean", "list_type": "a list",
    "dict_type": "an object", "model_type": "an object", "model_attributes_type": "an object",
}  # fmt: skip


def _field(path: Path) -> str:
    """Return the name of the field at a path, or of the list that the entry at it is of."""
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _form(field: str, kind: str, given: Any) -> str:
    """Return how it is written instead, where that is clear."""
    match kind:
        case "an object":
            return suggestions.of_object(field, given)
        case "a list":
            return suggestions.of_list(field, given)
        case "a boolean":
            return suggestions.of_boolean(given)
    return suggestions.of_number(field, given)


def _mismatch_code(path: Path, given: Any) -> Code:
    """Return the code for a string that its field's pattern refuses."""
    if "${{" in str(given):
        return Code.EXPRESSION_NOT_ALLOWED
    return Code.INVALID_NAME if _field(path) == "name" else Code.INVALID_VALUE


def _no_match(path: Path, given: Any, shown: str, pattern: str) -> str:
    if pattern.startswith(r"^\$\{\{"):  # a number, or one whole expression for it
        form = suggestions.of_number(_field(path), given)
        return f"must be an integer, or one whole ${{{{ }}}} that gives one, got {described(given)}{form}"
    if "${{" in str(given):
        return f"${{{{ }}}} is not supported here, got {shown}; write the value itself"
    if _field(path) == "call":
        return f"invalid function {shown}; write it as package.module:function"
    if _field(path) == "dates":
        return f"invalid date {shown}; {suggestions.of_day(str(given))}"
    if path[-1] == "country":
        return f"invalid country {shown}; {suggestions.of_country(str(given))}"
    form = suggestions.of_text(_field(path), str(given))
    if form:
        return f"invalid value {shown}; {form}"
    characters = next((words for part, words in _CHARACTERS.items() if part in pattern), None)
    if characters is None:
        return f"invalid value {shown}; must match {pattern}"
    fitting = _fitting(str(given), pattern)
    return f"invalid value {shown}; use {characters} ({pattern})" + (f", as {fitting}" if fitting else "")


# What names are made of, by the part of a pattern that says it.
_CHARACTERS = {
    "[1-5]xx|network": "a status code, a class of them such as 5xx, or network",
    "[1-5]xx$": "a status code, or a class of them such as 2xx",
    "^[^ ,=!": "expected one line without commas, = and !, and without a space at either end",
    "^[^ ": "expected one line without a space at either end",
    "[a-z0-9_]": "lower-case letters, digits and _",
    "[-a-z0-9.]": "lower-case letters, digits, - and .",
    "[-a-z0-9]": "lower-case letters, digits and -",
    "^[-._a-zA-Z][": "letters, digits, -, _ and ., no digit first",
    "[-._a-zA-Z0-9]": "letters, digits, -, _ and .",
    "[-A-Za-z0-9_.]": "letters, digits, -, _ and .",
}


def _fitting(given: str, pattern: str) -> str:
    """Return the name that was meant, in the characters that are allowed; empty where there is none."""
    if "A-Z" in pattern:
        names = [re.sub(r"[^-._A-Za-z0-9]+", "_", given).strip("_")]
    else:
        allowed = r"[a-z0-9.]+" if "0-9." in pattern else r"[a-z0-9]+"
        words = re.findall(allowed, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", given).lower())
        names = ["-".join(words), "_".join(words)]
    return next((name for name in names if re.fullmatch(pattern, name)), "")


def _not_among(path: Path, given: Any, allowed: list[str]) -> str:
    if path[-1] == "connection":
        return "must be sqlite://, or {secretKeyRef: {name, key}}; every other database URL comes from a Secret"
    alike = {_plain(value): value for value in allowed}
    close = closest(_plain(given), alike) if isinstance(given, str) else []
    close = [alike[word] for word in close]
    hint = did_you_mean(close) if close else f"must be one of {', '.join(allowed)}"
    return f"unsupported value {dump(given)[:80]}; {hint}"


def _no_field(path: Path, given: Any, model: type[BaseModel], written: Collection[str]) -> str:
    """Return why there is no such field; `written` are the fields beside it."""
    name, known = str(path[-1]), fields_at(model, path[:-1])
    if name == "securityContext":
        return f'unknown field "{name}"; {suggestions.of_security_context(given)}'
    by_plain = {_plain(other): other for other in known}
    close = closest(_plain(name), list(by_plain))
    if close and _plain(name) == close[0]:
        return f'unknown field "{name}"; {did_you_mean([by_plain[close[0]]])}'
    meant = _SYNONYMS.get(_plain(name))
    if meant is not None and meant.partition(".")[0] in known:
        return f'unknown field "{name}"; {did_you_mean([meant])}'
    elsewhere = _elsewhere(path, name, model, written)
    if elsewhere is not None:
        return f'unknown field "{name}"; it belongs to {elsewhere}'
    if close:
        return f'unknown field "{name}"; {did_you_mean([by_plain[close[0]]])}'
    if not known:
        return f'unknown field "{name}"'
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f'unknown field "{name}"; expected one of {", ".join(known[:_MOST_NAMES])}{more}'


def _elsewhere(path: Path, name: str, model: type[BaseModel], written: Collection[str]) -> str | None:
    """Return where a field is at home that was written one level too high or too low."""
    for length in range(len(path) - 2, -1, -1):
        if isinstance(path[length], str) and name in fields_at(model, path[:length]):
            return _place(path[:length])
    for within in fields_at(model, path[:-1]):
        # Only a part that tells one task type from another could be meant by many names: pod is the one that holds
        # what Kubernetes' users look for at the task.
        if (within in _HOLDERS or within in written) and name in fields_at(model, (*path[:-1], within)):
            return f"{within}, write {within}: {{{name}: ...}}"
    return None


# What other engines call a field, without capitals and hyphens.
_SYNONYMS = {
    **dict.fromkeys(["needs", "dependencies", "depends", "after", "runafter", "upstream", "requires"], "dependsOn"),
    **dict.fromkeys(["script", "shell", "run", "sh", "command", "cmd"], "bash.command"),
    **dict.fromkeys(["if", "condition", "runif"], "when"),
    **dict.fromkeys(["withitems", "withparam", "loop", "items", "matrix", "strategy"], "forEach"),
    **dict.fromkeys(["parameters", "inputs", "arguments", "args"], "params"),
    **dict.fromkeys(["steps", "jobs", "dag", "templates"], "tasks"),
    **dict.fromkeys(["onexit", "exithandler", "teardown"], "finally"),
    **dict.fromkeys(["retrystrategy", "backofflimit", "attempts", "maxretries"], "retry.limit"),
    **dict.fromkeys(["timeout", "activedeadlineseconds"], "timeoutSeconds"),
    **dict.fromkeys(["cron", "schedule", "on"], "schedules"),
    **dict.fromkeys(["continueonerror", "continueon", "ignorefailure", "ignorefailed"], "allowFailure"),
    **dict.fromkeys(["secretname", "secret"], "envFrom"),
    **dict.fromkeys(["parallelism", "maxparallel", "concurrencylimit"], "maxParallelTasks"),
    **dict.fromkeys(["timezone", "tz"], "timeZone"),
    **dict.fromkeys(["successfuljobshistorylimit", "failedjobshistorylimit", "historylimit"], "history"),
}
_HOLDERS = ("pod", "retry", "forEach", "concurrency", "history", "exclude", "defaults")


def _place(path: Path) -> str:
    if not path:
        return "spec"
    if len(path) == 2 and path[0] in ("tasks", "finally"):
        return "the task"
    return str(_field(path))


def _plain(name: str) -> str:
    """depends_on, depends-on and DependsOn are all meant as dependsOn."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def fields_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """Return the names that an object at `path` below a model may have, as manifests write them."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = [inner for annotation in annotations for inner in _below(annotation, step)]
    names: list[str] = []
    for annotation in annotations:
        for candidate in _branches(annotation):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                names += [field.alias or name for name, field in candidate.model_fields.items()]
    return names


def _below(annotation: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for candidate in _branches(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            fields = candidate.model_fields.items()
            found += [field.annotation for name, field in fields if (field.alias or name) == step]
        elif get_origin(candidate) is list and isinstance(step, int):
            found += get_args(candidate)
        elif get_origin(candidate) is dict:
            found.append(get_args(candidate)[1])
    return found


def _branches(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows: unions taken apart, constraints taken off."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for part in get_args(annotation) for branch in _branches(part)]
    return [annotation]
