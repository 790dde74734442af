"""`$` before an expression: no value completes a reference that its author left open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import spec, task

from nexus.adapters.local.expansion import expand
from nexus.core.expressions.kubelet_variables import closed, first_open
from nexus.core.expressions.templates import Evaluator, parse
from nexus.core.validate import problems

SECRET = {"TOKEN": "s3cr3t"}
texts = st.text(alphabet="$()TOKEN{ ", max_size=12)


@pytest.mark.parametrize(
    ("literal", "place", "text"),
    [
        ("", None, ""),
        ("no dollar", None, "no dollar"),
        ("$(TOKEN) $$ $x ${x}", None, "$(TOKEN) $$ $x ${x}"),
        ("it costs $", 9, "it costs $$"),
        ("$$", None, "$$"),
        ("$$$", 2, "$$$$"),
        ("$(", 0, "$$("),
        ("$(TO", 0, "$$(TO"),
        ("$$(TO", None, "$$(TO"),
        ("$(TOKEN)$(A$(B$", 8, "$(TOKEN)$$(A$$(B$$"),
        ("$(A$$(B$x", 0, "$$(A$$(B$x"),
    ],
)
def test_a_dollar_that_a_value_could_complete_is_found_and_doubled(literal: str, place: int | None, text: str) -> None:
    assert (first_open(literal), closed(literal)) == (place, text)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4), texts)
def test_whatever_a_value_is_it_comes_out_as_it_was(pairs: list[tuple[str, str]], last: str) -> None:
    source = "".join(f"{literal.replace('${{', '')}${{{{ x }}}}" for literal, _ in pairs) + last.replace("${{", "")
    template = parse(source)
    values = [value for _, value in pairs]
    rendered = template.render(values, double_dollars=True)
    remaining = iter(values)
    # What the author wrote is expanded by itself, an open `$` being text; a value is never looked into.
    wanted = [
        next(remaining) if not isinstance(part, str) else expand(closed(part), SECRET) for part in template.parts[:-1]
    ]
    end = template.parts[-1]
    wanted.append(expand(end, SECRET) if isinstance(end, str) else next(remaining))
    assert expand(rendered, SECRET) == "".join(wanted)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": [{"name": "A", "value": "$${{ params.x }}"}], "bash": {"command": "true"}},
        {"env": [{"name": "A", "value": "$(T${{ params.x }})"}], "bash": {"command": "true"}},
        {"container": {"image": "i", "command": ["a", "$${{ params.x }}"]}},
        {"container": {"image": "i", "args": ["$$$${{ params.x }}"]}},
        {"http": {"url": "http://h/$${{ params.x }}"}},
        {"http": {"url": "http://h/", "headers": [{"name": "A", "value": "$${{ params.x }}"}]}},
        {"http": {"url": "http://h/", "query": [{"name": "A", "value": "$${{ params.x }}"}]}},
        {"http": {"url": "http://h/", "json": {"a": ["$(${{ params.x }}"]}}},
        {"http": {"url": "http://h/", "body": "${{ params.x }}$${{ params.x }}"}},
    ],
    ids=str,
)
def test_an_open_dollar_is_a_problem_wherever_references_are_resolved(
    cel: Evaluator, fields: dict[str, object]
) -> None:
    (problem,) = problems(spec(task("t", **fields), params=[{"name": "x"}]), cel)
    assert '"${{"' in problem.message
    assert problem.offset is not None


def test_an_open_dollar_of_the_defaults_is_a_problem(cel: Evaluator) -> None:
    defaults = {"env": [{"name": "A", "value": "$${{ params.x }}"}]}
    (problem,) = problems(spec(task("t"), params=[{"name": "x"}], defaults=defaults), cel)
    assert (problem.path, problem.offset) == (("defaults", "env", 0, "value"), 0)


@pytest.mark.parametrize("text", ["$$${{ params.x }}", "$(A)${{ params.x }}", "$x${{ params.x }}", "${{ params.x }}$"])
def test_a_dollar_that_is_not_open_is_none(cel: Evaluator, text: str) -> None:
    env = [{"name": "A", "value": text}]
    assert problems(spec(task("t", env=env), params=[{"name": "x"}]), cel) == []


def test_where_nothing_is_resolved_a_dollar_is_text(cel: Evaluator) -> None:
    call = {"call": "m:f", "with": {"a": "$${{ params.x }}"}}
    assert problems(spec(task("t", python=call), params=[{"name": "x"}]), cel) == []
