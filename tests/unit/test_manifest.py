"""Manifests are read as kubectl reads them, and every error says where."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexus.api.manifest import MAX_CHARACTERS, MAX_DEPTH, ManifestError, read

VECTORS = Path(__file__).parent / "yaml_rules" / "vectors.json"


def number(written: str) -> int | float:
    """A whole number of JSON as the API server reads it: 64 bits, or else a float."""
    return int(written) if len(written) < 21 and -(2**63) <= int(written) < 2**63 else float(written)


def exactly(value: Any) -> Any:
    """A form in which 1, 1.0 and True differ."""
    match value:
        case dict():
            return {key: exactly(child) for key, child in value.items()}
        case list():
            return [exactly(child) for child in value]
    return type(value).__name__, value


def kubectl() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(VECTORS.read_text("utf-8"), parse_int=number)
    return vectors


def body(text: str) -> dict[str, Any]:
    (document,) = read(text, "file.yaml")
    return dict(document.body)


def error(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read(text, "file.yaml")
    return caught.value


def test_the_vectors_are_those_of_the_texts() -> None:
    texts = json.loads((VECTORS.parent / "texts.json").read_text("utf-8"))
    assert [vector["yaml"] for vector in kubectl()] == texts


@pytest.mark.parametrize("vector", kubectl(), ids=lambda vector: repr(vector["yaml"]))
def test_values_are_those_that_kubectl_sends(vector: dict[str, Any]) -> None:
    if vector.get("refused"):
        assert error(vector["yaml"]).line >= 1
    elif vector["json"] is None:
        assert read(vector["yaml"], "file.yaml") == []
    elif not isinstance(vector["json"], dict):
        assert "expected an object with apiVersion and kind, got a " in error(vector["yaml"]).message
    else:
        assert exactly(body(vector["yaml"])) == exactly(vector["json"])


def test_a_file_holds_several_objects_and_empty_documents_do_not_count() -> None:
    text = "a: 1\n---\n# nothing\n---\nb: 2\n---\n"
    documents = read(text, "file.yaml")
    assert [(d.index, d.body, d.source) for d in documents] == [(0, {"a": 1}, "file.yaml"), (1, {"b": 2}, "file.yaml")]


def test_every_field_has_its_line_and_column() -> None:
    text = "kind: X\n---\nkind: Y\nspec:\n  tasks:\n  - name: a\n    bash: {command: x}\n  -   name: b\n"
    document = read(text, "file.yaml")[1]
    places = {
        (): (3, 1),
        ("kind",): (3, 1),
        ("spec",): (4, 1),
        ("spec", "tasks"): (5, 3),
        ("spec", "tasks", 0): (6, 5),
        ("spec", "tasks", 0, "bash", "command"): (7, 12),
        ("spec", "tasks", 1): (8, 7),
        ("spec", "tasks", 1, "name"): (8, 7),
    }
    assert {path: (document.line(path), document.column(path)) for path in places} == places


def test_a_field_that_is_not_there_stands_where_its_nearest_parent_does() -> None:
    document = read("spec:\n  tasks:\n  - name: a\n", "file.yaml")[0]
    assert document.line(("spec", "tasks", 0, "python", "code")) == 3
    assert document.line(("spec", "tasks", 7)) == 2
    assert document.line(("status",)) == 1


def test_a_merged_field_stands_where_it_was_written() -> None:
    document = read("base: &b\n  x: 1\nspec:\n  <<: *b\n", "file.yaml")[0]
    assert document.body["spec"] == {"x": 1}
    assert (document.line(("spec",)), document.line(("spec", "x"))) == (3, 2)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1), 'duplicate key "a"; first defined on line 1'),
        ("x:\n  1: a\n  '1': b\n", (3, 3), 'duplicate key "1"; first defined on line 2'),
        ("yes: a\non: b\n", (2, 1), 'duplicate key "true"; first defined on line 1'),
        ("x: [{b: 1, b: 2}]", (1, 12), 'duplicate key "b"; first defined on line 1'),
        ("a: 1\n\tb: 2\n", (2, 1), "YAML cannot be indented with tabs; use spaces"),
        (
            "a:\n  b: [1, 2\nc: 3\n",
            (3, 2),
            "missing ] or } of what is opened on line 2, column 6, or a string in it must be quoted",
        ),
        (
            "a: {b: ${{ params.b }}}\n",
            (1, 9),
            (
                "missing ] or } of what is opened on line 1, column 4, or a string in it must be quoted; quote an "
                "expression within [ ] and { }, and one that contains ': ' or ' #'"
            ),
        ),
        (
            "tasks:\n- when: ${{ a ? b : c }}\n",
            (2, 19),
            (
                "a string that contains ': ' must be quoted; quote an expression within [ ] and { }, and one that "
                "contains ': ' or ' #'"
            ),
        ),
        (
            "when: !x\n",
            (1, 7),
            "unsupported YAML tag !x; quote a string that begins with !, write an expression in ${{ }}",
        ),
        (
            "a: !!binary aGk=\n",
            (1, 4),
            "unsupported YAML tag !!binary; quote a string that begins with !, write an expression in ${{ }}",
        ),
        (
            "a: !!set {x, y}\n",
            (1, 4),
            "unsupported YAML tag !!set; quote a string that begins with !, write an expression in ${{ }}",
        ),
        ("a: !!int x\n", (1, 4), 'value "x" does not fit its tag !!int'),
        (
            "a: .nan\n",
            (1, 4),
            'unsupported number .nan: JSON has no infinity and no NaN; quote it for a string: ".nan"',
        ),
        ("a: 1\n1.5: b\n", (2, 1), "a key must be a string, got a number with a fraction; quote it"),
        ("~: b\n", (1, 1), "a key must be a string, got null; quote it"),
        ("a: b\x00c\n", (1, 5), "invalid character '\\x00'; in double quotes, write it as an escape"),
        ("a: 1\nb: \ud800\n", (2, 4), "invalid character '\\ud800'; in double quotes, write it as an escape"),
        ("a: *nowhere\n", (1, 4), "unknown alias *nowhere; define &nowhere above it"),
        ("a: &x {b: *x}\n", (1, 11), "alias *x is inside its own anchor"),
        ("a: {<<: 3}\n", (1, 9), "<< must be an object, or a list of objects, such as *base"),
        (
            "a: 1\n---\n- b\n",
            (3, 1),
            "expected an object with apiVersion and kind, got a list; separate objects with a line of ---",
        ),
        (
            "hello\n",
            (1, 1),
            "expected an object with apiVersion and kind, got a single value; separate objects with a line of ---",
        ),
    ],
)
def test_an_error_says_where_and_what(text: str, place: tuple[int, int], words: str) -> None:
    found = error(text)
    assert (found.line, found.column) == place
    assert words in found.message
    assert str(found).startswith(f"file.yaml:{place[0]}:{place[1]}: ")


def test_a_repeated_value_is_no_shared_one() -> None:
    found = body("a: &x {l: []}\nb: *x\nc: {<<: *x}\n")
    found["a"]["l"].append(1)
    assert (found["b"], found["c"]) == ({"l": []}, {"l": []})


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "the aliases of this file expand to more than 1 MiB" in error("\n".join(lines)).message


def test_a_long_text_cannot_be_repeated_without_end() -> None:
    text = f"a: &x {'y' * 100_000}\nb: [{', '.join(['*x'] * 1000)}]\n"
    assert "the aliases of this file expand to more than 1 MiB" in error(text).message


def test_merges_count_as_repetition() -> None:
    lines = ["m0: &m0 {" + ", ".join(f"k{i}: {'v' * 1000}" for i in range(100)) + "}"]
    lines += [f"m{n}: &m{n} {{<<: *m{n - 1}, own: {n}}}" for n in range(1, 50)]
    assert "the aliases of this file expand to more than 1 MiB" in error("\n".join(lines)).message


def test_deep_nesting_is_refused_written_out_or_by_aliases() -> None:
    assert body("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert "nested deeper" in error("a: " + "[" * 100_000).message
    chain = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    assert "nested deeper" in error("\n".join(chain)).message


def test_a_huge_file_is_refused_unread() -> None:
    assert (
        "file too large: 4,194,305 characters, at most 4,194,304 are supported"
        in error("a" * (MAX_CHARACTERS + 1)).message
    )


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    assert body("\ufeffa: 1\r\nb:\r\n- |\r\n  x\r\n  y\r\n") == {"a": 1, "b": ["x\ny\n"]}


def test_a_number_of_ten_thousand_digits_is_read_at_once() -> None:
    assert body(f"a: {'9' * 10_000}")["a"] == "9" * 10_000


@given(st.text(alphabet="ab1: \n-{}[],\"'&*x<|>#!~\t?%@\\.\x00é\ud800\ufeff", max_size=40) | st.text(max_size=40))
@example("\x85a: 1")
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        bodies = [document.body for document in read(text, "file.yaml")]
    except ManifestError as refused:
        place = refused.line, refused.column
    else:
        place = 1, len(json.dumps(bodies, allow_nan=False))
    assert min(place) >= 1
