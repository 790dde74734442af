"""The operator as a process of its own, which tests start, stop and kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# A log line of these kinds is a bug, whatever else the run came to.
ALARMS = re.compile(r'^Traceback|^[-\d]+ [:,\d]+ (ERROR|CRITICAL) |"level": "(ERROR|CRITICAL)"', re.MULTILINE)
REACTION = re.compile(r"run \S+?/(\S+): start task (\S+) as \S+ react_ms=([\d.]+)")


class OperatorProcess:
    """One copy of the operator, with the rights of its kubeconfig, for some namespaces or (none named) for all."""

    def __init__(
        self, kubeconfig: Path, log: Path, *namespaces: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self.kubeconfig, self.log_file, self.namespaces = kubeconfig, log, namespaces
        self.settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; tests see that it works by what it does."""
        assert self._process is None, "it runs already"
        words = [word for name in self.namespaces for word in ("--namespace", name)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
        environment |= self.settings
        environment |= {"KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(REPOSITORY / "operator")}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nexus.cli", "operator", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9: nothing is finished, nothing is told. Its own children are left to find out by themselves."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self, seconds: float = 10) -> int | None:
        """End it as Kubernetes would; returns its exit status, None where it did not run."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"the operator did not end within {seconds} s of SIGTERM\n{self.tail()}") from None

    def freeze(self) -> None:
        """Stop it where it is: no clock of its own stands still, but it does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ended(self, seconds: float) -> int:
        """The exit status of one that is to end by itself."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {seconds} s\n{self.tail()}") from None
        finally:
            if self._process.returncode is not None:
                self._process = None

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    @property
    def running(self) -> bool:
        """False before the start, and after an end that nobody asked for too."""
        return self._process is not None and self._process.poll() is None

    @property
    def died(self) -> bool:
        """True after an end that nobody asked for."""
        return self._process is not None and self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Its process id, which is its session's and its process group's too."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """All it has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def alarms(self) -> list[str]:
        """What it logged that it never should, each with the lines that follow."""
        text = self.log()
        return [text[found.start() : found.start() + 2_000] for found in ALARMS.finditer(text)][:3]

    def reactions(self, run: str) -> dict[str, float]:
        """For each started task of a run, how many seconds its Job waited after the event that made it due."""
        found = REACTION.findall(self.log())
        return {task: float(milliseconds) / 1_000 for name, task, milliseconds in found if name == run}


def survivors(session: int, seconds: float = 5) -> list[str]:
    """Processes of a killed operator's session that are still there after a while."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(
            ["ps", "-o", "pid=,args=", "-s", str(session)], capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines()
        if not lines or time.monotonic() > deadline:
            return lines
        time.sleep(0.1)
