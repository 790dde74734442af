"""The chart as a person installs it: helm, and the operator's image on the node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.scheduling import assert_whole_cluster

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "nexus"
CLUSTER = REPOSITORY / "tests" / "cluster" / "cluster.py"


def cluster(*words: str) -> str:
    """What a command of tests/cluster/cluster.py prints; it has to succeed."""
    return subprocess.run([sys.executable, str(CLUSTER), *words], stdout=subprocess.PIPE, text=True, check=True).stdout


class Helm:
    """helm, with the tests' kubeconfig or, for what needs no cluster, without one."""

    def __init__(self, program: str, kubeconfig: Path | None = None) -> None:
        self._program, self._kubeconfig = program, kubeconfig

    def __call__(self, *words: str, fails: bool = False) -> str:
        """What helm prints; where it is to fail, what it says about it."""
        environment = dict(os.environ) | ({"KUBECONFIG": str(self._kubeconfig)} if self._kubeconfig else {})
        done = subprocess.run([self._program, *words], capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode != 0) is fails, f"helm {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    def template(self, *words: str, namespace: str = "nexus") -> list[dict[str, Any]]:
        """The objects of the chart with these values."""
        text = self("template", "nexus", str(CHART), "--namespace", namespace, *words)
        return [found for found in yaml.safe_load_all(text) if found]


class Release:
    """One installation of the chart, in the cluster."""

    def __init__(self, helm: Helm, namespace: str, name: str = "nexus") -> None:
        self._helm, self.namespace, self.name = helm, namespace, name

    def install(self, *words: str) -> str:
        """Install it, or upgrade it, and wait until the operator is ready; returns the notes.

        The CRDs that the session has applied become the release's.
        """
        assert_whole_cluster()
        # Without --reset-values an upgrade that gives no values has those of the one before.
        place = ["--namespace", self.namespace, "--wait", "--timeout", "120s", "--take-ownership", "--reset-values"]
        return self._helm("upgrade", "--install", self.name, str(CHART), *place, *words)

    def uninstall(self) -> str:
        """Uninstall it; returns what helm says about it."""
        return self._helm("uninstall", self.name, "--namespace", self.namespace, "--wait", "--timeout", "60s")

    def manifest(self) -> list[dict[str, Any]]:
        """The objects that it has installed."""
        text = self._helm("get", "manifest", self.name, "--namespace", self.namespace)
        return [found for found in yaml.safe_load_all(text) if found]
