"""A file means to us what it means to the API server, once kubectl has sent it: every scalar, key, anchor and merge.

tests/unit/yaml_rules/ asks kubectl's own library what it makes of such texts. Here the whole way is asked: kubectl, the
schema of the CRD, the store, and back as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from tests.e2e.space import Space
from tests.unit.test_manifest import exactly, kubectl, number

from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.api.manifest import ManifestError, read

pytestmark = pytest.mark.cluster

HEAD = """\
apiVersion: nexus.dev/v1alpha1
kind: WorkflowRun
metadata: {name: NAME}
spec:
  workflowRef: {name: none}
  params:
"""
# Those of the issue stand in the vectors too; by name, so that nobody loses one there.
ASKED = (
    "2026-11-23", "2026-11-23T12:30:00Z", "12:30:00", "1e-3", "1e3", "on", "y", "n", "No", "012", "0o14", "0x1F",
    "0b11", "1_000", "~", "null", "1.0", "1.50", "+1", "-0", ".5", "9223372036854775808", "18446744073709551616",
    "'012'", '"on"', "1e400", "0.1", "!!str 12", "08", "190:20:30", "=", "<<",
)  # fmt: skip
MOST_PARAMS = 100


def documents() -> list[str]:
    """WorkflowRuns whose params are all the texts that kubectl reads as an object, and the scalars asked for."""
    texts = [f"v: {text}" for text in ASKED]
    texts += [
        vector["yaml"]
        for vector in kubectl()
        if not vector.get("refused") and isinstance(vector["json"], dict) and not vector["yaml"].startswith("---")
    ]
    params = [f"    p{position}:\n{indent(text, ' ' * 6)}\n" for position, text in enumerate(texts)]
    parts = [params[start : start + MOST_PARAMS] for start in range(0, len(params), MOST_PARAMS)]
    return [HEAD.replace("NAME", f"yaml-{position}") + "".join(part) for position, part in enumerate(parts)]


def stored(space: Space, name: str) -> Any:
    """The params of a run as the API server has them, whole numbers and others told apart."""
    text = space.http.get(WORKFLOW_RUNS.path(space.namespace, name)).text
    return json.loads(text, parse_int=number)["spec"]["params"]


def test_what_kubectl_sends_is_what_is_read_locally(space: Space, tmp_path: Path) -> None:
    file = tmp_path / "runs.yaml"
    file.write_text("---\n".join(documents()), encoding="utf-8")
    ours: dict[str, Any] = {}
    for document in read(file.read_text("utf-8"), "runs.yaml"):
        body: Any = document.body
        ours[body["metadata"]["name"]] = body["spec"]["params"]
    assert sum(map(len, ours.values())) > 150
    # A plain `kubectl apply` takes out nulls before it sends anything; runs are made with create.
    space.kubectl("create", "-f", str(file))
    for name, params in ours.items():
        theirs = stored(space, name)
        both = {key: (params.get(key), theirs.get(key)) for key in params.keys() | theirs.keys()}
        assert {key: values for key, values in both.items() if exactly(values[0]) != exactly(values[1])} == {}


@pytest.mark.parametrize("text", ["v: .inf", "v: .nan", "v: [1", "[1]: a", "v: 1\n v: 2"])
def test_what_kubectl_refuses_is_refused_locally(space: Space, tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(HEAD.replace("NAME", "refused") + indent(text, " " * 4), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"run.yaml:[78]:\d"):
        read(file.read_text("utf-8"), "run.yaml")
    with pytest.raises(AssertionError, match="error"):
        space.kubectl("apply", "-f", str(file))
    assert space.get(WORKFLOW_RUNS, "refused") is None


def test_a_key_that_stands_twice_is_refused_where_kubectl_silently_drops_one(space: Space, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(HEAD.replace("NAME", "twice") + "    yes: 1\n    v: 2\n    on: 3\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r'run.yaml:9:5: duplicate key "true"'):
        read(file.read_text("utf-8"), "run.yaml")
    space.kubectl("create", "-f", str(file))
    assert stored(space, "twice") == {"v": 2, "true": 3}
