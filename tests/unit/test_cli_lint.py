"""`nexus lint`: what it says of files, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_harness import bash, nexus, workflow, workflow_run, write

from nexus import __version__
from nexus.adapters.cel.pool import CelEvaluator
from nexus.cli.manifests import load

EXAMPLES = Path(__file__).parents[2] / "examples"

HEAD = """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: sales}
spec:
"""


def problems(text: str, cel: CelEvaluator) -> list[str]:
    """What is wrong with a file, as lint prints it."""
    return [str(problem) for problem in load(text, "f.yaml", cel).problems]


def test_files_without_problems_are_counted_and_exit_0() -> None:
    answer = nexus("lint", EXAMPLES)
    assert answer.code == 0, answer.stdout
    assert answer.stdout.splitlines()[-1].endswith("no problems")


def test_problems_are_on_stdout_and_exit_1(tmp_path: Path) -> None:
    good = write(tmp_path, workflow(bash("one")), name="good.yaml")
    bad = write(tmp_path, workflow(bash("one", "true", "two"), name="x"), name="bad.yml")
    answer = nexus("lint", good, tmp_path)
    assert answer.code == 1
    first, last = answer.stdout.splitlines()
    assert first.startswith(f"{bad}:1:")
    assert first.endswith('task one, dependsOn[0]: unknown task "two"; tasks are one')
    assert last == "3 files, 3 workflows, 1 problem"
    report = nexus("lint", bad, "-o", "json").json
    assert report["files"] == report["workflows"] == 1
    assert {**report["problems"][0], "column": 0} == {
        "file": str(bad),
        "line": 1,
        "column": 0,
        "code": "unknown-task",
        "severity": "error",
        "task": "one",
        "field": "dependsOn[0]",
        "message": 'task one, dependsOn[0]: unknown task "two"; tasks are one',
    }


@pytest.mark.parametrize(
    "early",
    [
        workflow({**bash("one"), "needs": ["two"]}),
        {**workflow(bash("one")), "kind": "Workflw"},
        "a: [",
    ],
    ids=["fields", "envelope", "yaml"],
)
def test_checks_that_earlier_problems_held_back_are_said_to_wait(early: dict[str, Any] | str, tmp_path: Path) -> None:
    late = write(tmp_path, workflow(bash("one", "true", "two"), name="x"), name="late.yaml")
    last = nexus("lint", write(tmp_path, early), late).stdout.splitlines()[-1]
    assert last.endswith("2 problems; remaining checks skipped, fix these errors first")


def test_what_helm_makes_manifests_of_is_passed_over_in_folders(tmp_path: Path) -> None:
    (tmp_path / "chart" / "templates").mkdir(parents=True)
    for name in ("Chart.yaml", "values.yaml", "values-prod.yaml", "templates/all.yaml"):
        (tmp_path / "chart" / name).write_text("{{- range .Values.days }}")
    write(tmp_path / "chart", workflow(bash("one")), name="own.yaml")
    write(tmp_path, workflow(bash("two")), name="values.yaml")
    answer = nexus("lint", tmp_path)
    assert (answer.code, answer.stdout) == (0, "2 files, 2 workflows, no problems\n")
    assert nexus("lint", tmp_path / "chart" / "templates" / "all.yaml").code == 1, "unless it is named"


def test_files_are_named_bare_or_with_f(tmp_path: Path) -> None:
    one, two = (write(tmp_path, workflow(bash("a")), name=f"{name}.yaml") for name in ("one", "two"))
    assert nexus("lint", one, "-f", two, "--file", one).stdout == "3 files, 3 workflows, no problems\n"
    assert nexus("plan", "-f", one).stdout == nexus("plan", one).stdout
    twice = nexus("plan", one, "-f", two)
    assert (twice.code, twice.stderr) == (2, f"give one of them, {one} or -f {two}: nexus plan FILE\n")
    assert nexus("lint").stderr == "say of what: nexus lint FILE...\n"
    assert nexus("schedule", "next").stderr == "say of what: nexus schedule next WORKFLOW|FILE\n"


def test_the_version_is_a_command_and_an_option() -> None:
    assert nexus("--version").stdout == nexus("version").stdout == f"nexus {__version__}\n"


@pytest.mark.parametrize("name", ["nosuch.yaml", "empty"])
def test_what_cannot_be_read_exits_2(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    answer = nexus("lint", name, cwd=tmp_path)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(name)


def test_stdin_is_a_file_too(tmp_path: Path) -> None:
    text = write(tmp_path, workflow(bash("one", "true", "one"))).read_text()
    answer = nexus("lint", "-", stdin=text)
    assert answer.code == 1
    assert answer.stdout.startswith("<stdin>:1:")


DO = "bash: {command: x}"


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("task: []", '5:3: task: unknown field "task"; did you mean "tasks"?'),
        ("description: x", '4:1: missing required field "tasks"'),
        ("tasks: []", "5:3: tasks: must have at least one entry"),
        ("tasks: {}", "5:3: tasks: must be a list, got an object"),
        ("tasks: [{name: a, bash: {}}]", '5:21: task a, bash: missing required field "command"'),
        ("tasks: [{name: a, bash: {comand: x}}]", 'bash.comand: unknown field "comand"; did you mean "command"?'),
        (
            f"tasks: [{{name: a, depends_on: [b], {DO}}}]",
            'task a, depends_on: unknown field "depends_on"; did you mean "dependsOn"?',
        ),
        (
            f"tasks: [{{name: on, {DO}}}]",
            'tasks[0].name: must be a string; YAML reads unquoted on as the boolean true, quote it: "on"',
        ),
        (
            "params: [{name: n}]",
            '5:13: params[0].name: must be a string; YAML reads unquoted n as the boolean false, quote it: "n"',
        ),
        (
            "params: [{name: false}]",
            'params[0].name: must be a string; YAML reads unquoted false as the boolean false, quote it: "false"',
        ),
        (
            f"tasks: [{{name: a, dependsOn: [b, no], {DO}}}]",
            "task a, dependsOn[1]: must be a string; YAML reads unquoted no as the boolean false",
        ),
        (
            f"tasks: [{{name: a, when: '${{{{ params.x }}}}', {DO}}}]",
            'unknown reference "params.x": the workflow has no params; add it to spec.params',
        ),
        (f"tasks: [{{name: A, {DO}}}]", 'task A, name: invalid value "A"; use lower-case letters, digits and -'),
        (
            f"tasks: [{{name: a, timeoutSeconds: '5', {DO}}}]",
            'timeoutSeconds: must be an integer, got string "5"; remove the quotes',
        ),
        (f"tasks: [{{name: a, timeoutSeconds: 0, {DO}}}]", "timeoutSeconds: must be at least 1, got 0"),
        (f"tasks: [{{name: a, triggerRule: AllDon, {DO}}}]", 'unsupported value "AllDon"; did you mean "AllDone"?'),
        (
            "tasks: [{name: a, http: {url: x, expect: [2xx, 9xx]}}]",
            'expect[1]: invalid value "9xx"; write a status, as 201',
        ),
        ("tasks: [{name: a, sql: {connection: x, query: x}}]", "sql.connection: must be sqlite://, or {secretKeyRef"),
        (
            "tasks: [{name: a, sql: {connection: {secretRef: x}, query: x}}]",
            'sql.connection.secretRef: unknown field "secretRef"; did you mean "secretKeyRef"?',
        ),
        ("tasks: [{name: a}]", "task a: no task type; set exactly one of python, http, bash, sql, container"),
        (
            f"tasks: [{{name: a, {DO}, python: {{code: x}}}}]",
            "task a: 2 task types (python, bash); set exactly one of python",
        ),
        (f"tasks: [{{name: a, {DO}}}, {{name: a, {DO}}}]", 'duplicate task name "a"'),
    ],
)
def test_what_does_not_fit_is_said_in_words(field: str, problem: str, cel: CelEvaluator) -> None:
    found = problems(f"{HEAD}  {field}\n", cel)
    assert any(problem in line for line in found), found
    assert all("pydantic" not in line and "Input should" not in line for line in found)


def test_the_place_of_an_expression_is_that_of_its_mistake(cel: CelEvaluator) -> None:
    text = f"""{HEAD}\
  params: [{{name: day}}]
  tasks:
  - name: one
    when: "${{{{ params.dya == 'x' }}}}"
    env:
    - name: LONG
      value: |
        first line
        and ${{{{ params.day + 1 }}}}
    bash: {{command: "true"}}
