"""The operator's log as JSON: one object a line, with what it is about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kopf
import pytest

from nexus.app.logs import JsonFormatter, about

REPOSITORY = Path(__file__).parents[2]


class Lines:
    """What a logger has written."""

    def __init__(self, logger: logging.Logger, stream: io.StringIO) -> None:
        self.logger, self._stream = logger, stream

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.read()[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, stream = logging.getLogger("nexus.test_logs"), io.StringIO()
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    yield Lines(logger, stream)
    logger.removeHandler(handler)


def test_a_line_says_when_how_bad_who_and_what(lines: Lines) -> None:
    lines.logger.info("run %s: start task %s", "shop/r1", "price", extra={"task": "price", "attempt": 2, "job": None})

    assert lines.last.pop("time").endswith("Z")
    entry = {key: value for key, value in lines.last.items() if key != "time"}
    assert entry == {
        "level": "INFO",
        "logger": "nexus.test_logs",
        "message": "run shop/r1: start task price",
        "task": "price",
        "attempt": 2,
    }
    assert list(lines.last)[:4] == ["time", "level", "logger", "message"]


def test_what_a_line_is_about_goes_with_threads_and_tasks_and_ends_with_its_block(lines: Lines) -> None:
    async def look(run: str) -> None:
        with about(namespace="shop", run=run):
            await asyncio.sleep(0)
            await asyncio.to_thread(lines.logger.warning, "from a thread")
            await asyncio.create_task(tell())

    async def tell() -> None:
        lines.logger.warning("from a task")

    async def main() -> None:
        await asyncio.gather(look("r1"), look("r2"))
        lines.logger.warning("from outside")

    asyncio.run(main())
    told = [(line["message"], line.get("run"), line.get("namespace")) for line in lines.read()]
    assert set(told[:4]) == {(f"from a {of}", run, "shop") for of in ("thread", "task") for run in ("r1", "r2")}
    assert told[4] == ("from outside", None, None)


def test_an_exception_is_a_field_of_the_one_line(lines: Lines) -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        lines.logger.exception("failed, and will be tried again")

    assert len(lines.read()) == 1
    assert lines.last["exception"].startswith("Traceback (most recent call last):\n")
    assert lines.last["exception"].endswith("ValueError: no\nway")


def test_records_of_kopf_say_which_object_they_are_about(lines: Lines) -> None:
    body = kopf.Body(
        {"kind": "WorkflowRun", "apiVersion": "nexus.dev/v1alpha1", "metadata": {"name": "r1", "namespace": "shop"}}
    )
    reference = kopf.build_object_reference(body)
    lines.logger.error("it cannot be handled", extra={"k8s_ref": reference, "settings": object()})
    assert (lines.last["run"], lines.last["namespace"]) == ("r1", "shop")
    assert "settings" not in lines.last


def test_nothing_is_written_out_that_is_not_meant_to_be(lines: Lines) -> None:
    secret = {"spec": {"env": [{"name": "TOKEN", "value": "hunter2"}]}}
    lines.logger.info("looked at", extra={"body": secret, "headers": {"Authorization": "Bearer hunter2"}})
    assert "hunter2" not in json.dumps(lines.read())


def test_a_value_that_is_no_json_does_no_harm(lines: Lines) -> None:
    lines.logger.info("odd", extra={"reason": Path("/x"), "attempt": 3})
    assert (lines.last["reason"], lines.last["attempt"]) == ("/x", 3)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NEXUS_WORKERS": "many"}, "NEXUS_WORKERS='many': expected an integer from 1 to 256"),
        ({"KUBECONFIG": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_a_start_that_is_refused_is_one_line_too(environment: dict[str, str], words: str) -> None:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("NEXUS_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-m", "nexus.cli", "operator"],
        env=clean | {"PYTHONPATH": str(REPOSITORY / "operator"), "NEXUS_LOG_FORMAT": "json"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    entry = json.loads(line)
    assert entry["level"] == "CRITICAL"
    assert words in entry["message"]
