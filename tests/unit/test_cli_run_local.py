"""`nexus run -f FILE --local`: what it prints where, what it refuses, how it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.cli_harness import COMMAND, Answer, bash, environment, nexus, workflow, workflow_run, write

from nexus.api.base import API_VERSION
from nexus.api.run import WorkflowRun

CONTROL = re.compile("\x1b|\r|\x08")
COUNT = 'echo "n:=$PARAM_COUNT" >> "$NEXUS_OUTPUT"; echo "saw $PARAM_COUNT"'
COUNTED = {"params": [{"name": "count", "type": "integer", "default": 1}]}


def test_a_run_that_succeeds_is_told_in_plain_lines_and_exits_0(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("count", COUNT), bash("after", "true", "count"), **COUNTED))
    answer = nexus("run", "-f", file, "--local", "--param", "count=3")
    assert answer.code == 0, answer.stderr
    assert not CONTROL.search(answer.stdout)
    assert re.search(r"^\d\d:\d\d:\d\d count +Succeeded +\d", answer.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d count +\| saw 3$", answer.stdout, re.MULTILINE)
    assert '  count  {"n": 3}' in answer.stdout
    assert re.search(r"^Critical path  count \S+ → after \S+$", answer.stdout, re.MULTILINE)
    assert re.fullmatch(r"sales-[a-z0-9]{5} Succeeded in \S+s", answer.stdout.splitlines()[-1])
    assert answer.stderr == ""


def test_a_run_that_fails_says_why_in_its_last_line_and_exits_1(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("bad", "exit 3"), bash("after", "true", "bad")))
    answer = nexus("run", "-f", file, "--local")
    assert answer.code == 1
    assert re.search(r"after +Omitted +DependencyFailed", answer.stdout)
    assert re.fullmatch(r"sales-\w{5} Failed in \S+: task bad: exit status 3.*", answer.stdout.splitlines()[-1])


def test_json_stands_on_stdout_alone_and_is_the_object_a_cluster_would_have(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("count", COUNT), **COUNTED))
    answer = nexus("run", "-f", file, "--local", "-p", "count=2", "-o", "json")
    assert answer.code == 0
    run = WorkflowRun.model_validate(answer.json)
    assert run.metadata["name"].startswith("sales-")
    assert run.metadata["labels"] == {"nexus.dev/workflow": "sales"}
    assert {"namespace", "uid", "creationTimestamp"} <= set(run.metadata)
    assert answer.json["spec"] == {"workflowRef": {"name": "sales"}, "params": {"count": 2}, "triggeredBy": "manual"}
    assert answer.json["status"]["phase"] == "Succeeded"
    assert answer.json["status"]["tasks"][0]["output"] == {"n": 2}
    assert {entry["type"] for entry in answer.json["status"]["conditions"]} == {"Complete", "Failed", "Finished"}
    assert "saw 2" in answer.stderr
    assert "Succeeded in" in answer.stderr


def test_a_file_from_stdin_runs(tmp_path: Path) -> None:
    text = write(tmp_path, workflow(bash("one"))).read_text()
    assert nexus("run", "-f", "-", "--local", stdin=text).code == 0


def test_a_workflow_run_in_the_file_names_what_runs_and_the_flag_wins_over_its_params(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        workflow(bash("first", "exit 1"), name="first"),
        workflow(bash("count", COUNT), name="second", params=[*COUNTED["params"], {"name": "more", "default": "a"}]),
        workflow_run("second", params={"count": 5, "more": "b"}),
    )
    answer = nexus("run", "-f", file, "--local", "-p", "count=7", "-o", "json")
    assert answer.code == 0, answer.stderr
    assert answer.json["spec"]["workflowRef"] == {"name": "second"}
    assert answer.json["spec"]["params"] == {"count": 7, "more": "b"}
    assert answer.json["metadata"]["name"].startswith("second-")


def test_an_inline_definition_runs(tmp_path: Path) -> None:
    file = write(tmp_path, workflow_run("own", workflowSpec={"tasks": [bash("one")]}))
    answer = nexus("run", "-f", file, "--local", "-o", "json")
    assert answer.code == 0, answer.stderr
    assert answer.json["spec"]["workflowSpec"]["tasks"][0]["name"] == "one"


def test_secrets_come_from_the_file_and_from_flags_and_show_nowhere(tmp_path: Path) -> None:
    def source(name: str, key: str) -> dict[str, object]:
        return {"secretKeyRef": {"name": name, "key": key}}

    env = [
        {"name": "A", "valueFrom": source("api", "a")},
        {"name": "B", "valueFrom": source("api", "b")},
        {"name": "C", "valueFrom": source("db", "c")},
    ]
    check = '[[ "$A$B$C" == "in-fileby-envby-file" ]]'
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "api"},
        "stringData": {"a": "in-file", "b": "x"},
    }
    (tmp_path / "c").write_text("by-file")
    file = write(tmp_path, workflow(bash("use", check, env=env)), secret)
    flags = ["--secret", "api/b=env:TOKEN", "--secret", f"db/c=file:{tmp_path / 'c'}"]
    answer = nexus("run", "-f", file, "--local", "-o", "json", *flags, TOKEN="by-env")
    assert answer.code == 0, answer.stderr
    assert not re.search("in-file|by-env|by-file", answer.stdout + answer.stderr)


# Refused before anything starts


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2, (answer.stdout, answer.stderr)
    assert answer.stdout == ""
    for word in words:
        assert word in answer.stderr


def test_what_is_missing_for_the_run_is_named_all_at_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    token = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}
    file = write(
        tmp_path,
        workflow(
            bash("first", f"touch {started}"),
            bash("use", env=[token]),
            {"name": "publish", "container": {"image": "x"}},
            **COUNTED,
        ),
    )
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bash").symlink_to("/bin/bash")
    answer = nexus("run", "-f", file, "--local", "-p", "count=true", "-p", "cuont=1", PATH=str(folder))
    refused(
        answer,
        f"{file}:1:",
        "task use: Secret api/token is missing: give it with --secret api/token=env:VARIABLE",
        "task publish, container: container tasks require docker or podman",
        "params.count: must be an integer, got boolean true",
        'params.cuont: unknown param "cuont"; did you mean "count"?',
    )
    assert not started.exists()


def test_a_param_that_cannot_be_read_hides_no_other_and_none_is_given_twice(tmp_path: Path) -> None:
    params = [*COUNTED["params"], {"name": "day"}, {"name": "stage", "enum": ["test"]}, {"name": "all", "default": ""}]
    file = write(tmp_path, workflow(bash("one"), params=params))
    given = ["count=x", "stage=prod", "all=a", "all=b", "nosuch=1", "alone"]
    answer = nexus("run", "-f", file, "--local", *[part for text in given for part in ("-p", text)])
    refused(answer)
    no_json = "Expecting value: line 1 column 1 (char 0)"
    assert [line.partition("params.")[2] or line for line in answer.stderr.splitlines()] == [
        f'--param count: must be an integer in JSON, got "x" ({no_json}); for example count=3',
        "--param all: duplicate; keep one of them",
        "--param alone: expected NAME=VALUE",
        'nosuch: unknown param "nosuch"; the workflow has count, day, stage, all',
        "day: missing value, and no default; give one with --param day=... or in spec.params",
        'stage: must be one of ["test"], got "prod"',
    ]


def test_each_problem_is_a_line_with_its_place(tmp_path: Path) -> None:
    text = f"""\
