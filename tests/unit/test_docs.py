"""The documentation holds together: links lead somewhere, every page is in the index, and its manifests are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api.base import API_VERSION
from nexus.api.manifest import Document, read
from nexus.api.run import WorkflowRun
from nexus.api.workflow import Workflow
from nexus.core.validate import problems

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    path
    for folder in ("docs", "examples", "charts", "task-images", "tests/cluster")
    for path in (REPOSITORY / folder).rglob("*.md")
)
PAGES.append(REPOSITORY / "README.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


MODULE = re.compile(r"(?:[a-z_]+/)*[a-z_]+\.py\b")


def test_the_map_of_the_engine_names_modules_that_exist() -> None:
    known = [f"/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "operator").rglob("*.py")]
    named = set(MODULE.findall((DOCS / "engine.md").read_text("utf-8")))
    assert len(named) > 20
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in known)] == []


PACKAGE = re.compile(r"`((?:[a-z_]+/)+)`")


def test_the_map_of_the_engine_names_packages_that_exist() -> None:
    known = [f"/{path.relative_to(REPOSITORY)}/" for path in (REPOSITORY / "operator" / "nexus").rglob("*/")]
    named = set(PACKAGE.findall((DOCS / "engine.md").read_text("utf-8"))) - {"tests/unit/"}
    assert len(named) > 10
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in known)] == []


JOURNEY = re.compile(
    r"(?<![\w/.])((?:app|cli|api|core|kube|runtime|tasks|data|engine|workflow|schedule)(?:/[a-z_]+)+)(?!\.py)[\w.]*"
)


def test_the_journeys_lead_through_modules_that_exist() -> None:
    known = [f"/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "operator" / "nexus").rglob("*.py")]
    section = (DOCS / "engine.md").read_text("utf-8").partition("## Three journeys")[2].partition("\n## ")[0]
    named = set(JOURNEY.findall(section))
    assert len(named) > 25
    lost = [
        name
        for name in sorted(named)
        if not any(path.endswith((f"/{name}.py", f"/{name}/__init__.py")) for path in known)
    ]
    assert lost == []


def test_the_index_has_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((DOCS / "README.md").read_text("utf-8"))}
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def manifests() -> list[tuple[str, Document]]:
    """The Workflows and runs that stand in pages as a whole."""
    found = []
    for page in PAGES:
        for number, block in enumerate(YAML.findall(page.read_text("utf-8"))):
            if "kind: Workflow" in block and "{{- " not in block:
                name = f"{page.relative_to(REPOSITORY)}[{number}]"
                found += [(name, one) for one in read(block, name) if one.body.get("apiVersion") == API_VERSION]
    return found


@pytest.mark.parametrize(("name", "document"), manifests(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_manifest_in_the_documentation_is_valid(name: str, document: Document, cel: CelEvaluator) -> None:
    assert name
    if document.body["kind"] == "WorkflowRun":
        WorkflowRun.model_validate(document.body)
    else:
        assert problems(Workflow.model_validate(document.body).spec, cel) == []
