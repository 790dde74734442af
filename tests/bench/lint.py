"""How long `nexus lint` takes for the largest definition there may be: the whole command, start of the program
included."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.results import Row

TASKS = 500
CHAIN = 10
ROUNDS = 5


def manifest(tasks: int) -> str:
    """Chains of ten bash tasks as somebody would write them, each with three expressions of its own."""
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
        yield '      command: echo "rows:=$ROWS" >> "$NEXUS_OUTPUT"'


def lint_500() -> Row:
    """A file of 500 tasks; the floor is starting an interpreter that imports what nexus' models are made with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(manifest(TASKS), encoding="utf-8")
        ours = _seconds([sys.executable, "-m", "nexus.cli", "lint", str(path)])
        floor = _seconds([sys.executable, "-c", "import pydantic, typer, yaml"])
    return Row("lint_500", ours, "s", floor=floor, target=1.0)


def _seconds(command: list[str]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.monotonic() - began)
    return statistics.median(times)
