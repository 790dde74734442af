"""Short commands: how long one takes, the start of the program included.

They are measured as an installed package starts, whose modules pip has compiled: byte code is written in a first round
that does not count, also where the environment forbids it. Rounds of a command and of its floor alternate, for the
machine may be busy with something else meanwhile.
"""

from __future__ import annotations

import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

from tests.bench.results import Row

ROUNDS = 9
TASKS = 500
CHAIN = 10
NEXUS = [sys.executable, "-m", "nexus.cli"]
# `import pydantic` alone imports next to nothing; whoever uses it has a model.
BARE = [sys.executable, "-c", "import typer; from pydantic import BaseModel"]
_READ = "import sys, yaml; yaml.load(open(sys.argv[1]), Loader=yaml.{})"
_EMPTY = b'{"kind":"WorkflowRunList","metadata":{"resourceVersion":"1"},"items":[]}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_EMPTY), _EMPTY)


def manifest(tasks: int) -> str:
    """Chains of ten bash tasks as somebody would write them, each with a command and three expressions of its own."""
    return "\n".join(_lines(tasks))


def _lines(tasks: int) -> Iterator[str]:
    yield "apiVersion: nexus.dev/v1alpha1"
    yield "kind: Workflow"
    yield "metadata: {name: large}"
    yield "spec:"
    yield "  params:"
    yield '  - {name: day, default: "2026-11-23"}'
    yield "  tasks:"
    for number in range(tasks):
        rows = "0"
        yield f"  - name: load-{number}"
        if number % CHAIN:
            rows = f"tasks.load_{number - 1}.output.rows + {number}"
            yield f"    dependsOn: [load-{number - 1}]"
            yield f"    when: ${{{{ tasks.load_{number - 1}.output.rows >= {number} }}}}"
        yield "    env:"
        yield f'    - {{name: DAY, value: "${{{{ params.day }}}} {number}"}}'
        yield f'    - {{name: ROWS, value: "${{{{ {rows} }}}}"}}'
        yield "    retry: {limit: 3}"
        yield "    bash:"
        yield f'      command: echo "load {number}"; echo "rows:=$ROWS" >> "$NEXUS_OUTPUT"'


def short_commands() -> list[Row]:
    """Lint of the largest definition there may be, lint of a small one, and `nexus get` up to its request.

    The floors: Python reading the same file with PyYAML, by its own parser (`yaml.safe_load`) and by libyaml's, with
    which nexus reads too; and Python that imports typer and pydantic.
    """
    with tempfile.TemporaryDirectory() as folder, _api_server(Path(folder)) as request:
        large, small = Path(folder) / "large.yaml", Path(folder) / "small.yaml"
        large.write_text(manifest(TASKS), encoding="utf-8")
        small.write_text(manifest(3), encoding="utf-8")
        figures = _medians(
            {
                "large": lambda: _seconds([*NEXUS, "lint", str(large)]),
                "safe_load": lambda: _seconds([sys.executable, "-c", _READ.format("SafeLoader"), str(large)]),
                "libyaml": lambda: _seconds([sys.executable, "-c", _READ.format("CSafeLoader"), str(large)]),
                "small": lambda: _seconds([*NEXUS, "lint", str(small)]),
                "get": request,
                "bare": lambda: _seconds(BARE),
            }
        )

    def row(name: str, ours: str, floor: str, target: float | None) -> Row:
        return Row(name, figures[ours], "s", floor=figures[floor], target=target, by_ratio=True)

    return [
        row("lint_500_to_yaml_safe_load", "large", "safe_load", 5.0),
        row("lint_500_to_yaml_csafeloader", "large", "libyaml", None),
        row("lint_small_to_typer_pydantic", "small", "bare", 2.5),
        row("get_until_request_to_typer_pydantic", "get", "bare", 2.5),
    ]


def _medians(measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(ROUNDS + 1)]
    return {name: statistics.median(each[name] for each in rounds[1:]) for name in measures}


def environment(**more: str) -> dict[str, str]:
    """This environment, in which Python may write byte code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | more


def _seconds(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environment())
    return time.monotonic() - began


@contextmanager
def _api_server(folder: Path) -> Iterator[Callable[[], float]]:
    """What measures `nexus get` from its start until its request has come to an API server, over TLS."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    arrived: list[float] = []

    with create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    connection, _ = listening.accept()
                    with tls.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(64 * 1024)
                        arrived.append(time.monotonic())
                        secured.sendall(_ANSWER)

        threading.Thread(target=serve, daemon=True).start()
        cluster = {
            "server": f"https://127.0.0.1:{listening.getsockname()[1]}",
            "certificate-authority": str(certificate),
        }
        config = {
            "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "bench", "user": {"token": "secret"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")

        def measure() -> float:
            began = time.monotonic()
            subprocess.run([*NEXUS, "get"], check=True, capture_output=True, env=environment(KUBECONFIG=str(path)))
            return arrived.pop() - began

        yield measure
