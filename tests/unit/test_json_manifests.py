"""Files that kubectl reads as JSON, and lists of objects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli_harness import bash, workflow

from nexus.api.manifest import Document, ManifestError, read
from nexus.api.numbers import as_stored

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values, min_size=1, max_size=4), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_whatever_json_writes_is_read_as_the_api_server_has_it(
    body: dict[str, object], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only)
    (document,) = read(text, "f")
    assert document.body == as_stored(body)


def test_a_character_beyond_the_first_plane_is_two_escapes() -> None:
    (document,) = read(r"""{"a": "\ud83d\ude80 \/ \u0000", "\ud83d\ude80": 1}""", "f")
    assert document.body == {"a": "\U0001f680 / \0", "\U0001f680": 1}


def test_places_are_those_of_the_text() -> None:
    text = '{\n\t"a": "\\ud83d\\ude80", "b": [1,\n\t\t{"c": 2}]}'
    (document,) = read(text, "f")
    assert [(document.line(path), document.column(path)) for path in (("a",), ("b",), ("b", 1, "c"))] == [
        (2, 2),
        (2, 23),
        (3, 4),
    ]


def test_several_objects_follow_each_other() -> None:
    assert [document.body for document in read('{"a":1}{"b":2}\n---\n{"c":3}\n', "f")] == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_braces_of_yaml_stay_yaml() -> None:
    assert [document.body for document in read('{"a": b, "c": [d,],}\n---\ne: f\n', "f")] == [
        {"a": "b", "c": ["d"]},
        {"e": "f"},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            r'{"a": "\ud83d"}',
            "f:1:7: invalid JSON: half of a surrogate pair; write both escapes",
        ),
        ('{"a" 1}', 'f:1:6: invalid JSON: expected ":" after the key'),
        ('{"a": {"b": [}}', "f:1:14: invalid JSON: expected a value"),
        ('{"a": 1, "a": 2}', "first"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "deeper than 100 levels"),
        ('{"a": [1, 2}', 'f:1:12: invalid JSON: expected "," or "]"'),
    ],
)
def test_what_is_neither_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as error:
        read(text, "f")
    assert said in str(error.value)


def listed(*items: object, **fields: object) -> list[Document]:
    return read(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items), **fields}, indent=1), "f")


def test_the_objects_of_a_list_are_those_of_the_file() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": [workflow(bash("b"), name="b")]}
    found = listed(workflow(bash("a"), name="a"), inner, {"apiVersion": "v1", "kind": "Secret"})
    assert [document.body["kind"] for document in found] == ["Workflow", "Workflow", "Secret"]
    assert [document.index for document in found] == [0, 1, 2]
    assert found[0].line(("metadata",)) < found[1].line(("metadata",))


def test_lists_of_the_api_servers_own_and_of_others() -> None:
    ours = {"apiVersion": "nexus.dev/v1alpha1", "kind": "WorkflowList"}
    assert [document.body["kind"] for document in listed(workflow(bash("a")), **ours)] == ["Workflow"]
    others = {"apiVersion": "example.com/v1", "kind": "AllowList"}
    assert [document.body["kind"] for document in listed("a", **others)] == ["AllowList"]


def test_what_is_no_object_in_a_list_is_told() -> None:
    with pytest.raises(ManifestError, match="expected an object with apiVersion and kind, got a single value"):
        listed(1)
