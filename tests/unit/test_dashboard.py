"""Dashboard and alerts ask for what there is, and each alert is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nexus.runtime.metrics import CATALOGUE, Kind

TOP = Path(__file__).parents[2]
FILES = TOP / "charts" / "nexus" / "files"
ALERTS = [rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((FILES / "dashboard.json").read_text())["panels"]
# What Prometheus adds to what it scrapes.
TARGET = {"job", "instance", "pod", "le"}
LABELS = {
    f"{metric.name}{suffix}": {*metric.labels, *TARGET}
    for metric in CATALOGUE
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
} | {"process_resident_memory_bytes": TARGET, "process_cpu_seconds_total": TARGET}


def queries() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("name", "query"), [pytest.param(*each, id=each[0]) for each in queries()])
def test_every_query_asks_for_metrics_and_labels_that_there_are(name: str, query: str) -> None:
    found = re.findall(r"\b((?:nexus|workflow|task|active|process)_\w+)(?:\{([^}]*)\})?", query)
    assert found, name
    for metric, selector in found:
        assert metric in LABELS
        assert set(re.findall(r"(\w+)(?:=|!)", selector)) <= LABELS[metric], metric
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        # An alert may name the operator's own namespace, which Prometheus adds.
        allowed = set.union({"namespace"}, *(LABELS[metric] for metric, _ in found))
        assert set(grouped.replace(" ", "").split(",")) <= allowed


def test_every_alert_has_its_paragraph_and_no_other_is_there() -> None:
    text = (TOP / "docs" / "monitoring.md").read_text("utf-8")
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == [rule["alert"] for rule in ALERTS]


def test_panels_have_numbers_and_places_of_their_own() -> None:
    assert [panel["id"] for panel in PANELS] == list(range(1, len(PANELS) + 1))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