apiVersion: {API_VERSION}
kind: Workflow
metadata: {{name: sales}}
spec:
  tasks:
  - name: one
    bash: {{command: "true"}}
  - name: two
    dependsOn: [oen]
    bash:
      command: echo ${{{{ params.x }}}}
"""
    file = write(tmp_path, text)
    answer = nexus("run", "-f", file, "--local")
    refused(answer)
    code = (
        "${{ }} is not allowed here, a value would become code; "
        'params are variables, as in "$PARAM_DAY"; give everything else in env'
    )
    assert answer.stderr.splitlines() == [
        f'{file}:9:17: task two, dependsOn[0]: unknown task "oen"; did you mean "one"?',
        f"{file}:11:21: task two, bash.command: {code}",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "say what to run"),
        (["run", "--local"], "nexus run -f FILE --local"),
        (["run", "-f", "x.yaml"], "kubectl apply -f x.yaml"),
        (["run", "sales", "-f", "x.yaml", "--local"], "not both"),
        (["run", "sales", "--secret", "a/b=env:C"], "--secret is for --local"),
        (["run", "-f", "nosuch.yaml", "--local"], "nosuch.yaml: cannot be read: No such file or directory"),
        (["run", "-f", "{file}", "--local", "-p", "count"], "expected NAME=VALUE"),
        (["run", "-f", "{file}", "--local", "-p", "count=x"], 'must be an integer in JSON, got "x"'),
        (["run", "-f", "{file}", "--local", "-p", "count=NaN"], 'must be an integer in JSON, got "NaN"'),
        (["run", "-f", "{file}", "--local", "--secret", "hunter2"], "NAME/KEY=env:VARIABLE"),
        (["run", "-f", "{file}", "--local", "--secret", "a/b=env:NOPE"], "environment variable NOPE is not set"),
        (["run", "-f", "{file}", "--local", "--secret", "a/b=file:nope"], "cannot read nope"),
        (["run", "sales"], "no cluster configuration found"),
        (["get"], "no cluster configuration found"),
        (["logs", "sales-x7k2p"], "no cluster configuration found"),
        (["operator"], "no cluster configuration found"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_may_have_been(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    file = write(tmp_path, workflow(bash("one"), **COUNTED))
    refused(nexus(*[argument.format(file=file) for argument in arguments], cwd=tmp_path), words)


def test_a_secret_given_in_place_of_a_reference_is_not_repeated(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("one")))
    answer = nexus("run", "-f", file, "--local", "--secret", "api/token=hunter2")
    refused(answer, "--secret api/token: expected")
    assert "hunter2" not in answer.stderr


def test_a_file_without_a_workflow_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}})
    refused(nexus("run", "-f", file, "--local"), "no Workflow found")


def test_a_run_of_a_workflow_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("one")), workflow_run("sails"))
    refused(nexus("run", "-f", file, "--local"), 'workflowRef: unknown Workflow "sails"; this file has sales')


def test_the_usage_is_that_of_the_name_it_was_started_by(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-nexus"
    plugin.write_text("from nexus.cli.main import main\nmain()\n")
    for program, name in ((COMMAND, "nexus"), ([COMMAND[0], str(plugin)], "kubectl nexus")):
        shown = subprocess.run(
            [*program, "run", "--help"], env=environment(), capture_output=True, text=True, check=True
        )
        assert shown.stdout.startswith(f"Usage: {name} run ")


# Ctrl-C


def test_ctrl_c_cancels_the_run_and_exits_130(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("slow", "echo ready; sleep 30"), bash("after", "true", "slow")))
    program = subprocess.Popen(
        [*COMMAND, "run", "-f", str(file), "--local", "-o", "json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr is not None
    seen = ""
    while "ready" not in seen:
        seen = program.stderr.readline()
        assert seen, "it ended before the task ran"
    program.send_signal(signal.SIGINT)
    stdout, stderr = program.communicate(timeout=20)
    answer = Answer(program.returncode, stdout, stderr)
    assert answer.code == 130
    assert answer.json["status"]["phase"] == "Cancelled"
    assert "Ctrl-C again" in answer.stderr


def hung_up(tmp_path: Path, **env: str) -> Path:
    """A run whose terminal has gone while its task was at work; the file that its finally has left."""
    left = tmp_path / "left"
    final = [{"name": "clean", "bash": {"command": f'echo "$NEXUS_RUN_PHASE" > {left}'}}]
    file = write(tmp_path, workflow(bash("long", "echo at work; exec sleep 30"), **{"finally": final}))
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        ["setsid", "--ctty", *COMMAND, "run", "-f", str(file), "--local"],
        env=environment(COLUMNS="80", LINES="24", **env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"at work" not in seen:
        seen += os.read(ours, 65536)
    os.close(ours)
    assert program.wait(20) == 130
    return left


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_the_end_of_the_terminal_ends_a_run_as_ctrl_c_does(tmp_path: Path, term: str) -> None:
    assert hung_up(tmp_path, TERM=term).read_text() == "Cancelled\n"


def test_a_hang_up_that_is_ignored_is_no_end(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("long", "echo at work; sleep 1")))
    program = subprocess.Popen(
        ["nohup", *COMMAND, "run", "-f", str(file), "--local"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout is not None
    while "at work" not in program.stdout.readline():
        assert program.poll() is None
    program.send_signal(signal.SIGHUP)
    assert "Succeeded" in program.communicate(timeout=20)[0]
    assert program.returncode == 0


# On a terminal


CTRL_C = "\x03"


def on_a_terminal(*arguments: str, typed: Sequence[tuple[str, str]] = (), status: int = 0, **env: str) -> str:
    """All that the program writes to a terminal of 24 lines by 80 columns; of `typed`, each text is typed once what
    stands before it was written."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(**{"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **env}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    left = list(typed)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if left and left[0][0].encode() in written:
            text = left.pop(0)[1]
            if text == CTRL_C:  # no terminal of a session, which would turn the key into the signal
                program.send_signal(signal.SIGINT)
            else:
                os.write(ours, text.encode())
        if select.select([ours], [], [], 0.5)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
    os.close(ours)
    assert program.wait(10) == status
    return written.decode()


