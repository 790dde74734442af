"""The page on extending, followed literally: its blocks are applied to a copy of the source, which is then run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text("utf-8")
# The file that a block is about is the last one named at the start of a line.
BLOCK = re.compile(r"^`([\w./]+)`[^\n]*:$|^```(diff|python|yml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ON_A_CLUSTER = """
import json
from tests.builders import definition, spec, task
from tests.operators import Story
from nexus.adapters.cel.pool import CelEvaluator
from nexus.adapters.fake import Outcome
from nexus.adapters.kube.client.api import JOBS

with CelEvaluator() as evaluator:
    subject = spec(
        task("resolve", dns={"host": "${{ params.host }}"}, retry={"limit": 3, "onReasons": ["OutOfMemory"]}),
        params=[{"name": "host", "default": "localhost"}],
    )
    story = Story(subject, evaluator)
    outcome = Outcome(message=json.dumps({"output": {"addresses": ["::1"]}}))
    story.cluster.script("resolve", outcome)
    story.operator()
    status = story.run()
    (job,) = story.cluster.objects(JOBS)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    handed = {entry["name"]: entry["value"] for entry in container["env"]}
    print(json.dumps({"phase": status.phase, "mechanism": status.tasks[0].mechanism, "image": container["image"],
                      "output": status.to_json()["tasks"][0]["output"], "task": json.loads(handed["NEXUS_TASK_JSON"]),
                      "backoffLimit": job["spec"]["backoffLimit"]}))
    story.close()
"""
RETRIES = """
from datetime import datetime, UTC
from nexus.api.reasons import Reason
from nexus.api.tasks import Retry
from nexus.core.model.retry import RetryPolicy
from nexus.core.tasks.evidence import Failed
from nexus.core.tasks.retries import next_attempt_after

policy = RetryPolicy.of(Retry.model_validate({"limit": 3, "onReasons": ["Timeout", "OutOfMemory"]}))
now = datetime.now(UTC)
print([reason.value for reason in Reason if next_attempt_after(Failed(reason, "", at=now), policy, 1, whose="")])
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source to which every block of the page is applied."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(REPOSITORY / "operator" / "nexus", root / "operator" / "nexus")
    (root / "tests" / "unit").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests" / "unit" / "test_task_types.py", root / "tests" / "unit")
    file = None
    for named, language, text in BLOCK.findall(PAGE):
        if named:
            file = root / named
        elif language == "diff":
            assert file is not None
            file.write_text(changed(file.read_text("utf-8"), text, str(file)), "utf-8")
        else:
            assert file is not None
            assert not file.exists(), f"{file} is there already"
            file.write_text(text, "utf-8")
    return root


def changed(source: str, diff: str, where: str) -> str:
    """The source with a block in it: what is there stands there once, line by line."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert source.count(f"\n{before}") == 1, f"{where} has {source.count(before)} times:\n{before}"
    return source.replace(f"\n{before}", f"\n{after}")


def run(extended: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(extended / "operator"), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd=extended,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_type_of_the_page_runs_locally(extended: Path) -> None:
    run(extended, "-m", "nexus.cli", "lint", "--strict", "dns.yaml")
    ended = json.loads(run(extended, "-m", "nexus.cli", "run", "-f", "dns.yaml", "--local", "-o", "json"))
    (resolved,) = ended["status"]["tasks"]
    assert resolved["output"] == {"addresses": ["127.0.0.1"]}


def test_the_type_of_the_page_runs_on_a_cluster_and_goes_by_the_policy_of_the_page(extended: Path) -> None:
    assert json.loads(run(extended, "-c", ON_A_CLUSTER)) == {
        "phase": "Succeeded",
        "mechanism": "Job",
        "image": "nexus/task-python:dev",
        "output": {"addresses": ["::1"]},
        "task": {"host": "localhost", "family": None},
        "backoffLimit": 0,
    }


def test_the_policy_of_the_page_retries_the_reasons_that_it_names(extended: Path) -> None:
    assert run(extended, "-c", RETRIES).strip() == "['OutOfMemory', 'Timeout']"


def test_the_crds_have_what_the_page_adds(extended: Path) -> None:
    (extended / "crds").mkdir()
    run(extended, "-m", "nexus.api.crd", "crds")
    text = (extended / "crds" / "workflows.nexus.dev.yaml").read_text("utf-8")
    assert "Resolve a host name." in text
    assert "onReasons:" in text
    assert "has(self.dns)" in text
