"""Starts a bootstrap exactly as a pod or the local adapter does: one text, the contract's variables and files."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.forked import READ_AT_START, Forked

from nexus.bootstrap import packed, text

CONTEXT: dict[str, Any] = {"params": {}, "run": {"name": "sales-x7k2p"}, "input": {}}
REFUSED = 240
IMPORTS: dict[str, tuple[str, ...]] = {
    "http": ("base64", "zlib", "http.client", "ssl", "urllib.request", "decimal", "tempfile"),
    "sql": ("base64", "zlib", "sqlalchemy", "sqlite3", "decimal", "tempfile"),
}
"""What these bootstraps import from libraries, a tenth of a second of computing each time. They are tried by the
hundred; the tests that start one by its command show that it needs no such help."""


@dataclass(frozen=True)
class Ended:
    """How a bootstrap ended: what a kubelet and the log would hold of it."""

    exit_code: int
    message: bytes
    stdout: bytes
    stderr: str

    @property
    def told(self) -> dict[str, Any]:
        """The termination message, where it is one JSON object."""
        found: dict[str, Any] = json.loads(self.message)
        return found

    @property
    def output(self) -> dict[str, Any]:
        """The output of a python, http or sql task, out of the message or out of the frame in the log."""
        assert self.exit_code == 0, (self.exit_code, self.message, self.stderr)
        if "output" in self.told:
            found: dict[str, Any] = self.told["output"]
            return found
        framed: dict[str, Any] = json.loads(self.framed)
        return framed

    @property
    def error(self) -> dict[str, Any]:
        assert self.exit_code != 0, self.message
        found: dict[str, Any] = self.told["error"]
        return found

    @property
    def lines(self) -> bytes:
        """What a bash task wrote to $NEXUS_OUTPUT."""
        assert self.exit_code == 0, (self.exit_code, self.message, self.stderr)
        if self.message.startswith(b'{"frame"'):
            return self.framed
        head, _, raw = self.message.partition(b"\n")
        assert json.loads(head) == {"lines": len(raw)}
        return raw

    @property
    def framed(self) -> bytes:
        """The uncompressed text of the log's last line, checked against the message as the operator checks it."""
        frame = self.told["frame"]
        found = re.search(rb"\nNEXUS-OUTPUT ([A-Za-z0-9+/=]+)\n\Z", self.stdout)
        assert found is not None, self.stdout[-200:]
        packed = base64.b64decode(found[1], validate=True)
        raw = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else zlib.decompress(packed)
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (frame["size"], frame["sha256"])
        return raw


class Bench:
    """A place to start bootstraps in; `folder` is a fresh directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.message_path = folder / "termination-log"
        self.nexus = folder / "nexus"
        self.tmp = folder / "tmp"
        for made in (self.nexus, self.tmp):
            made.mkdir()

    def command(self, kind: str, bash_command: str | None = None) -> list[str]:
        if kind != "bash":
            return [sys.executable, "-c", packed(kind)]
        return ["bash", "-c", text("bash"), "nexus", *([] if bash_command is None else [bash_command])]

    def env(
        self,
        task: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        extra: dict[str, str] | None = None,
    ) -> dict[str, str]:
        """The environment; `inputs` are dependencies' outputs that came as files."""
        env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.tmp),
            "NEXUS_DIR": str(self.nexus),
            "NEXUS_TERMINATION_LOG": str(self.message_path),
            "NEXUS_CONTEXT_JSON": compact({**CONTEXT, **(context or {}), "input": (context or {}).get("input", {})}),
            **(extra or {}),
        }
        if task is not None:
            env["NEXUS_TASK_JSON"] = compact(task)
        if inputs:
            (self.nexus / "input").mkdir(exist_ok=True)
            for name, value in inputs.items():
                (self.nexus / "input" / f"{name}.json").write_text(compact(value), encoding="utf-8")
        return env

    def start(self, command: list[str], env: dict[str, str], **options: Any) -> subprocess.Popen[bytes]:
        self.message_path.write_bytes(b"")
        return subprocess.Popen(
            command, env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def ended(self, process: subprocess.Popen[bytes]) -> Ended:
        try:
            stdout, stderr = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return self._read(process.returncode, stdout, stderr)

    def _read(self, code: int, stdout: bytes, stderr: bytes) -> Ended:
        message = self.message_path.read_bytes()
        assert len(message) <= 4096, "the kubelet would cut this message"
        return Ended(code, message, stdout, stderr.decode(errors="replace"))

    def run(self, kind: str, task: dict[str, Any], **given: Any) -> Ended:
        env = self.env(task, **given)
        if kind not in IMPORTS or any(name.startswith(READ_AT_START) for name in env):
            return self.ended(self.start(self.command(kind), env))
        self.message_path.write_bytes(b"")
        done = _forked(kind).run([], self.folder, env)
        return self._read(done.code, done.stdout, done.stderr)

    def code(self, code: str, **given: Any) -> Ended:
        """A python task with this code."""
        return self.run("python", {"code": code}, **given)

    def bash(self, command: str, **given: Any) -> Ended:
        return self.ended(self.start(self.command("bash", command), self.env(**given)))


@functools.cache
def _forked(kind: str) -> Forked:
    environment = {"PATH": os.environ["PATH"]}
    return Forked(f"import {', '.join(IMPORTS[kind])}", packed(kind), environment)


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def skip_without_pid_namespaces() -> None:
    """To be the first process of a namespace, as in a container, takes a right that not every machine gives."""
    tried = ["unshare", "-pf", "true"]
    if not shutil.which("unshare") or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("no right to make a PID namespace here")
