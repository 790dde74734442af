"""Pools in files: lint and local runs hold tasks against the ConfigMap nexus-pools beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_harness import bash, nexus, workflow, workflow_run, write

from nexus.adapters.cel.pool import CelEvaluator
from nexus.cli.manifests import load

FLOW = workflow(bash("load", pool="warehouse"))


def sizes(namespace: str = "", **data: str) -> dict[str, Any]:
    metadata = {"name": "nexus-pools", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def inside(namespace: str) -> dict[str, Any]:
    return {**FLOW, "metadata": {"name": "sales", "namespace": namespace}}


@pytest.mark.parametrize(
    ("bodies", "place", "words"),
    [
        (
            [FLOW, sizes(warehous="2")],
            1,
            'task load, pool: unknown pool "warehouse" in ConfigMap nexus-pools; did you ',
        ),
        ([FLOW, sizes(licence="2")], 1, 'in ConfigMap nexus-pools; add warehouse: "5" or its number of slots'),
        (
            [FLOW, sizes(warehouse="two")],
            3,
            'data.warehouse: invalid size of pool "warehouse" in ConfigMap nexus-pools',
        ),
        ([workflow_run(workflowSpec=FLOW["spec"]), sizes(warehous="2")], 1, 'did you mean "warehous"?'),
        ([inside("a"), sizes("a", warehous="2"), sizes("b", warehouse="1")], 1, 'did you mean "warehous"?'),
    ],
)
def test_lint_and_local_runs_say_what_pools_lack_and_where(
    tmp_path: Path, bodies: list[Any], place: int, words: str
) -> None:
    file = write(tmp_path, *bodies)
    lint = nexus("lint", file)
    (problem, _) = lint.stdout.splitlines()
    assert lint.code == 1
    assert problem.startswith(f"{file}:{place}:")
    assert words in problem
    run = nexus("run", "-f", file, "--local")
    assert (run.code, run.stdout) == (2, "")
    assert problem in run.stderr


@pytest.mark.parametrize(
    "bodies",
    [
        [FLOW],
        [FLOW, sizes(warehouse="2")],
        [FLOW, sizes("other", warehous="2")],
        [inside("a"), sizes("a", warehouse="2"), sizes("b", warehous="1")],
        [inside("a"), sizes(warehous="1"), sizes("a", warehouse="2")],
    ],
)
def test_what_may_be_in_the_cluster_is_no_problem(tmp_path: Path, cel: CelEvaluator, bodies: list[Any]) -> None:
    assert load(write(tmp_path, *bodies).read_text(), "f.yaml", cel).problems == []


def test_sizes_of_another_namespace_do_not_count_here_and_a_note_says_so(tmp_path: Path) -> None:
    # With size 0 the task would wait for ever.
    file = write(tmp_path, FLOW, sizes("other", warehouse="0"))
    answer = nexus("run", "-f", file, "--local")
    assert answer.code == 0, answer.stderr
    note = f"pool warehouse is not limited here: no ConfigMap nexus-pools of namespace default with it in {file}"
    assert note in answer.stdout
