"""Starting, finding and ending the cluster's long-lived processes.

There are no pid files: every process carries the cluster's state directory in its environment, which /proc shows. A pid
file can be stale (the pid belongs to another by now) or missing (we were killed between fork and write); this mark can
be neither.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from nexus_cluster.settings import Settings
from nexus_cluster.shell import COMPONENT, MARK, Failed, environment


def start(settings: Settings, component: str, argv: Sequence[str | Path], enter: Sequence[str] = ()) -> None:
    """Start a component in its own session, writing to its log; `enter` is a prefix that puts it in a namespace."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    words = [*enter, *(str(word) for word in argv)]
    with (settings.logs / f"{component}.log").open("ab") as log:
        # Only what they need of our environment: a proxy that is meant for the internet would swallow their calls.
        subprocess.Popen(
            words,
            env=environment(settings, component, inherit=("PATH", "HOME")),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def run_to_daemon(settings: Settings, component: str, argv: Sequence[str], extra: dict[str, str]) -> None:
    """Run a program that forks into the background and returns when it is ready; raise Failed if it says it is not."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    path = settings.logs / f"{component}.log"
    with path.open("ab") as log:
        marked = environment(settings, component, extra)
        done = subprocess.run(argv, env=marked, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise Failed(f"{component} did not start:\n{path.read_text(errors='replace')[-2000:]}")


def running(settings: Settings) -> dict[str, list[int]]:
    """Return the live processes of the cluster: component to pids. A container's processes are not among them."""
    found: dict[str, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            component = _component(settings, int(entry.name))
            if component:
                found.setdefault(component, []).append(int(entry.name))
    return found


def stop(settings: Settings, first: str | None = None) -> None:
    """End all processes of the cluster: ask, wait a little, then kill.

    With `first`, that component is killed at once and before the others: for the first process of a pid namespace this
    makes the kernel kill whatever runs in it, containers included. Raises Failed if a process survives.
    """
    for pid in running(settings).get(first, []) if first else []:
        _signal(settings, pid, signal.SIGKILL)
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0)):
        until = time.monotonic() + patience
        pids = _signal_all(settings, number)
        while pids and time.monotonic() < until:
            time.sleep(0.05)
            pids = [pid for found in running(settings).values() for pid in found]
        if not pids:
            return
    raise Failed(f"these processes of the cluster do not end: {running(settings)}")


def _signal_all(settings: Settings, number: signal.Signals) -> list[int]:
    pids = [pid for found in running(settings).values() for pid in found]
    for pid in pids:
        _signal(settings, pid, number)
    return pids


def _signal(settings: Settings, pid: int, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # The pid may have passed to another process since it was listed. From here on the handle stands for one
        # process: only if that one carries the mark is it ours.
        if _component(settings, pid):
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _component(settings: Settings, pid: int) -> str | None:
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    variables = dict(entry.split(b"=", 1) for entry in block.split(b"\0") if b"=" in entry)
    if variables.get(MARK.encode()) != str(settings.state).encode():
        return None
    return variables.get(COMPONENT.encode(), b"command").decode()
