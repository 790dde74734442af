"""The example repository: its workflows are valid, and what Argo CD is pointed at is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.manifest import read
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow
from nexus.core.validate import problems

REPOSITORY = Path(__file__).parents[2]
LAYOUT = REPOSITORY / "examples" / "gitops"
WORKFLOWS = [LAYOUT / "workflows" / "base" / "orders.yaml", *sorted((LAYOUT / "chart" / "workflows").glob("*.yaml"))]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_of_the_repository_is_valid(path: Path, cel: CelEvaluator) -> None:
    (document,) = read(path.read_text("utf-8"), str(path))
    workflow = Workflow.model_validate(document.body)
    assert problems(workflow.spec, cel) == []
    assert workflow.metadata["name"] == path.stem


def test_the_applications_point_at_folders_that_are_there() -> None:
    sources = [yaml.safe_load(path.read_text("utf-8"))["spec"]["source"] for path in (LAYOUT / "apps").glob("*.yaml")]
    paths = {source["path"] for source in sources}
    assert paths == {"charts/nexus", "workflows/production"}
    assert (LAYOUT / "workflows" / "production" / "kustomization.yaml").is_file()
    assert (REPOSITORY / "charts" / "nexus").is_dir()


def test_the_hook_is_a_run_of_the_workflow_beside_it() -> None:
    path = LAYOUT / "workflows" / "production" / "smoke-test.yaml"
    run = WorkflowRun.model_validate(yaml.safe_load(path.read_text("utf-8")))
    assert run.spec.workflow_ref is not None
    assert run.spec.workflow_ref.name == "orders"
    assert run.metadata["annotations"]["argocd.argoproj.io/hook"] == "PostSync"
