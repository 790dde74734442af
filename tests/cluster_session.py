"""The cluster of a test session: it comes up when the first test asks for it, and goes down at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CRDS = ("workflows.nexus.dev", "workflowruns.nexus.dev")


def _words(*command: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "tests" / "cluster" / "cluster.py"), *command]


def _environment() -> dict[str, str]:
    return {"NEXUS_KCM_ARGS": BUSY_CONTROLLERS} | os.environ


def _cluster(command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(_words(command), env=_environment(), stdout=subprocess.PIPE, text=True, check=False)
    if check and done.returncode:
        pytest.fail(f"tests/cluster/cluster.py {command} failed, see above", pytrace=False)
    return done


def _adopt_environment() -> None:
    """Take over what `cluster.py env` prints: kubectl on the PATH, KUBECONFIG, NEXUS_AUDIT_LOG."""
    script = f"{_cluster('env').stdout}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    names = ("PATH", "KUBECONFIG", "NEXUS_AUDIT_LOG", "NEXUS_CLUSTER_LOGS")
    os.environ |= {name: value for name, value in json.loads(done.stdout).items() if name in names}


BUSY_CONTROLLERS = "--kube-api-qps=100 --kube-api-burst=200"
"""Flags of kube-controller-manager: its default, 20 requests per second, makes the Jobs of several test modules wait
for each other. $NEXUS_KCM_ARGS takes precedence."""

PROGRAMS = (("helm",), ("s3",), ("postgres",), ("prometheus",), ("load", "nexus/operator:dev=operator"))
"""Commands of cluster.py for what single test modules need; each takes minutes without its cache."""


class Start:
    """The start of the cluster, in the background: on a cold cache it takes minutes, in which other tests can run."""

    def __init__(self, *commands: tuple[str, ...]) -> None:
        """`commands` of cluster.py are run one after the other."""
        self._commands = commands
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for words in self._commands:
            with self._lock:
                if self._stopped:
                    return
                self._process = subprocess.Popen(
                    _words(*words), env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True
                )
            # The fixture that needs it runs the command again, and fails with its message.
            if self._process.wait() != 0:
                return

    def ended(self) -> bool:
        """Return whether it is up, or failed to come up."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the command that runs, and wait for it."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        self._thread.join()


class SessionCluster:
    """Ends the cluster that the session brought up; one that was up before stays up.

    This is for the process that outlives the others: those that pytest-xdist starts end without their fixtures where
    the session is interrupted.
    """

    _start: Start | None = None

    def bring_up(self, programs: bool) -> Callable[[], bool]:
        """Start the cluster in the background, with all `programs` or without; return what tells whether that ended.

        A cluster that $KUBECONFIG_E2E names is up.
        """
        if os.environ.get("KUBECONFIG_E2E"):
            return lambda: True
        self._start = Start(("up",), *(PROGRAMS if programs else ()))
        return self._start.ended

    def pytest_sessionstart(self) -> None:
        """Note what is there, and let SIGTERM end the session as Ctrl-C does."""
        runs = re.search("kube-apiserver +healthy", _cluster("status", check=False).stdout)
        self.was_up = bool(os.environ.get("KUBECONFIG_E2E") or runs)
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """After all processes of the session have ended."""
        if self._start is not None:
            self._start.stop()
        if not self.was_up and "not up" not in _cluster("status", check=False).stdout:
            _cluster("down", check=False)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of a cluster whose administrator the tests are, with this checkout's CRDs.

    It goes down with the session, see `SessionCluster`.
    KUBECONFIG_E2E names another cluster, with kubectl on the PATH and the task images on its nodes.
    """
    given = os.environ.get("KUBECONFIG_E2E")
    if not given:
        _cluster("up")
        _adopt_environment()
    path = Path(given or os.environ["KUBECONFIG"])
    kubectl = ["kubectl", "--kubeconfig", str(path)]
    apply = [*kubectl, "apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds")]
    subprocess.run(apply, stdout=subprocess.DEVNULL, check=True)
    until_served(kubectl, *CRDS)
    return path


def until_served(kubectl: list[str], *kinds: str) -> None:
    """Return when the API server answers about kinds whose CRDs have just come; fail the test after a minute.

    `kubectl wait` fails at once on a CRD so new that it has no conditions, and Established comes before the storage.
    """
    until = time.monotonic() + 60
    while True:
        done = subprocess.run([*kubectl, "get", ",".join(kinds), "-A"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > until:
            pytest.fail(f"{', '.join(kinds)} are not served: {done.stderr}", pytrace=False)
        time.sleep(0.2)
