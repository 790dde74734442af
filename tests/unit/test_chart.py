"""What the chart has in common with the code, read without helm."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from nexus.api import crd
from nexus.app.settings import FIELDS, Settings, from_environment

CHART = Path(__file__).parents[2] / "charts" / "nexus"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
RULES: dict[str, list[dict[str, list[str]]]] = yaml.safe_load(
    (CHART / "files" / "rules.yaml").read_text(encoding="utf-8")
)
# What templates/deployment.yaml sets by itself.
SET_BY_THE_CHART = {f"NEXUS_{name}" for name in ("NAMESPACES", "TASK_IMAGES", "HTTP_PORT", "LEASE", "LEASE_NAMESPACE")}


def snake(name: str) -> str:
    """As sprig's snakecase does it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_each_setting_is_a_value_whose_default_is_the_operators() -> None:
    given = {f"NEXUS_{snake(name).upper()}": plain(value) for name, value in VALUES["settings"].items()}
    assert set(FIELDS) - set(given) == SET_BY_THE_CHART, "run `make crds`"
    assert from_environment(given) == Settings()
    assert VALUES["taskImages"] == Settings().task_images


def plain(value: Any) -> str:
    """As the template writes it into the environment."""
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return ",".join(value) if isinstance(value, list) else str(value)


def test_the_schema_knows_each_value_and_no_other() -> None:
    def compare(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        assert schema["additionalProperties"] is False, path
        assert set(values) == set(schema["properties"]) - {"global"}, path
        for name, value in values.items():
            if value and "properties" in schema["properties"][name]:
                compare(value, schema["properties"][name], f"{path}.{name}")

    compare(VALUES, SCHEMA, "")


def test_the_chart_has_the_crds_of_the_models() -> None:
    assert crd.differing(CHART / "files" / "crds") == [], "run `make crds`"


def test_the_operator_is_given_no_wildcard_and_no_secret() -> None:
    for rule in (*RULES["work"], *RULES["own"]):
        words = [word for part in rule.values() for word in part]
        assert "*" not in words
        assert "secrets" not in words
