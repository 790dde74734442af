"""Container tasks under a docker that only writes down what it was asked, and runs the entrypoint as a process."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.builders import definition, task
from tests.unit.local_harness import run_here

from nexus.adapters.local.bindings import Bindings
from nexus.api.reasons import Reason, RunPhase, TaskPhase

DOCKER = """#!{python}
import json, os, subprocess, sys
folder = {folder!r}
with open(f"{{folder}}/calls", "a") as calls:
    calls.write(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}) + "\\n")
if sys.argv[1] != "run":
    sys.exit(0)
volume = next(arg for arg in sys.argv if arg.startswith("--volume="))
log = volume.removeprefix("--volume=").partition(":")[0]
script = {script!r}
sys.exit(subprocess.run(["bash", "-c", script, "container", log]).returncode)
"""


class Docker:
    """A `docker` on the PATH; its containers run a bash script whose $1 is the termination log."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        program = folder / "docker"
        program.write_text(DOCKER.format(python=sys.executable, folder=str(folder), script=script))
        program.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Docker:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return Docker(tmp_path, script)


def test_a_container_gets_its_arguments_as_kubernetes_would_give_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = docker(tmp_path, monkeypatch, "echo working; echo '{\"n\": 2}' > $1")
    container = {
        "image": "ghcr.io/acme/publish:${{ params.tag }}",
        "command": ["/bin/publish", "--verbose"],
        "args": ["--day", "${{ params.day }}", "$(TOKEN)", "$$(TOKEN)", "$(NOBODY)"],
    }
    ran = run_here(
        definition(
            task(
                "publish",
                container=container,
                env=[
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
                    {"name": "REGION", "value": "eu"},
                    {"name": "PATH", "value": "/app"},
                ],
            ),
            params=[{"name": "tag"}, {"name": "day"}],
        ),
        params={"tag": "1", "day": "$(TOKEN); rm -rf /"},
        bindings=Bindings(secrets={"api": {"token": "s3cret"}}),
    )
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["publish"] == {"n": 2}
    assert ran.lines("publish") == ["working"]
    (call,) = fake.calls
    image = call["argv"].index("ghcr.io/acme/publish:1")
    assert call["argv"][image + 1 :] == ["--verbose", "--day", "$(TOKEN); rm -rf /", "s3cret", "$(TOKEN)", "$(NOBODY)"]
    options = call["argv"][:image]
    assert "--entrypoint=/bin/publish" in options
    assert "--user=65532:65532" in options
    assert {"--env=TOKEN", "--env=REGION", "--env=PATH=/app"} <= set(options)
    assert call["env"]["TOKEN"] == "s3cret"
    assert call["env"]["PATH"] == os.environ["PATH"]
    assert not [option for option in options if "s3cret" in option]


def test_the_exit_code_of_a_container_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, "exit 3")
    ran = run_here(definition(task("bad", container={"image": "x"})))
    assert ran.ending("bad") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert ran.task("bad").exit_code == 3


def test_what_the_runtime_says_is_the_message_where_the_container_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path, monkeypatch, "echo 'docker: Error response from daemon: manifest unknown' >&2; exit 125")
    ran = run_here(definition(task("bad", container={"image": "nope"})))
    assert ran.task("bad").phase is TaskPhase.FAILED
    assert "manifest unknown" in (ran.task("bad").message or "")


def test_a_container_that_was_stopped_is_removed_for_it_may_outlive_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = docker(tmp_path, monkeypatch, "sleep 30")
    started = time.monotonic()
    ran = run_here(definition(task("slow", container={"image": "x"}, timeoutSeconds=1)))
    assert ran.ending("slow") == (TaskPhase.FAILED, Reason.TIMEOUT)
    assert time.monotonic() - started < 15
    run, removal = fake.calls
    (name,) = [option.removeprefix("--name=") for option in run["argv"] if option.startswith("--name=")]
    assert removal["argv"] == ["rm", "--force", name]


def test_a_large_termination_message_that_is_no_json_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path, monkeypatch, "head -c 5000 /dev/zero | tr '\\0' x > $1")
    ran = run_here(definition(task("big", container={"image": "x"})))
    assert ran.ending("big") == (TaskPhase.FAILED, Reason.OUTPUT_TOO_LARGE)
    assert "python or bash" in (ran.task("big").message or "")
