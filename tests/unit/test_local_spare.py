"""A python task in a Python that was started before it was known which task it would be."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tests.builders import definition, task
from tests.unit.local_harness import Watcher, run_here

from nexus.adapters.local.child import Child
from nexus.adapters.local.spare import SparePython
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import WorkflowRunStatus

LOOK = """
import os, sys
output["argv"] = sys.argv
output["stdin"] = sys.stdin.read()
output["name"] = __name__
output["path"] = sys.path
output["own folder"] = os.getcwd() == os.environ["NEXUS_DIR"]
output["open"] = sorted(os.listdir("/proc/self/fd"))[:3]
output["names"] = sorted(name for name in os.environ if name != "LC_CTYPE")
output["globals"] = sorted(globals())
"""


def python(name: str, code: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, python={"code": code}, **fields)


def test_the_second_task_which_gets_the_spare_sees_what_the_first_one_saw() -> None:
    ran = run_here(definition(python("first", LOOK), python("second", LOOK, "first")))
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["second"] == ran.outputs["first"]
    assert ran.outputs["second"]["own folder"] is True
    assert ran.outputs["second"]["stdin"] == ""


def test_it_fails_as_any_other_does() -> None:
    ran = run_here(definition(python("first", "pass"), python("second", "x = 1\nraise KeyError(x)", "first")))
    assert ran.ending("second") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert ran.task("second").message == "KeyError: 1 (line 2)"
    assert not [line for line in ran.lines("second") if "prepare" in line or "<string>" in line]


def test_a_task_that_sets_what_python_reads_at_its_start_gets_a_python_of_its_own() -> None:
    code = "import sys; output['seed'] = sys.flags.hash_randomization"
    seed = [{"name": "PYTHONHASHSEED", "value": "0"}]
    ran = run_here(definition(python("first", code), python("second", code, "first", env=seed)))
    assert ran.outputs == {"first": {"seed": 1}, "second": {"seed": 0}}


def test_a_spare_that_was_killed_is_none() -> None:
    """Somebody kills the waiting Python while the first task runs: the second one is started anew."""
    killed: list[int] = []

    def act(_: WorkflowRunStatus) -> None:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                waits = stat.read_text().rsplit(")", 1)[1].split()[1] == str(os.getpid())
                if waits and b"prepare()" in (stat.parent / "cmdline").read_bytes():
                    os.kill(int(stat.parent.name), signal.SIGKILL)
                    killed.append(int(stat.parent.name))
            except (OSError, ProcessLookupError):
                continue

    first = python("first", "import time; time.sleep(0.3)")
    again = task("again", bash={"command": "sleep 0.1"})
    ran = run_here(definition(first, again, python("second", LOOK, "first", "again")), watcher=Watcher(act))
    assert killed
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message


def test_a_spare_that_nobody_took_ends(tmp_path: Path) -> None:
    async def story() -> Child:
        spare = SparePython(tmp_path, dict(os.environ))
        spare.prepare()
        (child,) = [value for value in vars(spare).values() if isinstance(value, Child)]
        await spare.close()
        return child

    child = asyncio.run(story())
    assert asyncio.run(asyncio.wait_for(child.exited(), 1)) is None
