"""What a careless author writes, and what `nexus lint` says of it: task, field, line, column, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import spec, task

from nexus.adapters.cel.pool import CelEvaluator
from nexus.cli.manifests import load
from nexus.core.validate import problems

TABLE = Path(__file__).parent / "mistakes.txt"

HEADS = {
    "task": """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: sales}
spec:
  params:
  - {name: day, default: "2026-11-23"}
  - {name: count, type: integer, default: 3}
  - {name: regions, type: array, default: [eu, us]}
  - {name: dry, type: boolean, default: false}
  - {name: stage, enum: [test, prod], default: test}
  tasks:
  - name: load
    bash: {command: "true"}
  - name: per-region
    dependsOn: [load]
    bash: {command: "true"}
""",
    "spec": """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: sales}
spec:
  tasks:
  - {name: a-b, bash: {command: x}}
  - {name: c, bash: {command: x}}
""",
}


def cases() -> Iterator[tuple[str, str, str]]:
    """(head, what is written, what is said) of each entry of the table."""
    head = ""
    for block in TABLE.read_text("utf-8").split("\n\n"):
        if section := re.match(r"\n?== (\w+): ", block):
            head = HEADS[section[1]]
        elif "\n=> " in block:
            written, _, said = block.partition("\n=> ")
            yield head, f"{written}\n", said.rstrip("\n")


@pytest.mark.parametrize(("head", "written", "said"), list(cases()), ids=[said[:60] for _, _, said in cases()])
def test_a_mistake_is_told_with_its_place_and_what_to_do(cel: CelEvaluator, head: str, written: str, said: str) -> None:
    above = head.count("\n")
    (problem,) = load(head + written, "f.yaml", cel).problems
    # A message that names a line of the file too counts from the same start.
    message = re.sub(r"(?:(?<=on line )|(?<=with line ))\d+", lambda line: str(int(line[0]) - above), problem.message)
    assert f"{problem.line - above}:{problem.column} {problem.code}: {message}" == said


def test_the_table_is_long() -> None:
    assert sum(1 for _ in cases()) > 90


@pytest.mark.parametrize("head", list(HEADS.values()), ids=list(HEADS))
def test_what_the_mistakes_are_added_to_has_none(cel: CelEvaluator, head: str) -> None:
    assert load(head, "f.yaml", cel).problems == []


@pytest.mark.parametrize(
    "fields",
    [
        # Phases and triggers that there are, on either side; other variables may be anything.
        {"when": "${{ tasks.load.phase == 'Failed' || 'Skipped' != tasks.load.phase }}"},
        {"when": "${{ tasks['load'].phase in ['Failed', \"Omitted\"] || run.trigger == 'schedule' }}"},
        {"when": "${{ tasks.load.output.state == 'Suceeded' || params.day == 'Monday' }}"},
        {"when": "${{ tasks.load.phase.startsWith('S') || tasks.load.phase + 'x' == 'Failedx' }}"},
        # Fields that some items have, or are asked for.
        {"forEach": {"items": [{"a": 1}, {"a": 2, "b": "x"}]}, "env": "${{ item.a + 1 }} ${{ get(item, 'b', '') }}"},
        {"forEach": {"items": [{"a": 1}]}, "env": "${{ has(item.b) ? item.a : 0 }} ${{ item.a > 0 }}"},
        {"forEach": {"items": [{"a": {"c": 1}}]}, "env": "${{ item.a.c + 1 }} ${{ item.size() }} ${{ item['a'] }}"},
        {"forEach": {"items": [1, "x"]}, "env": "${{ item }} ${{ [1].map(item, item + 1) }}"},
        {"forEach": {"items": ["${{ params.count }}", 1]}, "env": "${{ item + 1 }}"},
        {
            "forEach": {"matrix": {"a": "${{ params.regions }}", "b": [1.0, 2]}},
            "env": "${{ item.a.name }} ${{ item.b + 1 }}",
        },
        {"forEach": {"items": [0.5, 1.5]}, "env": "${{ item * 2.0 }}"},
        # Text of other tools.
        {"env": "{{ .Values.day }} {{ item }} {{ name }} ${HOME} $(NAME) $(params) {{ params }} %{params.day}"},
        {"env": "${{ '{{ params.day }}' }}"},
    ],
    ids=str,
)
def test_what_is_no_mistake_is_left_alone(cel: CelEvaluator, fields: dict[str, object]) -> None:
    if "env" in fields:
        fields = {**fields, "env": [{"name": "A", "value": fields["env"]}]}
    params = [{"name": "day"}, {"name": "count", "type": "integer"}, {"name": "regions", "type": "array"}]
    assert [
        str(problem) for problem in problems(spec(task("load"), task("t", "load", **fields), params=params), cel)
    ] == []
