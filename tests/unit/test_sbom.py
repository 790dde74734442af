"""The bill of materials names each package that the operator's lock file pins."""

from __future__ import annotations

import json
import re
import runpy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "operator" / "requirements"


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    assert runpy.run_path(str(REQUIREMENTS / "sbom.py"))["main"]([str(target)]) == 0
    return dict(json.loads(target.read_text("utf-8")))


def test_each_locked_package_is_named_with_its_version(bill: dict[str, Any]) -> None:
    lock = (REQUIREMENTS / "runtime.lock").read_text("utf-8")
    pinned = re.findall(r"^(\S+)==(\S+?)(?:;|\s)", lock, re.MULTILINE)
    assert len(pinned) > 20
    assert [(one["name"], one["version"]) for one in bill["components"]] == pinned
    assert [one["purl"] for one in bill["components"]] == [f"pkg:pypi/{name}@{number}" for name, number in pinned]


def test_it_says_what_needs_what_and_under_which_licence(bill: dict[str, Any]) -> None:
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("nexus-workflows", version("nexus-workflows"))
    assert root["licenses"] == [{"license": {"id": "MIT"}}]
    needs = {one["ref"].partition("@")[0]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert {"kopf", "pydantic", "aiohttp"} <= {ref.partition("@")[0] for ref in needs["nexus-workflows"]}
    assert "pydantic-core" in {ref.partition("@")[0] for ref in needs["pydantic"]}
    needed = {ref for refs in needs.values() for ref in refs}
    assert {one["bom-ref"] for one in bill["components"]} <= needed, "each is there because something needs it"
    licences = {one["name"]: one.get("licenses") for one in bill["components"]}
    assert licences["kopf"] == [{"license": {"id": "MIT"}}]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
