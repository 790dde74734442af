"""The CLI against a real cluster: a run is made, followed, shown, and its logs are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Space, bash, container, phases, python, task

from nexus.adapters.kube.client.api import WORKFLOWS

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

REPOSITORY = Path(__file__).parents[2]


class Cli:
    """The program, in the namespace of the tests."""

    def __init__(self, space: Space) -> None:
        self._options = ["--namespace", space.namespace, "--kubeconfig", str(space.kubeconfig)]
        self._environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator"), "NO_COLOR": "1", "COLUMNS": "200"}

    def start(self, command: str, *words: str) -> subprocess.Popen[str]:
        """The program at work."""
        arguments = [sys.executable, "-m", "nexus.cli", command, *self._options, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=self._environment)

    def __call__(self, *words: str, status: int = 0) -> tuple[str, str]:
        """What it prints on stdout and stderr, once it has ended with this status."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=90)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == status, f"exit status {process.returncode}\n{out}\n{err}"
        return out, err


@pytest.fixture(scope="module")
def cli(space: Space, operator: OperatorProcess) -> Cli:
    """The program, and a workflow to run."""
    assert operator.running
    greet = python("greet", "output['text'] = f\"Hello, {params['name']}!\"\nprint('greeting', params['name'])")
    speak = bash("speak", 'for i in 1 2 3; do echo "line $i"; sleep 0.3; done; [ "$PARAM_NAME" != nobody ]', "greet")
    space.workflow("hello", greet, speak, params=[{"name": "name", "default": "you"}])
    return Cli(space)


def test_a_run_is_followed_to_its_end_and_ends_the_program_with_its_status(space: Space, cli: Cli) -> None:
    out, err = cli("run", "hello", "--watch", "--param", "name=Ada & 'Bob'")
    told = out + err
    assert "greet" in told
    assert "Succeeded" in told
    (run,) = json.loads(space.kubectl("get", "nwr", "-o", "json"))["items"]
    assert run["spec"]["params"] == {"name": "Ada & 'Bob'"}
    assert space.output(run, "greet") == {"text": "Hello, Ada & 'Bob'!"}
    assert run["metadata"]["ownerReferences"][0]["name"] == "hello"
    assert run["metadata"]["name"] in cli("get")[0]
    shown = cli("get", run["metadata"]["name"])[0]
    assert "speak" in shown
    assert "Succeeded" in shown
    logs = cli("logs", run["metadata"]["name"])[0]
    assert "greeting Ada & 'Bob'" in logs
    assert "line 3" in logs


def test_a_failed_run_ends_the_program_with_1_and_a_refused_one_with_2(cli: Cli) -> None:
    failed = json.loads(cli("run", "hello", "--watch", "--param", "name=nobody", "-o", "json", status=1)[0])
    why, _ = cli("why", failed["metadata"]["name"])
    assert "\nspeak: Failed TaskError" in why
    assert f"nexus logs {failed['metadata']['name']} speak" in why
    _, err = cli("run", "helo", status=2)
    assert "hello" in err
    _, err = cli("run", "hello", "--param", "nam=x", status=2)
    assert "name" in err


def test_a_finished_run_is_printed_as_the_cluster_has_it(space: Space, cli: Cli) -> None:
    out, _ = cli("run", "hello", "--watch", "-o", "json")
    printed = json.loads(out)
    stored = json.loads(space.kubectl("get", "nwr", printed["metadata"]["name"], "-o", "json"))
    assert printed["status"] == stored["status"]
    assert phases(printed) == {"greet": "Succeeded", "speak": "Succeeded"}


def test_logs_are_followed_while_the_task_runs(space: Space, cli: Cli) -> None:
    space.run("slow", container("first"), container("slow", "sh", "-c", "echo early; sleep 15; echo late"))
    run = space.running("slow", "slow")
    assert task(run, "slow")["phase"] == "Running"
    with cli.start("logs", "slow", "slow", "-f") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "early" in first
        # The line came while its task ran: it was followed, not read afterwards.
        now = space.until("slow", lambda _: True)
        assert task(now, "slow")["phase"] == "Running"
        rest, _ = process.communicate(timeout=60)
    assert "late" in rest
    assert process.returncode == 0


def test_versions_are_told_and_compared(space: Space, cli: Cli) -> None:
    space.workflow("edited", bash("a", "true"))
    space.run_of("edited", "before-it")
    space.finished("before-it", 60)
    space.patch(WORKFLOWS, "edited", {"spec": {"description": "Now with words."}})
    space.run_of("edited", "after-it")
    named = space.finished("after-it", 60)["status"]["revision"]
    rows = cli("history", "edited")[0].splitlines()
    assert [" ".join(row.split()[:2]) for row in rows] == ["REVISION AGE", "2 (current)", "1 " + rows[2].split()[1]]
    assert rows[1].split()[3:] == ["after-it", "description", "added"]
    found = json.loads(cli("history", "edited", "-o", "json")[0])["revisions"]
    assert [(entry["name"] == named, entry["runs"]) for entry in found] == [
        (True, ["after-it"]),
        (False, ["before-it"]),
    ]
    changed = cli("diff", "edited", "before-it", status=1)[0].splitlines()
    assert changed[:2] == ["--- edited revision 1", "+++ edited revision 2 (current)"]
    assert "+description: Now with words." in changed
    assert "are the same" in cli("diff", "edited", "2")[0]
