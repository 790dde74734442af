"""Whatever scans the text of a user takes time that grows with the text, not with its square.

Time is the CPU's of this thread, the least of several tries, for a text and for one of four times its length: what is
linear takes four times as long, what is quadratic sixteen. To hold a new scanner against all shapes, add it to
SCANNERS; a new shape, for all scanners, to SHAPES; what is a search among many names, to BODIES.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from nexus.adapters.cel import messages, regex
from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.kube.client.bounded_json import NotJson, TooDeep, decode
from nexus.api.manifest import ManifestError, read
from nexus.api.tasks import Http, NameValue
from nexus.api.workflow import Param
from nexus.bootstrap.redaction import parts_of, redacted
from nexus.cli.manifests import load
from nexus.core.data import outputs
from nexus.core.data.params import unknown
from nexus.core.expressions import kubelet_variables, tokens
from nexus.core.expressions.functions import wrong_format
from nexus.core.expressions.references import explain_hyphen
from nexus.core.expressions.templates import Expression, Reference, Template, TemplateError, parse
from nexus.core.expressions.urls import rendered
from nexus.core.manifest import suggestions
from nexus.core.pods.quantity import amount
from nexus.core.schedule import cron
from nexus.core.task_types import sql_text
from nexus.core.task_types.delimiters import fixed_delimiters
from nexus.core.task_types.http_checks import hosts
from nexus.core.text.plain import coloured, json_text, one_line, plain
from nexus.core.text.similar_names import LONGEST, closest
from nexus.core.validate.foreign import foreign
from nexus.core.validate.numbers import mixed

LENGTH = 2_000
TIMES = 4
MOST = 8
"""How many times as long the longer text may take: between 4 (linear, or n log n) and 16."""
FLOOR = 0.001
"""Seconds below which a first time is noise. What takes 8 ms for the longer text is no search in its square."""

SHAPES = [
    # What opens and is never closed, what escapes, what may be of any length, alone and with something between.
    *(mark + between for mark in ("'", '"', "`", "[", "(", "{", "/*", "--", "$$", "//", "#") for between in " a"),
    "\x1b[", "\x1b]", "\x1b[1", "\udc80", "%41", "a=", "a<<b\n", "[a-", "a{9}", "<>",
    "'", '"', "`", "[", "(", "{", "/*", "--", "$$", "//", "#",
    '"""', "'''", "r'''", 'R"""', "''' ", "E'", "q'[", "$a$ ", "$a1$ $b2$ ", "x$a$", "\\", "\\'", "\\:", "*/", "/*/",
    ":", ":a", ":a:", "::", "a:b", ": ", "a", "A", "_", "é", "1", "1.", "1e", "0x", "-", "a-", "a.", ".", ",", ";", "=",
    "${{", "${{ ", "${{ a }}", "${{ a.b", "${{ '", "${{ tasks.a-b.c }}", "}}", "{{params.a", "{{ inputs.parameters.a",
    "${params.a", "$(params.a", "{{  ", "tasks.a-", "tasks.a-b ", " ", "\t", "\n", "\r\n", "\n\n ", "- ", "- - ",
    "? ", "k: ",
    "&a ", "*a ", "!a ", "|\n", "{a: ", "[[", "<<: ", "%", "@every 1", "*/1,", "1-", "<Code>", "not ", "(a) ",
]  # fmt: skip


def _tokens(text: str) -> None:
    tokens.tokens_of(text)


def _template(text: str) -> None:
    with suppress(TemplateError):
        parse(f"${{{{ 1 }}}}{text}")


def _cron(text: str) -> None:
    for expression in (text, f"{text} * * * *", f"@every {text}"):
        with suppress(cron.CronInvalid):
            cron.parse.__wrapped__(expression)


def _yaml(text: str) -> None:
    with suppress(ManifestError):
        read(f"a: {text}", "f.yaml")


def _cel_messages(text: str) -> None:
    messages.compile_error(f"ERROR: <input>:1:9: Syntax error: '{text}' expecting {text}\n | {text}", text, {})
    messages.run_error(f"No matching overloads found : ({text}).{text}({text}) [NOT_FOUND]", text)