def test_a_terminal_shows_the_tasks_live_and_their_lines_above(tmp_path: Path) -> None:
    steps = [bash("one", "echo hello from one; sleep 0.4"), bash("two", "true", "one"), bash("three", "exit 0", "two")]
    text = on_a_terminal("run", "-f", str(write(tmp_path, workflow(*steps))), "--local")
    assert "▶ one" in text
    assert "✓ three" in text
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "hello from one" in plain
    assert "waiting f" in plain
    last = plain[plain.rindex("3/3") :]
    assert re.search(r"✓ one .*\r\n  ✓ two .*\r\n    ✓ three ", last)
    assert "Critical path" in last


GATE = {"name": "gate", "approval": {"message": "Load ${{ tasks.count.output.rows }} rows?"}, "dependsOn": ["count"]}
ROWS = bash("count", "echo rows:=1200 >> $NEXUS_OUTPUT")


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_approval_is_asked_for_on_a_terminal(tmp_path: Path, term: str) -> None:
    file = str(write(tmp_path, workflow(ROWS, GATE, bash("load", "true", "gate"))))
    asks = "gate: Load 1200 rows? [y/n] "
    typed = [(asks, "maybe\n"), ("maybe", "y\n"), ("comment (may be empty): ", "fine by me\n")]

    text = on_a_terminal("run", "-f", file, "--local", TERM=term, typed=typed)

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert plain.count(asks) == 2
    assert '"comment": "fine by me"' in plain
    assert "Succeeded in" in plain


