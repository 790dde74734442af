"""Python tasks that are forked from a Python which waits for them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.builders import definition, task
from tests.unit.local_harness import Watcher, run_here

from nexus.adapters.local.child import Child
from nexus.adapters.local.fork_server import ForkServer
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import WorkflowRunStatus

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without pidfds there is no fork server")

LOOK = """
import os, sys
output["argv"] = sys.argv
output["stdin"] = sys.stdin.read()
output["name"] = __name__
output["path"] = sys.path
output["own folder"] = os.getcwd() == os.environ["NEXUS_DIR"]
output["own group"] = os.getpgid(0) == os.getpid()
output["open"] = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
output["names"] = sorted(name for name in os.environ if name not in ("LC_CTYPE", "PYTHONHASHSEED"))
output["globals"] = sorted(globals())
output["forked"] = os.path.basename(open(f"/proc/{os.getppid()}/cmdline").read().split("\\0")[1]) == "-c"
"""
OWN = {"env": [{"name": "PYTHONHASHSEED", "value": "0"}]}


def python(name: str, code: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, python={"code": code}, **fields)


def server_pid() -> int:
    """The process id of the one fork server that this process has."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"become_a_task()" in (stat.parent / "cmdline").read_bytes():
                return int(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise LookupError("there is no fork server")


def test_a_forked_task_sees_what_one_with_a_python_of_its_own_sees() -> None:
    ran = run_here(definition(python("forked", LOOK), python("started", LOOK, **OWN)))
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    forked, started = dict(ran.outputs["forked"]), dict(ran.outputs["started"])
    assert (forked.pop("forked"), started.pop("forked")) == (True, False)
    assert forked == started
    assert forked["own folder"] is forked["own group"] is True


def test_it_fails_as_any_other_does() -> None:
    code = "x = 1\nraise KeyError(x)"
    ran = run_here(definition(python("forked", code), python("started", code, **OWN)))
    assert ran.ending("forked") == ran.ending("started") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert ran.task("forked").message == ran.task("started").message == "KeyError: 1 (line 2)"
    assert ran.lines("forked") == ran.lines("started")


def test_a_task_that_sets_what_python_reads_at_its_start_gets_a_python_of_its_own() -> None:
    code = "import sys; output['seed'] = sys.flags.hash_randomization"
    ran = run_here(definition(python("forked", code), python("started", code, **OWN)))
    assert ran.outputs == {"forked": {"seed": 1}, "started": {"seed": 0}}


def test_signals_reach_all_of_a_forked_task(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    code = f"import subprocess; subprocess.run('while sleep 0.1; do date > {alive}; done', shell=True)"
    ran = run_here(definition(python("slow", code, timeoutSeconds=1)))
    assert ran.ending("slow") == (TaskPhase.FAILED, Reason.TIMEOUT)
    before = alive.read_text()
    time.sleep(1.1)
    assert alive.read_text() == before


def test_a_signal_that_ends_a_forked_task_is_in_its_exit_code() -> None:
    ran = run_here(definition(python("dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")))
    assert ran.task("dies").exit_code == 137


def test_many_at_once_are_told_apart() -> None:
    tasks = [python(f"t{n}", f"import sys, time; time.sleep(0.2); output['n'] = {n}; sys.exit({n})") for n in range(6)]
    ran = run_here(definition(*tasks))
    assert {name: ran.task(name).exit_code for name in (f"t{n}" for n in range(6))} == {f"t{n}": n for n in range(6)}


def test_tasks_run_without_a_server_that_was_killed() -> None:
    killed: list[int] = []

    def act(status: WorkflowRunStatus) -> None:
        first = next((entry for entry in status.tasks or () if entry.name == "first"), None)
        if first is not None and first.phase is TaskPhase.SUCCEEDED and not killed:
            killed.append(server_pid())
            os.kill(killed[0], signal.SIGKILL)

    tasks = [
        python("first", "pass"),
        task("between", "first", bash={"command": "true"}),
        python("last", LOOK, "between"),
    ]
    ran = run_here(definition(*tasks), watcher=Watcher(act))
    assert killed
    assert ran.phase is RunPhase.SUCCEEDED, ran.status.message
    assert ran.outputs["last"]["forked"] is False


def test_a_task_whose_server_was_killed_has_its_own_exit_code() -> None:
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    ran = run_here(
        definition(
            python("good", "import time; time.sleep(1); output['n'] = 1"),
            python("bad", "import sys, time; time.sleep(1); sys.exit(3)"),
            python("killer", f"import time; time.sleep(0.3); {kill}"),
        )
    )
    assert ran.outputs["good"] == {"n": 1}
    codes = {entry.name: entry.exit_code for entry in ran.status.tasks or ()}
    assert codes["bad"] == 3


def test_closing_ends_the_server(tmp_path: Path) -> None:
    async def story() -> tuple[int, Child | None]:
        server = ForkServer(tmp_path, dict(os.environ))
        pid = server_pid()
        server.close()
        return pid, server.start(tmp_path, dict(os.environ), {}, lambda _: None)

    pid, child = asyncio.run(story())
    assert child is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
