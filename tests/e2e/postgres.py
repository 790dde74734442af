"""A real PostgreSQL server for tests of sql tasks: its own folder, port and password, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

CLUSTER = Path(__file__).parents[1] / "cluster" / "cluster.py"
LOOPBACK = "127.0.0.1"
USER = "nexus"
# Each of these has a meaning in a URL, a shell, a pod's env or a Python string.
PASSWORD = "s3cr3t/@:%41?#&+ $(HOME) $$ '\"\\ é"

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SMALL = {"shared_buffers": "8MB", "max_connections": "40", "autovacuum": "off", "timezone": "UTC"}


@dataclass(frozen=True)
class Postgres:
    """A server that listens on the loopback and on `address`."""

    address: str
    port: int

    def url(self, host: str = LOOPBACK, password: str = PASSWORD, database: str = "postgres") -> str:
        """A SQLAlchemy URL."""
        return f"postgresql+psycopg://{USER}:{quote(password, safe='')}@{host}:{self.port}/{database}"

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the server says without Nexus between."""
        with self._connection() as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=LOOPBACK, port=self.port, user=USER, password=PASSWORD, dbname="postgres")


@contextmanager
def running_postgres(address: str) -> Iterator[Postgres]:
    """A server at work; `address` is this machine's, beside the loopback.

    PostgreSQL refuses to run as root, and so root's server runs as nobody, in a folder that is not pytest's (which
    only its owner may enter).
    """
    programs = _programs()
    nobody = pwd.getpwnam("nobody")
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        other = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="nexus-postgres-"))
    server = None
    try:
        _make(programs, folder, other)
        found = Postgres(address, _free_port(address))
        settings = FAST | SMALL | {"listen_addresses": f"{LOOPBACK},{address}", "unix_socket_directories": ""}
        words = [f"{programs}/postgres", "-D", f"{folder}/data", "-p", str(found.port)]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **other)
        _wait(found, server, folder / "log")
        yield found
    finally:
        if server is not None:
            _stop(server)
        shutil.rmtree(folder)


def _programs() -> Path:
    done = subprocess.run([sys.executable, str(CLUSTER), "postgres"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no PostgreSQL for the tests of sql tasks: {done.stderr.strip()}", pytrace=False)
    return Path(done.stdout.strip())


def _make(programs: Path, folder: Path, other: dict[str, Any]) -> None:
    password = folder / "password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    if other:
        for path in (folder, password):
            os.chown(path, other["user"], other["group"])
    words = [f"{programs}/initdb", "-D", f"{folder}/data", "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256"]
    words += ["--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, **other)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")


def _free_port(address: str) -> int:
    with socket.socket() as outer, socket.socket() as inner:
        outer.bind((address, 0))
        inner.bind((LOOPBACK, outer.getsockname()[1]))
        port: int = outer.getsockname()[1]
        return port


def _wait(found: Postgres, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            found.rows("select 1")
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"PostgreSQL did not start: {error}\n{log.read_text(errors='replace')[-3_000:]}")
            time.sleep(0.05)
        else:
            return


def _stop(server: subprocess.Popen[bytes]) -> None:
    # SIGINT tells its children to end at once; they notice by themselves too when it is killed.
    server.send_signal(signal.SIGINT)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
