"""`hostile_rss`: the most memory that an operator process takes with the worst hundred objects of each kind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.results import Row
from tests.hostile import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
LISTED_SECONDS, WATCHED_SECONDS = 10.0, 12.0
"""How long an operator is left with what it listed, and then with what the watches told."""


def hostile_rss(scenarios: tuple[str, ...] = tuple(SCENARIOS)) -> list[Row]:
    """The worst of the scenarios, each with an operator of its own."""
    found = {scenario: _peak(scenario) for scenario in scenarios}
    for scenario, mebibytes in found.items():
        sys.stderr.write(f"hostile_rss {scenario}: {mebibytes:.0f} MiB\n")
    return [Row("hostile_rss", max(found.values()), "MiB", target=256)]


def _peak(scenario: str) -> float:
    with tempfile.TemporaryDirectory() as folder, _server(scenario) as port, _operator(Path(folder), port) as process:
        time.sleep(LISTED_SECONDS)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/late") as answer:
            answer.read()
        time.sleep(WATCHED_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"{scenario}: the operator ended with {process.poll()}")
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def _server(scenario: str) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.hostile", scenario]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _operator(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An operator with the allocator's settings of the image."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    environment = {
        **inherited,
        "KUBECONFIG": str(kubeconfig),
        "NEXUS_HTTP_PORT": str(own),
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "MALLOC_ARENA_MAX": "2",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "nexus.cli", "operator"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