def _http(text: str) -> None:
    for url in (text, f"http://{text}", f"http://h/{text}", f"a{text}://"):
        http = Http.model_construct(
            url=url, headers=[NameValue.model_construct(name="a", value=text)], result=text, json_=text
        )
        list(hosts(http, [url, text]))
    list(numbers_in(f"params.x {text}"))


def numbers_in(source: str) -> Iterator[tuple[str, int]]:
    """Arithmetic in a source that is no expression of a template: longer than those may be."""
    return mixed(Expression(source, 0, (Reference("params", "x", None, 0),)), {"params.x"})


def _url(text: str) -> None:
    with suppress(ValueError, TemplateError):
        rendered(Template((f"http://h/{text}", Expression("x", 0, ()), text)), [text])


def _json(text: str) -> None:
    with suppress(ValueError, NotJson, TooDeep):
        decode(text.encode())


SCANNERS: dict[str, Callable[[str], object]] = {
    "dollars": lambda text: list(kubelet_variables.dollars(text)),
    **{f"sql_{name}": lambda text, name=name: list(sql_text.pieces(text, name)) for name in sql_text.DIALECTS},  # type: ignore[misc]
    "cel_tokens": _tokens,
    "format": wrong_format,
    "cel_messages": _cel_messages,
    "template": _template,
    "foreign": foreign,
    "hyphen": lambda text: explain_hyphen(text, {"a"}),
    "cron": _cron,
    "quantity": amount,
    "number": lambda text: suggestions.of_number("timeoutSeconds", text),
    "text_forms": lambda text: [suggestions.of_text(field, text) for field in ("url", "from", "name")],
    "object_forms": lambda text: suggestions.of_object("bash", text),
    "day": suggestions.of_day,
    "yaml": _yaml,
    "likeness": lambda text: closest(text, [text[:index] for index in range(0, 100, 3)]),
    "redaction": lambda text: redacted(text, {"s3cr3t'ä", "a", "word"}),
    "redaction_parts": lambda text: parts_of(f"https://u:p@h/{text}"),
    "outputs_of_lines": outputs.of_lines,
    "outputs_of_bootstrap": outputs.of_bootstrap,
    "outputs_of_container": lambda text: outputs.of_container(text.encode(errors="replace").decode()),
    "outputs_error": outputs.error_of,
    "outputs_frame": lambda text: outputs.find_frame(
        f"NEXUS-OUTPUT {text}\n{text}".encode(errors="replace"), 9, "0" * 64
    ),
    "delimiters": lambda text: list(fixed_delimiters(text)),
    "plain": lambda text: (plain(text), one_line(text), coloured(text), json_text(text)),
    "url": _url,
    "http": _http,
    "json": _json,
    "regex": lambda text: regex.cost(100, text),
}


def seconds(work: Callable[[], object], tries: int) -> float:
    """The least CPU time of this thread."""
    found = []
    gc.disable()  # it comes with what there is, not with what is measured
    try:
        for _ in range(tries):
            begun = time.thread_time()
            work()
            found.append(time.thread_time() - begun)
    finally:
        gc.enable()
    return min(found)


def assert_grows_linearly(short: Callable[[], object], long: Callable[[], object], what: str) -> None:
    found = []
    for tries in (1, 3, 5):  # a machine that is busy makes neither faster: what is quadratic fails each time
        found = [max(seconds(short, tries), FLOOR), seconds(long, tries)]
        if found[1] <= MOST * found[0]:
            return
    raise AssertionError(f"{what}: {found[0] * 1000:.1f} ms, {TIMES} times as much {found[1] * 1000:.1f} ms")