def test_a_person_who_says_no_on_a_terminal_fails_the_run(tmp_path: Path) -> None:
    file = str(write(tmp_path, workflow(ROWS, GATE, bash("load", "true", "gate"))))
    typed = [("[y/n] ", "no\n"), ("comment (may be empty): ", "\n")]

    text = on_a_terminal("run", "-f", file, "--local", TERM="dumb", typed=typed, status=1)

    assert re.search(r"gate +Failed .*Rejected: rejected by ", text)


def test_ctrl_c_ends_a_question_and_the_run(tmp_path: Path) -> None:
    file = str(write(tmp_path, workflow(ROWS, GATE, **{"finally": [bash("tidy", "echo tidied up")]})))

    text = on_a_terminal("run", "-f", file, "--local", TERM="dumb", typed=[("[y/n] ", CTRL_C)], status=130)

    assert re.search(r"gate +Cancelled", text)
    assert "| tidied up" in text


def test_without_a_terminal_an_approval_is_answered_beforehand_or_refused(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(ROWS, GATE, bash("load", "true", "gate")))

    refused = nexus("run", "-f", file, "--local")
    assert refused.code == 2
    assert "task gate, approval: approval required, and no terminal to ask on" in refused.stderr
    assert "--approve gate" in refused.stderr

    approved = nexus("run", "-f", file, "--local", "-o", "json", "--approve", "gate")
    assert approved.code == 0
    assert approved.json["spec"]["approvals"][0]["decision"] == "Approved"
    rejected = nexus("run", "-f", file, "--local", "--reject", "gate")
    assert rejected.code == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--approve", "gaet"], '--approve gaet: unknown task; did you mean "gate"?'),
        (["--reject", "count"], "--reject count: not an approval task; approval tasks: gate"),
        (
            ["--approve", "gate", "--reject", "gate"],
            "--approve gate and --reject gate exclude each other; keep one of them",
        ),
    ],
)
def test_an_answer_to_what_is_not_asked_is_refused(tmp_path: Path, flags: list[str], words: str) -> None:
    answer = nexus("run", "-f", write(tmp_path, workflow(ROWS, GATE)), "--local", *flags)

    assert answer.code == 2
    assert words in answer.stderr


