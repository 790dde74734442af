"""The check of words finds what it names, where it is, in all that it reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import wording
from tests.wording import AREAS, NOT_YET, PHRASES, Allowed, Area, Finding, check, in_docstrings, in_literals, in_text

FILE = Path("page.md")


def found(read: wording.Read, source: str) -> list[tuple[int, int, str]]:
    return [(one.line, one.column, one.phrase) for one in sorted(read(FILE, source))]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("5 is no text", "is no"),
        ("a map is no longer valid, there is no limit, it is no more than 5", None),
        ("cron wants five fields", "wants"),
        ("as you want it", None),
        ("as this operator lets be", "lets be"),
        ("until these are mended", "mended"),
        ("amend the recommended value", None),
        ("what a run comes to", "comes to"),
        ("the operator was told", "told"),
        ("the key stands twice", "stands"),
        ("understands: a stand-in stands by", None),
        ("Nobody decided", "Nobody"),
        ("no body in the response", None),
        ("such a task", "such a"),
        ("tasks such as a", None),
        ("it has to have a name", "has to have"),
        ("after so many seconds", "so many"),
        ("what opens in line 2", "what opens in"),
        ("no whole number", "whole number"),
        ("must be true or false", "true or false"),
        ("one execution of it", "execution"),
        ("they wait for each other", "wait for each other"),
        ("the run goes on without it", "goes on without"),
        ("what goes on the page", None),
    ],
)
def test_a_phrase_is_found_and_what_only_resembles_it_is_not(text: str, phrase: str | None) -> None:
    hits = [hit for _, hit, _ in wording.phrases(text)]
    assert phrase in hits if phrase else hits == []


def test_a_phrase_is_found_across_the_end_of_a_line_and_a_comment_mark() -> None:
    assert found(in_text, "one\n  # a value that is\n  # no number\n") == [(2, 18, "is no")]


def test_what_is_generated_in_a_page_is_not_read() -> None:
    page = "It is mended.\n\n<!-- made by `make crds` from values.yaml -->\n\n| it is mended |\n"
    assert found(in_text, page) == [(1, 7, "mended")]


def test_strings_are_found_with_their_place_and_docstrings_apart() -> None:
    source = '''"""A page. It stands first."""

def f(n: int) -> str:
    """Return what nobody reads."""
    if n:
        raise ValueError(f"line {n} wants "
                         f"so many words: {n}")
    return "it stands"  # nobody

x: int
"""Such a field."""
y = "this is "     "no text"
'''
    assert found(in_literals, source) == [
        (6, 37, "wants"),
        (7, 28, "so many"),
        (8, 16, "stands"),
        (12, 11, "is no"),
        (12, 21, "no text"),
    ]
    assert found(in_docstrings, source) == [(1, 15, "stands"), (4, 20, "nobody"), (11, 4, "Such a")]


def test_a_line_says_where_what_and_what_instead() -> None:
    (line,) = [str(one) for one in in_text(FILE, "it is\nmended")]
    assert line == 'page.md:2:1: "mended": write fix'


def test_an_allowance_covers_its_lines_alone_and_one_that_covers_none_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Argo's executions\nour executions\n")
    findings = check(tmp_path, Area(("*.md",)))
    assert [one.line for one in findings] == [1, 2]
    argo, other = Allowed("a.md", "Argo's executions", "its word"), Allowed("b.md", "x", "none")
    assert wording.refused(findings, tmp_path, [argo, other]) == [findings[1]]
    assert wording.unused(findings, tmp_path, [argo, other]) == [other]


def test_a_file_of_an_area_may_be_left_out(tmp_path: Path) -> None:
    for name in ("a.md", "made.md"):
        (tmp_path / name).write_text("mended\n")
    findings = check(tmp_path, Area(("*.md",), without=("made.md",)))
    assert findings == [Finding(Path("a.md"), 1, 1, "mended", "fix")]


def test_every_area_reads_files_and_each_allowance_has_a_reason() -> None:
    assert set(AREAS) >= NOT_YET
    for name, area in AREAS.items():
        assert any(any(wording.TOP.glob(pattern)) for pattern in area.globs), name
    assert all(one.reason for one in wording.ALLOWED)
    assert all(instead and re.compile(pattern) for pattern, instead in PHRASES.items())


def test_all_that_users_read_belongs_to_an_area() -> None:
    packages = {path.name for path in (wording.TOP / "operator/nexus").iterdir() if (path / "__init__.py").exists()}
    assert {f"{package} {kind}" for package in packages for kind in ("texts", "docstrings")} <= set(AREAS)


def test_the_command_fails_for_what_is_found_in_an_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text("It is mended.\n")
    monkeypatch.setattr(wording, "TOP", tmp_path)
    monkeypatch.setattr(wording, "ALLOWED", ())
    assert wording.main(["docs"]) == 1
    assert capsys.readouterr().out == 'docs/page.md:1:7: "mended": write fix\n'
    page.write_text("It is fixed.\n")
    assert wording.main(["docs"]) == 0
