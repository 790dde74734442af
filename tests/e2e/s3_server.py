"""A real S3-compatible server (versitygw) for tests of the output store: own folder, port and keys, gone at the end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[1] / "cluster" / "cluster.py"
BUCKET = "runs"
KEY_ID = "nexus-tests"
SECRET = "s3cr3t/of+the=store"


@dataclass
class S3Server:
    """A server at `address`. What it holds lies in `folder`, an object as a file."""

    program: Path
    folder: Path
    address: str
    port: int
    secret: str = SECRET
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def endpoint(self) -> str:
        """Its address as clients write it."""
        return f"http://{self.address}:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """The variables by which clients know who they are."""
        return {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}

    @property
    def objects(self) -> list[str]:
        """Keys of the objects that can be read."""
        bucket = self.folder / "data" / BUCKET
        paths = (path.relative_to(bucket) for path in bucket.rglob("*") if path.is_file())
        return sorted(str(path) for path in paths if not path.parts[0].startswith("."))

    @property
    def uploads(self) -> int:
        """Parts of uploads that are under way."""
        hidden = (self.folder / "data" / BUCKET).glob(".*")
        return sum(path.is_file() for folder in hidden for path in folder.rglob("*"))

    def start(self, *, largest_file: int | None = None) -> None:
        """Start it, and wait until it answers; a `largest_file` in bytes makes its disk as good as full."""

        words = [self.program / "versitygw", "--port", f"{self.address}:{self.port}", "posix", self.folder / "data"]
        environment = {**os.environ, "ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": self.secret}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        if largest_file is not None:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((self.address, self.port), 1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    pytest.fail(
                        f"versitygw did not start: {(self.folder / 'log').read_text(errors='replace')[-2_000:]}"
                    )
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Let it answer nothing for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_s3_server(address: str = "127.0.0.1") -> Iterator[S3Server]:
    """A server at work, with an empty bucket."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-s3-"))
    (folder / "data" / BUCKET).mkdir(parents=True)
    server = S3Server(_program(), folder, address, _free_port(address))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _program() -> Path:
    done = subprocess.run([sys.executable, str(CLUSTER), "s3"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no S3-compatible server for the tests: {done.stderr.strip()}", pytrace=False)
    return Path(done.stdout.strip())


def _free_port(address: str) -> int:
    with socket.socket() as found:
        found.bind((address, 0))
        port: int = found.getsockname()[1]
        return port
