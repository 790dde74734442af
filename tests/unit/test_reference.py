"""The pages that are made from the code: each field, and each reason with what it looks like and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus.api.field_reference import TOP, fields
from nexus.api.reasons import Reason
from nexus.api.reference import main, pages, reasons
from nexus.api.remedies import SECTIONS, without_remedy

REPOSITORY = Path(__file__).parents[2]
ENTRIES = {reason: remedy for section in SECTIONS.values() for reason, remedy in section.items()}
# Their messages are Kubernetes' own words, or those of the task's code.
OTHERS_WORDS = {
    Reason.UNSCHEDULABLE,
    Reason.QUOTA_EXCEEDED,
    Reason.IMAGE_PULL,
    Reason.MISSING_CONFIG,
    Reason.POD_REFUSED,
    Reason.TASK_ERROR,
}


def test_every_reason_says_what_to_do() -> None:
    assert without_remedy() == [], "nexus/api/remedies.py has to say what these look like and what to do about them"
    assert sum(len(section) for section in SECTIONS.values()) == len(Reason), "one of them stands in two sections"
    assert all(remedy.todo.endswith(".") for remedy in ENTRIES.values())
    assert all(f"\n### {reason.value}\n" in reasons() for reason in Reason)


def messages() -> Iterator[re.Pattern[str]]:
    """What the code can say: each of its texts of some length, with anything in the places of its values."""
    for path in (REPOSITORY / "operator" / "nexus").rglob("*.py"):
        if path.name in ("remedies.py", "reasons.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts: list[ast.expr] = [node]
            elif isinstance(node, ast.JoinedStr):
                parts = node.values
            else:
                continue
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if sum(len(text) for text in texts if isinstance(text, str)) >= 7:
                yield re.compile("".join(".*" if text is None else re.escape(str(text)) for text in texts))


@pytest.fixture(scope="module")
def said() -> list[re.Pattern[str]]:
    return list(messages())


@pytest.mark.parametrize(
    "reason", [reason for reason in ENTRIES if reason not in OTHERS_WORDS and ENTRIES[reason].looks]
)
def test_an_example_of_a_message_is_one_that_the_code_says(reason: Reason, said: list[re.Pattern[str]]) -> None:
    looks = ENTRIES[reason].looks.removesuffix("…")
    if looks.startswith("exit code"):
        return
    longest = max((len(found[0]) for pattern in said if (found := pattern.search(looks))), default=0)
    assert longest >= len(looks) * 0.5, f"the code does not say anything like {looks!r}"


def test_the_reference_has_every_section_and_links_that_lead_somewhere() -> None:
    text = fields()
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert {*TOP.values(), "Task", "Http", "Retry", "Pod", "TaskStatus"} <= set(titles)
    anchors = {title.lower().replace(":", "").replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= anchors
    assert "| **`tasks`** | list (1 to 500) of [Task](#task) |" in text


def test_a_page_that_is_not_what_the_code_says_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "reasons.md").write_text("old")
    assert main(["--check", str(tmp_path)]) == 1
    assert "reasons.md is not what the code says: run make crds" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == set(pages())
