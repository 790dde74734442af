"""The syntax of python and bash tasks: told with its place, and nothing of it run, whatever it is."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from tests.unit.cli_harness import nexus, workflow, write

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.codes import Code
from nexus.cli import syntax
from nexus.cli.manifests import Manifest, load
from nexus.cli.syntax import check_code

HEAD = """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: w}
spec:
  tasks:
"""
COMMA = "Python syntax error: invalid syntax. Perhaps you forgot a comma?"


def checked(cel: CelEvaluator, tasks: str) -> Manifest:
    manifest = load(HEAD + tasks, "f.yaml", cel)
    assert manifest.problems == []
    assert check_code(manifest)
    return manifest


def told(cel: CelEvaluator, tasks: str) -> list[str]:
    manifest = checked(cel, tasks)
    return [str(entry).removeprefix("f.yaml:") for entry in (*manifest.problems, *manifest.warnings)]


def task(kind: str, code: str, **more: str) -> str:
    field = {"python": "code", "bash": "command"}[kind]
    return "  - " + json.dumps({"name": "t", kind: {field: code, **more}}) + "\n"


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (
            "  - name: t\n    python:\n      code: |\n        x = 1\n        y = sum(1 2)\n",
            f"10:17: task t, python.code: {COMMA}",
        ),
        (
            '  - {name: t, python: {code: "return {}"}}\n',
            "6:31: task t, python.code: Python syntax error: 'return' outside function; assign to output instead",
        ),
        (
            "  - name: t\n    bash:\n      command: |\n        echo a\n\n          fi\n",
            "11:11: task t, bash.command: bash syntax error: near unexpected token `fi'",
        ),
        (
            "  - {name: t, bash: {command: 'if true; then echo hi'}}\n",
            "6:51: task t, bash.command: bash syntax error: unexpected end of file",
        ),
        (
            "  - {name: t, python: {code: 'sum(1 2)', image: 'python:4'}}\n",
            f"6:35: warning: task t, python.code: {COMMA} (to {syntax._HERE}; the image may have another)",
        ),
        (
            "  - name: t\n    bash:\n      command: |\n        cat <<EOF\n        text\n",
            "10:9: warning: task t, bash.command: bash reads it with a warning: here-document at line 1 delim",
        ),
        (
            "  - {name: t, python: {code: 'print(f\"hello {name}\"'}}\n",
            "6:36: task t, python.code: Python syntax error: '(' was never closed",
        ),
        (
            "  - {name: t, python: {code: \"print('t', 'f'\"}}\n",
            "6:36: task t, python.code: Python syntax error: '(' was never closed",
        ),
        (
            "  - name: t\n    bash:\n      command: |\n        exit 0\n        fi\n",
            "10:9: warning: task t, bash.command: bash syntax error: near unexpected token `fi'",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(cel: CelEvaluator, tasks: str, expected: str) -> None:
    (found,) = told(cel, tasks)
    place, _, words = found.partition(": ")
    assert words.startswith(expected.partition(": ")[2])
    assert place.split(":")[0] == expected.split(":", maxsplit=1)[0]
    if "end of file" not in expected:  # where bash gives up differs from one version to the next
        assert place == expected.partition(": ")[0]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("python", "async def f():\n    await g()\nx: int = 1\nprint(f'{x!r}', end='')"),
        ("python", "from __future__ import annotations\nimport not_there\nraise SystemExit(undefined)"),
        ("python", "x = '\\d'  # an escape that Python warns of"),
        ("python", ""),
        ("bash", "shopt -s extglob\nls !(a|b)"),
        ("bash", "[[ $a =~ ^[0-9]+$ ]] && cat <(echo a) <<< x; coproc { :; }; echo ${a^^} $((1 + 2))"),
        ("bash", "unknown-command --and 'quotes' \"$(date)\" || exit 3"),
        ("bash", ""),
    ],
)
def test_what_can_be_read_is_left_alone(cel: CelEvaluator, kind: str, code: str) -> None:
    if code:
        assert told(cel, task(kind, code)) == []


def test_nothing_is_run(cel: CelEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    profile = tmp_path / "profile"
    profile.write_text(f"touch {mark}\n")
    (tmp_path / "json.py").write_text(f"open({str(mark)!r}, 'w')\n")
    for variable, value in {
        "BASH_ENV": profile, "ENV": profile, "PYTHONPATH": tmp_path, "PYTHONSTARTUP": profile,
        "BASH_FUNC_touch%%": f"() {{ :; }}; touch {mark}", "SHELLOPTS": "xtrace",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, str(value))
    monkeypatch.chdir(tmp_path)
    for kind, code in [
        ("bash", f"touch {mark}; $(touch {mark}); `touch {mark}`; : <(touch {mark}); a[$(touch {mark})]=1"),
        ("bash", f"set +n; set +o noexec\ntouch {mark}"),
        ("python", f"import os\n@(lambda f: os.system('touch {mark}'))\ndef f(): ..."),
        ("python", f"def f(a=open({str(mark)!r}, 'w')): ..."),
    ]:
        assert told(cel, task(kind, code)) == []
    assert not mark.exists()


HOSTILE = {
    "python": [
        "(" * 100_000, "-" * 100_000 + "1", "x = " + "[" * 5_000 + "]" * 5_000, "f(" * 3_000 + ")" * 3_000,
        "a\x00b", "x = '\ud800'", "if 1:\n" * 200, "not " * 50_000 + "1", "'" * 100_001, "a." * 50_000 + "a",
        "lambda:" * 50_000 + "1", "\f\f\n\r\r\n x", "1" * 200_000, "x = " + "1+" * 60_000 + "1",
    ],
    "bash": ["$(" * 20_000, "(" * 50_000, "if " * 50_000, "{ " * 50_000, "$((" * 20_000, "`" * 50_001, "<<a " * 10_000,
             "'" * 50_001, "case " * 20_000, "!" * 50_000, "a=(" * 20_000, "${" * 20_000],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "index"), [(kind, index) for kind in HOSTILE for index in range(len(HOSTILE[kind]))])
def test_hostile_code_ends_no_check(kind: str, index: int) -> None:
    texts = [HOSTILE[kind][index], {"python": "1 2", "bash": "fi"}[kind]]
    begun = time.monotonic()
    if kind == "python":
        found = syntax._python(texts)
    else:
        found = list(syntax._bash("bash", texts, time.monotonic()))
    assert len(found) == 2
    assert found[1] is not None
    assert "syntax error" in found[1].message
    assert time.monotonic() - begun < syntax.SECONDS


def test_code_over_which_the_compiler_ends_is_told_as_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = syntax._COMPILE.replace("    found = None", "    code == 'crash' and exit()\n    found = None")
    monkeypatch.setattr(syntax, "_COMPILE", ending)
    found = syntax._by_processes(["1 2", "crash", "x = 1", *["crash"] * 9])
    assert [entry.message[:30] if entry else None for entry in found[:4]] == [
        "Python syntax error: invalid s",
        "the syntax was not checked: Py",
        None,
        "the syntax was not checked: Py",
    ]
    assert len(found) == 12
    assert not any(entry.certain for entry in found[3:] if entry)


def test_lint_plan_and_local_runs_refuse_and_a_machine_without_bash_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, workflow({"name": "t", "bash": {"command": "fi"}}))
    assert nexus("lint", file).code == 1
    assert nexus("plan", file).code == 2
    answer = nexus("run", "-f", file, "--local")
    assert answer.code == 2
    assert "bash syntax error: near unexpected token `fi'" in answer.stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = nexus("lint", file)
    assert answer.code == 0
    assert answer.stderr == f"nexus: {syntax.NO_BASH}\n"


@pytest.mark.parametrize(
    "code",
    [
        "def first[T](items: list[T]) -> T: return items[0]",
        "class Box[T]: ...",
        "type Pair = tuple[int, int]",
        "x = f'{d['a']}'",
        "x = 1\nx = f'''{\n'a'\n}''' + f'{'b'}'",
        "x = t'{a}'",
        "try: pass\nexcept A, B: pass",
    ],
)
def test_what_a_newer_python_may_read_is_no_problem(cel: CelEvaluator, code: str) -> None:
    manifest = checked(cel, task("python", code))
    assert manifest.problems == []
    assert all("a newer one may read it" in str(entry) for entry in manifest.warnings)


def test_one_bash_finds_sound_what_a_bash_for_each_finds_sound_and_runs_none_of_it(tmp_path: Path) -> None:
    made = tmp_path / "made"
    touch = f"touch {made}"
    texts = [
        *(touch, f"set +n; {touch}", f"set +n\n{touch}", f"x=$({touch})", f"trap '{touch}' EXIT", f"\n{touch}"),
        *(f"'\n{touch}", f'"\n{touch};', f"}}\n{touch}", f"cat <<EOF\n$({touch})\nEOF", f"cat <<EOF\n$({touch})"),
        *("", "\n", "\\", "#\\\n", "a() { echo $(echo hi); }\na", "x=(1 2); echo ${x[@]}", "exit 3\n)", "ä=\udcff"),
        *(
            "if true; then",
            "echo $((1+",
            "case x in",
            "fi",
            "[[ a < ]]",
            "echo !(a|b)",
            "shopt -s extglob\necho !(a|b)",
        ),
        *("shopt -s extglob\necho !(a|b)", "a\0b", "set -o posix\n[[ x ]]", "echo é", "\techo 1\r\n"),
    ]
    exactly = {text for text in texts if syntax._read_by("bash", text) is None}
    sound = syntax._sound("bash", texts)
    assert exactly - sound <= {text for text in texts if "extglob" in text or "\0" in text}
    assert sound <= exactly
    assert len(sound) > 10
    assert not made.exists()


def test_bash_that_takes_too_long_is_told_as_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(command: list[str], **_options: object) -> None:
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(subprocess, "run", late)
    found = syntax._read_by("bash", "true")
    assert found is not None
    assert (found.code, found.certain) == (Code.CODE_UNCHECKED, False)
