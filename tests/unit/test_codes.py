"""Every message of lint has a code, every code a use, and nothing of ours reads the words."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.builders import spec, task
from typer.testing import CliRunner

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.codes import Code
from nexus.api.messages_page import messages
from nexus.cli.main import app
from nexus.cli.manifests import load
from nexus.cli.syntax import check_code
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.model.facts import RunFact

PACKAGE = Path(__file__).parents[2] / "operator" / "nexus"


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        yield path, ast.parse(path.read_text("utf-8"))


def test_every_code_is_used_and_explained() -> None:
    used = {
        node.attr
        for path, tree in trees()
        if "from nexus.api.codes import Code" in path.read_text("utf-8")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
    }
    assert used == {code.name for code in Code}
    page = messages()
    for code in Code:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value)
        assert code.value == code.name.lower().replace("_", "-")
        assert code.meaning
        assert code.example
        assert code.fix
        assert f"| `{code.value}` |" in page


METHODS = {
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit", "splitlines"),
    *("removeprefix", "removesuffix", "index", "rindex", "find", "rfind", "count", "replace"),
}
SEARCHES = {"match", "fullmatch", "search", "findall", "finditer", "sub", "subn"}

# Words of others that have no code or field beside them, with the only thing that is done with them.
OUTSIDE = {
    ("adapters/kube/client/api.py", "text in message"): "etcd's size limits reach a client as a plain 500",
    ("adapters/kube/runs/refusals.py", "_NO_RIGHT.match(error.message)"): "the API server names the missing right",
    ("adapters/kube/runs/refusals.py", "_QUOTA in error.message"): "a full quota is a 403 as a missing right is",
    ("adapters/kube/runs/refusals.py", "_QUOTA not in error.message"): "a full quota is a 403 as a missing right is",
    ("adapters/kube/runs/refusals.py", "_TERMINATING in error.message"): "so is a namespace that is being deleted",
    ("adapters/kube/runs/refusals.py", "_TERMINATING not in error.message"): "so is a namespace that is being deleted",
    (
        "adapters/kube/runs/podless.py",
        "re.sub('\\\\bpods \"[^\"]*\"', 'the pod', str(item.get('message') or ''))",
    ): "the Job controller's events: a name that no two pods share",
    ("adapters/kube/runs/unmounted.py", "NO_CONFIG.search(message)"): "the kubelet's events: FailedMount alone",
    ("adapters/kube/runs/unmounted.py", "re.sub('/pods/[0-9a-f-]{36}/', '/pods/…/', message)"): "the kubelet's events",
    ("bootstrap/body.py", "str(error).rpartition(': ')"): "zlib puts its own error number before the words",
    ("bootstrap/transfer.py", "str(error).split()"): "obstore's errors, on one line",
    ("cli/syntax.py", "message == \"'return' outside function\""): "Python's compiler, for a hint",
    ("core/data/outputs.py", "message.partition('\\n')"): "the termination message: the bootstrap's protocol, JSON",
    (
        "core/data/outputs.py",
        "message.startswith('{\"kept\":')",
    ): "the termination message: the bootstrap's protocol, JSON",
    ("core/tasks/evidence.py", "sign in ended.message"): "the container runtime: StartError is any failure of a start",
}


def is_words(node: ast.expr, caught: set[str]) -> bool:
    """Return whether an expression is a message: an attribute, a key or a name `message`, or an exception's text."""
    match node:
        case ast.Attribute(attr="message") | ast.Name(id="message"):
            return True
        case ast.Subscript(slice=ast.Constant(value="message" | "msg")):
            return True
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="message" | "msg"), *_]):
            return True
        case ast.Call(func=ast.Name(id="str" | "repr"), args=[value]):
            return is_words(value, caught) or (isinstance(value, ast.Name) and value.id in caught)
        case ast.Call(func=ast.Attribute(attr="lower" | "casefold" | "strip", value=value)):
            return is_words(value, caught)
        case ast.Subscript(value=ast.Attribute(attr="args", value=ast.Name(id=name))):
            return name in caught
        case ast.BoolOp(values=values):
            return any(is_words(value, caught) for value in values)
    return False