def test_a_run_that_is_steered_by_its_file_is_refused_here(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("one")), workflow_run(suspend=True, cancel="Graceful"))

    answer = nexus("run", "-f", file, "--local")

    assert answer.code == 2
    assert "suspend: not supported for local runs, where it has no effect; remove it" in answer.stderr
    assert "cancel: not supported for local runs" in answer.stderr


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    text = on_a_terminal("run", "-f", str(write(tmp_path, workflow(bash("one")))), "--local", TERM="dumb")
    assert "\x1b" not in text
    assert re.search(r"\d\d:\d\d:\d\d one +Succeeded", text)


def test_escape_codes_in_a_log_do_not_reach_plain_output(tmp_path: Path) -> None:
    noisy = bash("noisy", "printf '\\033[2J\\033]0;title\\007\\033[31mred\\033[0m\\a\\n'")
    answer = nexus("run", "-f", write(tmp_path, workflow(noisy)), "--local")
    assert "| red" in answer.stdout
    assert not CONTROL.search(answer.stdout)
    assert "\a" not in answer.stdout


def test_a_reader_that_leaves_cancels_the_run_and_gets_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(
        "apiVersion: nexus.dev/v1alpha1\nkind: Workflow\nmetadata: {name: long}\nspec:\n  tasks:\n"
        "  - {name: talk, bash: {command: 'for n in $(seq 200); do echo line $n; sleep 0.05; done; touch "
        + str(tmp_path / "done")
        + "'}}\n"
    )
    script = f"{sys.executable} -m nexus.cli run -f {path} --local | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)

    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr
    assert not (tmp_path / "done").exists(), "the task went on unseen"


def test_a_suspended_workflow_runs_here_all_the_same_with_a_note(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(bash("a"), suspend=True, concurrency={"policy": "Forbid"}))
    answer = nexus("run", "-f", file, "--local")
    assert answer.code == 0, answer.stderr
    assert "Workflow sales is suspended; in a cluster this run would wait" in answer.stdout + answer.stderr


def test_the_items_that_failed_are_told_at_the_end_of_a_run_that_succeeded(tmp_path: Path) -> None:
    fan = bash("fan", "exit $ITEM", forEach={"items": [0, 3], "maxFailedItems": 1})

    answer = nexus("run", "-f", write(tmp_path, workflow(fan)), "--local")

    assert answer.code == 0
    assert re.search(
        r"^Failed items\n  fan  1  TaskError: exit status 3.* \(exit code 3\)$", answer.stdout, re.MULTILINE
    )