@pytest.mark.parametrize("scanner", list(SCANNERS))
def test_a_scan_of_text_is_linear(scanner: str) -> None:
    scan = SCANNERS[scanner]
    for shape in SHAPES:
        short = shape * (LENGTH // len(shape))
        for text in (short, f"a{short}", f"'{short}"):
            long = text + short * (TIMES - 1)
            assert_grows_linearly(lambda: scan(text), lambda: scan(long), f"{scanner} of {shape!r}")  # noqa: B023


# Definitions: searches among names, and lists that are looked through

TASK = {"name": "t", "container": {"image": "x"}}


def _tasks(count: int, **fields: Any) -> dict[str, Any]:
    return {"tasks": [{**TASK, "name": f"task-{index}", **fields} for index in range(count)]}


def _env(text: str) -> dict[str, Any]:
    return {"env": [{"name": "A", "value": text}]}


BODIES: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {
    "unknown fields of a task": (750, lambda n: {"tasks": [{**TASK, **{f"key{i}": 1 for i in range(n)}}]}),
    "unknown fields of the spec": (750, lambda n: {"tasks": [TASK], **{f"key{i}": 1 for i in range(n)}}),
    "unknown dependencies": (100, lambda n: _tasks(n, dependsOn=[f"tesk-{i}" for i in range(50)])),
    "unknown params": (1_000, lambda n: _tasks(50, **_env("".join(f"${{{{ params.a{i} }}}}" for i in range(n // 50))))),
    "unknown tasks": (
        1_000,
        lambda n: _tasks(50, **_env("".join(f"${{{{ tasks.t{i}.output }}}}" for i in range(n // 50)))),
    ),
    "unknown roots": (1_000, lambda n: _tasks(50, **_env("".join(f"${{{{ a{i} }}}}" for i in range(n // 50))))),
    "hyphens": (125, lambda n: _tasks(n, **_env(f"${{{{ tasks.{'a-' * 450}b }}}}" * 4))),
    "fields of items": (
        500,
        lambda n: _tasks(1, forEach={"items": [{f"k{i}": 1 for i in range(n)}]}, **_env("${{ item.x }}" * n)),
    ),
    "values of enums": (
        500,
        lambda n: {
            "params": [{"name": "a", "enum": [f"value-{i}" for i in range(100)]}],
            **_tasks(1, **_env("${{ params.a == 'valeu-9' }}" * n)),
        },
    ),
    "dependencies twice": (100, lambda n: _tasks(n, dependsOn=["task-0"] * 50)),
    "wrong labels": (750, lambda n: {"tasks": [TASK], "labels": {f"k{i}": i for i in range(n)}}),
    "environment": (50, lambda n: _tasks(50, env=[{"name": f"A{i % 7}", "value": "x"} for i in range(n)])),
    "placeholders": (
        1_000,
        lambda n: {
            "tasks": [
                {"name": "t", "sql": {"connection": "sqlite://", "query": "".join(f":a{i} " for i in range(n))}},
            ]
        },
    ),
}


@pytest.mark.parametrize("body", list(BODIES))
def test_a_check_of_a_definition_is_linear(cel: CelEvaluator, body: str) -> None:
    size, make = BODIES[body]

    def text(count: int) -> str:
        head = {"apiVersion": "nexus.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}
        return json.dumps({**head, "spec": make(count)}, indent=1)

    short, long = text(size), text(TIMES * size)
    load(short, "f", cel)  # what is compiled once
    assert_grows_linearly(lambda: load(short, "f", cel), lambda: load(long, "f", cel), body)


def test_a_file_of_many_small_objects_is_linear(cel: CelEvaluator) -> None:
    def text(count: int) -> str:
        head = "apiVersion: nexus.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w"
        return "---\n".join(
            f"{head}{i}}}\nspec: {{tasks: [{{name: t, wait: {{seconds: 1}}}}]}}\n" for i in range(count)
        )

    short, long = text(40), text(40 * TIMES)
    assert_grows_linearly(lambda: load(short, "f", cel), lambda: load(long, "f", cel), "Workflows")


# Likeness


def test_the_name_that_was_meant_is_found_among_many() -> None:
    names = [f"load-region-{index:03}" for index in range(500)]
    assert closest("laod-region-417", names) == ["load-region-417"]
    assert closest("load-region-417x", names) == ["load-region-417"]
    assert closest("something", names) == []
    assert closest("x" * (LONGEST + 1), ["x" * (LONGEST + 1)]) == []


def test_a_list_of_names_is_cut() -> None:
    params = [Param.model_validate({"name": f"p{index}"}) for index in range(25)]
    assert unknown("zzz", params).endswith(", p19 and 5 more")
    assert unknown("zzz", []) == 'unknown param "zzz"; the workflow has no params'


def test_problems_without_end_are_cut(cel: CelEvaluator) -> None:
    body = {"tasks": [TASK], **{f"key{index}": 1 for index in range(600)}}
    head = {"apiVersion": "nexus.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}
    found = load(json.dumps({**head, "spec": body}), "f", cel).problems
    assert len(found) == 501
    assert found[0].message == "more than 500 problems, the others are not listed; fix these first"