def readings(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield where a message is compared, searched or taken apart."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    caught |= {"error", "exception"}
    for node in ast.walk(tree):
        operands: list[ast.expr] = []
        match node:
            case ast.Compare(ops=[ast.Is() | ast.IsNot(), *_]):
                pass
            case ast.Compare(left=left, comparators=comparators):
                operands = [left, *comparators]
            case ast.Match(subject=subject):
                operands = [subject]
            case ast.Call(func=ast.Attribute(attr=name, value=value), args=args) if name in METHODS | SEARCHES:
                operands = [value] if name in METHODS - SEARCHES else [value, *args]
        if any(is_words(operand, caught) for operand in operands):
            yield node


def test_no_message_is_compared_or_taken_apart() -> None:
    """What a message shows and our code needs is a field of the problem."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), ast.unparse(node)) for path, tree in trees() for node in readings(tree)
    }
    assert found == OUTSIDE.keys()


@pytest.mark.parametrize(
    "source",
    [
        "'cycle' in x.message", "x.message == 'a'", "x.message.startswith('a')", "'a' in str(error)",
        "body['message'].lower().endswith('a')", "re.search('a', x.get('message') or '')", "str(x.message).split()",
        "match x.message:\n    case 'a': pass", "error.args[0] == 'a'",
    ],
)  # fmt: skip
def test_a_message_that_is_read_is_found(source: str) -> None:
    assert list(readings(ast.parse(source)))


def test_a_message_that_is_shown_is_not_found() -> None:
    assert not list(readings(ast.parse("x.message is None\nprint(x.message)\n'a' in x.code\nstr(x).split()")))


def test_json_of_lint_has_the_code_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "apiVersion: nexus.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  tasks:\n"
        "  - name: one\n    dependsOn: [two]\n    bash: {command: 'true'}\n"
        "  schedules: [{name: s, cron: 0 6 1-7 * MON}]\n"
    )
    result = json.loads(CliRunner().invoke(app, ["lint", "-o", "json", str(file)]).stdout)
    (problem,), (warning,) = result["problems"], result["warnings"]
    place = {"file": str(file), "line": 7, "column": 17, "task": "one", "field": "dependsOn[0]"}
    assert {**problem, "message": ""} == {**place, "code": "unknown-task", "severity": "error", "message": ""}
    assert (warning["code"], warning["severity"], warning["task"]) == ("either-day", "warning", None)
    assert warning["field"] == "cron"


# Found where a run is asked for; its lines for people have words alone.
OF_RUNS = {
    Code.MISSING_PARAM: "params.day: missing value",
    Code.MISSING_BINDING: "--secret db/password",
    Code.UNANSWERED_APPROVAL: "--approve release",
}
BASH = "bash: {command: 'true'}"
DEEP = f"{'[' * 101}{']' * 101}"
# The manifest that an example is put into at %s, and how it ends in words; one that is shortened is written out.
AROUND: dict[Code, tuple[str, str]] = {
    Code.TOO_LARGE: (
        f"tasks: [{{name: a, http: {{url: 'http://x', json: {DEEP}}}}}]",
        "json: [[[...]]], 101 levels deep",
    ),
    Code.DUPLICATE_NAME: (f"tasks: [{{name: a, {BASH}}}]\n  %s", ""),
    Code.TOO_MANY: (f"tasks: [{{name: a, {BASH}, forEach: {{%s}}}}]", ""),
    Code.UNKNOWN_VOLUME: (f"tasks: [{{name: a, {BASH}, %s}}]", ""),
    Code.INVALID_LABEL: (f"tasks: [{{name: a, {BASH}}}]\n  %s", ""),
    Code.CALL_CYCLE: ("tasks: [{name: a, workflow: {name: sales}}]", Code.CALL_CYCLE.example),
    Code.CODE_UNCHECKED: (
        f"tasks: [{{name: a, bash: {{command: echo {'$(' * 3_000}x{')' * 3_000}}}}}]",
        "bash: {command: echo $($($(...)))}, 3,000 levels deep",
    ),
    Code.MISSING_PARAM: (f"tasks: [{{name: a, {BASH}}}]\n  %s", ", and no --param day=..."),
    Code.MISSING_BINDING: (f"tasks: [{{name: a, {BASH}, %s}}]", ""),
    Code.UNANSWERED_APPROVAL: ("tasks: [%s]", ""),
    Code.MORE_PROBLEMS: (
        "tasks:\n" + "".join(f"  - {{name: t{n}, {BASH}, %s}}\n" for n in range(300)),
        ", in each of 300 tasks",
    ),
}


def manifest_of(code: Code) -> str:
    """Return a manifest with the example of a code in it."""
    around, words = AROUND[code]
    assert code.example.endswith(words)
    body = around.replace("%s", code.example.removesuffix(words))
    return f"apiVersion: nexus.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: sales}}\nspec:\n  {body}\n"


@pytest.mark.parametrize("code", [code for code in AROUND if code not in OF_RUNS])
def test_an_example_has_the_problem(code: Code, cel: CelEvaluator) -> None:
    manifest = load(manifest_of(code), "f", cel)
    check_code(manifest)
    assert code in {problem.code for problem in [*manifest.problems, *manifest.warnings]}


@pytest.mark.parametrize("code", OF_RUNS)
def test_an_example_has_the_problem_in_a_run(code: Code, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(manifest_of(code))
    answer = CliRunner().invoke(app, ["run", "--local", "-f", str(tmp_path / "w.yaml")])
    assert answer.exit_code == 2
    assert OF_RUNS[code] in answer.stderr


def test_codes_of_a_file_that_cannot_be_read(cel: CelEvaluator) -> None:
    texts = {
        "a: {": Code.INVALID_YAML,
        "a: 1\na: 2": Code.DUPLICATE_KEY,
        "- a": Code.NOT_AN_OBJECT,
        "a: !x y": Code.UNSUPPORTED_TAG,
        "a: !!int y": Code.UNSUPPORTED_TAG,
        "a: .inf": Code.INVALID_VALUE,
        "a: *b": Code.INVALID_ALIAS,
        "{a: 1}: 2": Code.INVALID_KEY,
        '{"a": 1,': Code.INVALID_JSON,
    }
    assert {text: load(text, "f", cel).problems[0].code for text in texts} == texts


def test_problems_of_params_are_data(cel: CelEvaluator) -> None:
    params = spec(task("a"), params=[{"name": "n", "type": "integer"}, {"name": "m"}]).params or []
    fact = RunFact("default", "r", "u", datetime.now(UTC), params={"n": "x", "o": 1})
    with pytest.raises(ParamsInvalid) as caught:
        resolve(params, fact.params, fact, cel)
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [
        (("params", "o"), Code.UNKNOWN_PARAM),
        (("params", "n"), Code.INVALID_PARAM),
        (("params", "m"), Code.MISSING_PARAM),
    ]