"""
    lines = text.splitlines()
    assert [problem.split(" ")[0] for problem in problems(text, cel)] == [
        f"f.yaml:8:{lines[7].index('params.dya') + 1}:",
        f"f.yaml:13:{lines[12].index('+ 1') + 1}:",
    ]


def test_a_cycle_is_named_task_by_task(cel: CelEvaluator) -> None:
    text = f"{HEAD}  tasks:\n" + "".join(
        f"  - {{name: {name}, dependsOn: [{before}], bash: {{command: x}}}}\n" for name, before in ("ab", "bc", "ca")
    )
    (problem,) = problems(text, cel)
    assert problem.startswith("f.yaml:6:")
    assert "dependency cycle: a -> b -> c -> a; remove one of these dependsOn entries" in problem
    assert problem.count(" -> ") == 3


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"apiVersion": None}, 'missing required field "apiVersion"; a Workflow has apiVersion: nexus.dev/v1alpha1'),
        ({"kind": None}, 'missing required field "kind"; a Workflow has'),
        ({"apiVersion": "nexus.dev/v1"}, 'apiVersion: unsupported apiVersion "nexus.dev/v1"; use nexus.dev/v1alpha1'),
        ({"apiVersion": "nexsus.dev/v1alpha1"}, "; use nexus.dev/v1alpha1"),
        ({"kind": "WorkFlow"}, 'kind: unknown kind "WorkFlow" in nexus.dev; did you mean "Workflow"?'),
        ({"spec": None}, 'spec: missing required field "spec"'),
        ({"metadata": {}}, 'metadata: missing required field "name"'),
        (
            {"metadata": {"name": "My Flow"}},
            'metadata.name: invalid name "My Flow"; a name has at most 253 lower-case letters',
        ),
        ({"specs": {}}, 'specs: unknown field "specs"; did you mean "spec"?'),
    ],
)
def test_what_is_around_the_spec_is_looked_at_too(changed: dict[str, Any], problem: str, cel: CelEvaluator) -> None:
    body = {key: value for key, value in {**workflow(bash("a")), **changed}.items() if value is not None}
    found = problems(json.dumps(body), cel)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            "name: y",
            'f.yaml:3:12: metadata.name: must be a string; YAML reads unquoted y as the boolean true, quote it: "y"',
        ),
        ("name: No", 'metadata.name: must be a string; YAML reads unquoted No as the boolean false, quote it: "No"'),
        (
            "name: true",
            'metadata.name: must be a string; YAML reads unquoted true as the boolean true, quote it: "true"',
        ),
        ("name: 5", 'metadata.name: must be a string, got integer 5; quote it: "5"'),
        ("name: 1.5", 'metadata.name: must be a string, got number 1.5; quote it: "1.5"'),
        ("name: [a]", "metadata.name: must be a string, got a list"),
        ("name: w, namespace: n", "f.yaml:3:21: metadata.namespace: must be a string; YAML reads unquoted n as the"),
        ("name: w, labels: {a: on}", "f.yaml:3:30: metadata.labels.a: must be a string; YAML reads unquoted on as"),
        (
            "name: w, annotations: {a: 3}",
            'f.yaml:3:35: metadata.annotations.a: must be a string, got integer 3; quote it: "3"',
        ),
    ],
)
def test_metadata_that_yaml_takes_for_something_else_is_to_be_quoted(
    metadata: str, expected: str, cel: CelEvaluator
) -> None:
    text = HEAD.replace("name: sales", metadata) + "  tasks: [{name: t, wait: {seconds: 1}}]\n"
    (found,) = problems(text, cel)
    assert found.removeprefix("f.yaml:3:12: ").startswith(expected.removeprefix("f.yaml:3:12: "))
    quoted = text.replace("name: y", 'name: "y"').replace("name: No", 'name: "no"')
    assert len(problems(quoted, cel)) == (0 if quoted != text else 1)
    assert problems(HEAD.replace("}", ", labels: {a: null}}") + "  tasks: [{name: t, wait: {seconds: 1}}]\n", cel) == []


def test_a_run_is_looked_at_and_its_own_definition_with_it(cel: CelEvaluator) -> None:
    inline = workflow_run(workflowSpec={"tasks": [bash("a", "true", "b")]})
    neither = {**workflow_run(), "spec": {"parms": {}}}
    found = problems("\n---\n".join(map(json.dumps, [inline, neither])), cel)
    assert [problem.partition(": ")[2] for problem in found] == [
        'task a, dependsOn[0]: unknown task "b"; tasks are a',
        "set exactly one of workflowRef and workflowSpec",
        'parms: unknown field "parms"; did you mean "params"?',
    ]


def test_documents_of_other_kinds_are_passed_over(cel: CelEvaluator) -> None:
    others = [
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: x-}\nspec: {entrypoint: main}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nanything: [1]",
    ]
    assert problems("\n---\n".join(others), cel) == []


def test_the_params_of_a_run_are_checked_against_the_workflow_in_the_file(tmp_path: Path) -> None:
    params = [{"name": "day", "pattern": "^\\d+$"}, {"name": "count", "type": "integer"}]
    file = write(tmp_path, workflow(bash("one"), params=params), workflow_run(params={"day": "x", "cuont": 3}))
    lines = nexus("lint", file).stdout.splitlines()
    assert [line.partition(": ")[2] for line in lines[:-1]] == [
        "params.count: missing value, and no default; give one with --param count=... or in spec.params",
        'params.day: "x" does not match the pattern ^\\d+$',
        'params.cuont: unknown param "cuont"; did you mean "count"?',
    ]


def test_a_file_that_is_no_yaml_is_one_problem(cel: CelEvaluator) -> None:
    (problem,) = problems(f"{HEAD}  tasks: [\n", cel)
    assert problem.startswith("f.yaml:")


def test_a_name_that_no_file_may_have_is_told_as_one_that_cannot_be_read() -> None:
    answer = nexus("lint", "a" * 300)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr == f"{'a' * 300}: cannot be read: File name too long\n"
