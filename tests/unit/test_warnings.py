"""Warnings: arithmetic with numbers that are whole in one run and have a fraction in the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import spec, task
from tests.unit.cli_harness import bash, nexus, workflow, write

from nexus.core.validate.warnings import warnings

PARAMS = [
    {"name": "x", "type": "number", "default": 2.5},
    {"name": "y", "type": "number", "default": 1},
    {"name": "n", "type": "integer", "default": 1},
    {"name": "list", "type": "array", "default": [0.5, 1]},
    {"name": "whole", "type": "array", "default": [1, 2]},
]


def warned(text: str, **fields: Any) -> list[str]:
    found = warnings(spec(task("t", env=[{"name": "A", "value": text}], **fields), params=PARAMS))
    assert all("write double(" in problem.message for problem in found)
    return [f"{problem.offset} {problem.message.split()[0]}" for problem in found]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("params.x / 2", "params.x"),
        ("params.x * 2.0", "params.x"),
        ("2 - params.x", "params.x"),
        ("params['x'] % 2", "params.x"),
        ("-params.x * 2.0", "params.x"),
        ("(params.x) / 2", "params.x"),
        ("((params.n > 1 ? params.x : 1) / 2) > 1 ? 'a' : 'b'", "params.x"),
        ("params.n > 1 ? params.x + 1 : 2", "params.x"),
        ("double(params.y) * params.x", "params.x"),
        ("params.x * params.y", "params.x"),
        ("[1, 2].map(v, v * params.x)", "params.x"),
        ("string(params.x + 1)", "params.x"),
        ("{'a': params.x * 2}", "params.x"),
        ("[1, 2].map(v, v).filter(v, v > params.y + 1)", "params.y"),
        ("math.greatest(params.x, 1) / 2", "params.x"),
        ("dyn(params.x) / 2", "params.x"),
        ("params.n + 1 > 2 && params.x + 1 > 2", "params.x"),
        ("params.list[0] == 1 && 1 - params.y == 0", "params.y"),
    ],
)
def test_arithmetic_with_a_number_is_warned_of(source: str, name: str) -> None:
    (found,) = warned(f"a ${{{{ {source} }}}}")
    assert found.split()[1] == name
    assert source[int(found.split()[0]) - 6 :].startswith("params")


@pytest.mark.parametrize(
    "source",
    [
        "double(params.x) / 2.0", "int(params.x) / 2", "params.x > 2", "params.x == 1.0 || params.y != 2",
        "params.n / 2", "params.n * 2 + 1", "string(params.x)", "math.round(params.x)",
        "params.n > 1 ? params.x : params.y",
        "[params.x, 1][0]", "params.x in [1, 2]", "'params.x / 2'", "params.whole.map(x, x / 2)", "params.x",
        "double(params.x) * double(params.y) - 1.0", "size([params.x]) + 1", "'-' + string(params.x)",
    ],
)  # fmt: skip
def test_other_uses_are_not(source: str) -> None:
    assert warned(f"a ${{{{ {source} }}}}") == []


@pytest.mark.parametrize(
    ("for_each", "source", "expected"),
    [
        ({"items": [0.5, 1.0]}, "item * 2.0", True),
        ({"items": [0.5, 1.5]}, "item * 2.0", False),  # all are doubles, and lint tells what does not fit
        ({"items": [1, 2]}, "item * 2", False),
        ({"items": [0.5, "a"]}, "item * 2.0", False),
        ({"items": ["${{ params.x }}", 1]}, "item * 2.0", True),
        ({"items": "${{ params.list }}"}, "item / 2", True),
        ({"items": "${{ params.whole }}"}, "item / 2", False),
        ({"items": [{"f": 0.5}, {"f": 1}]}, "item.f / 2", True),
        ({"items": [{"f": 0.5, "g": 1}, {"f": 1, "g": 2}]}, "item.g / 2", False),
        ({"matrix": {"f": [0.5, 1], "g": [1, 2]}}, "item.f * 2.0", True),
        ({"matrix": {"f": [0.5, 1], "g": [1, 2]}}, "item.g / 2", False),
        ({"matrix": {"f": "${{ params.list }}"}}, "item.f * 2.0", True),
        ({"items": [0.5, 1.0]}, "[1].map(item, item * 2)", False),
    ],
)
def test_items_of_both_kinds_are_warned_of(for_each: dict[str, Any], source: str, expected: bool) -> None:
    assert bool(warned(f"${{{{ {source} }}}}", forEach=for_each)) is expected


def test_every_field_with_expressions_is_looked_at() -> None:
    text = "${{ params.x / 2 }}"
    subject = spec(
        task("a", when="${{ params.x / 2 > 1.0 }}"),
        task("b", forEach={"items": [text]}),
        task("c", http={"url": f"https://h/{text}", "json": {"a": [text]}}),
        params=PARAMS,
        defaults={"env": [{"name": "A", "value": text}]},
        outputs={"o": text},
    )
    assert [str(problem).partition(": ")[0] for problem in warnings(subject)] == [
        "defaults.env[0].value",
        "task a, when",
        "task b, forEach.items[0]",
        "task c, http.url",
        "task c, http.json.a[0]",
        "outputs.o",
    ]


def test_warnings_change_the_exit_status_only_where_asked(tmp_path: Path) -> None:
    env = [{"name": "A", "value": "${{ params.x / 2 }}"}]
    file = write(tmp_path, workflow(bash("t", env=env), params=[{"name": "x", "type": "number", "default": 4}]))
    answer = nexus("lint", file)
    assert answer.code == 0
    first, last = answer.stdout.splitlines()
    assert ": warning: task t, env[0].value: params.x may be" in first
    assert last == "1 file, 1 workflow, no problems, 1 warning"
    assert nexus("lint", file, "--strict").code == 1
    report = nexus("lint", file, "-o", "json").json
    assert (report["problems"], len(report["warnings"])) == ([], 1)
    local = nexus("run", "-f", file, "--local")
    assert local.code == 0
    assert "warning: task t, env[0].value: params.x may be" in local.stdout + local.stderr


@pytest.mark.parametrize(
    ("cron", "warned"),
    [
        ("0 6 1-7 * MON", True),
        ("0 6 */2 * 1-5", True),
        ("0 6 1-7 * *", False),
        ("0 6 ? * MON", False),
        ("@weekly", False),
    ],
)
def test_a_day_of_the_month_beside_one_of_the_week_is_warned_of(cron: str, warned: bool) -> None:
    found = warnings(spec(task("t"), schedules=[{"name": "s", "cron": cron}]))
    assert [problem.path for problem in found] == ([("schedules", 0, "cron")] if warned else [])
    assert all("either is enough" in problem.message for problem in found)
