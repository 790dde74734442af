"""A real Prometheus for tests: it scrapes every second and evaluates the alerts of the chart."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

CLUSTER = Path(__file__).parents[1] / "cluster" / "cluster.py"
ALERTS = Path(__file__).parents[2] / "charts" / "nexus" / "files" / "alerts.yaml"
LOOPBACK = "127.0.0.1"


def programs() -> Path:
    """The folder of prometheus and promtool."""
    done = subprocess.run([sys.executable, str(CLUSTER), "prometheus"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no Prometheus for the tests of metrics: {done.stderr.strip()}", pytrace=False)
    return Path(done.stdout.strip())


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Prometheus:
    """A server at work."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: a sample for each combination of labels."""
        answer = httpx.get(f"http://{LOOPBACK}:{self.port}/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        data = answer.json()["data"]
        return list(data["result"]) if data["resultType"] == "vector" else [data]

    def value(self, expression: str) -> float | None:
        """What an expression that gives one sample comes to."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The alerts that fire."""
        answer = httpx.get(f"http://{LOOPBACK}:{self.port}/api/v1/alerts").json()
        return {alert["labels"]["alertname"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"}

    def until(self, expression: str, seconds: float = 30) -> float:
        """The value of an expression as soon as it has one that is not 0."""
        deadline = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression} has no value after {seconds} s"
            time.sleep(0.2)
        return value


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """A server that scrapes these ports of the loopback, by the names of their jobs. Alerts do not wait for their
    `for` to pass."""
    rules = yaml.safe_load(ALERTS.read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]} for name, port in targets.items()
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "rule_files": ["alerts.yaml"], "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    words = [str(programs() / "prometheus"), f"--config.file={folder}/prometheus.yaml"]
    words += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={LOOPBACK}:{port}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(port, server, folder / "log")
        yield Prometheus(port)
    finally:
        server.terminate()
        server.wait(20)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"http://{LOOPBACK}:{port}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Prometheus did not start: {log.read_text(errors='replace')[-3_000:]}")
        time.sleep(0.1)
