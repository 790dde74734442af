"""Running commands, telling progress, and the two ways in which this program gives up."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nexus_cluster.settings import Settings

MARK = "NEXUS_CLUSTER_STATE"
"""The environment variable that tells which cluster (by its state directory) has started a process."""

COMPONENT = "NEXUS_CLUSTER_COMPONENT"
"""The environment variable that tells which part of the cluster a process is."""

LOCK_SECONDS = 1800.0
"""How long one command waits for another of the same cluster: a build on cold caches takes a third of this."""


class Refused(Exception):
    """The machine or its present state does not allow what was asked for; the message says what to do (exit code 2)."""


class Failed(Exception):
    """Something that should have worked did not (exit code 1)."""


def say(message: str) -> None:
    """Tell progress on stderr; stdout is for what a shell may evaluate."""
    print(message, file=sys.stderr, flush=True)


def environment(
    settings: Settings, component: str, extra: dict[str, str] | None = None, inherit: Sequence[str] | None = None
) -> dict[str, str]:
    """Return the environment for a child process, marked so that `down` finds it even where its parent was killed.

    It has our variables, or only those named in `inherit`, and `extra`.
    """
    ours = {name: value for name, value in os.environ.items() if inherit is None or name in inherit}
    return {**ours, **(extra or {}), MARK: str(settings.state), COMPONENT: component}


def run(
    settings: Settings,
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    extra: dict[str, str] | None = None,
) -> str:
    """Run a command to its end and return its stdout; raise Failed, with the end of what it wrote, if it fails."""
    words = [str(word) for word in argv]
    if shutil.which(words[0]) is None:
        raise Refused(f"{words[0]} is not installed: install it, or put it on the PATH")
    marked = environment(settings, "command", extra)
    done = subprocess.run(words, cwd=cwd, env=marked, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        tail = "\n".join(output.splitlines()[-25:])
        raise Failed(f"{' '.join(words)[:300]} ended with {done.returncode}:\n{tail}")
    return done.stdout.decode(errors="replace")


def wait_until(what: str, holds: Callable[[], bool], seconds: float, logs: Path) -> None:
    """Return as soon as `holds()` is true; raise Failed, naming the folder of the logs, after `seconds`."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise Failed(f"waited {seconds:.0f} s in vain for {what}; the logs are in {logs}")
        time.sleep(0.1)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the cluster's lock, so that two calls of `up` or `down` cannot fight; the kernel frees it when we die.

    Whoever comes second waits. Raises Refused after LOCK_SECONDS.
    """
    settings.cache.mkdir(parents=True, exist_ok=True)
    path = settings.cache / f"{settings.flavor.value}.lock"
    with path.open("a+") as lock:
        until, told = time.monotonic() + LOCK_SECONDS, False
        while not _taken(lock):
            lock.seek(0)
            holder = lock.read().strip()
            if time.monotonic() > until:
                raise Refused(
                    f"another command has been at work on this cluster for {LOCK_SECONDS / 60:.0f} min ({holder})"
                )
            if not told:
                say(f"waiting for another command that is at work on this cluster ({holder})")
                told = True
            time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}, from {settings.repository}\n")
        lock.flush()
        yield
