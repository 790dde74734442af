"""Output lines: the forms of what a bash task writes, byte for byte."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.api.reasons import Reason
from nexus.core.data.outputs import Frame, Output, Rejected, message_text, of_bootstrap, of_frame, of_lines


def refusal(answer: object) -> str:
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.INVALID_OUTPUT
    assert len(answer.message) < 500
    return answer.message


def inline(raw: bytes) -> object:
    """What the operator makes of lines in the message, on the way of a cluster and of a local run."""
    message = b'{"lines":%d}\n' % len(raw) + raw
    return of_bootstrap(message_text(message))


def framed(raw: bytes) -> object:
    return of_frame(Frame(len(raw), "", "lines"), raw.decode(errors="surrogateescape"))


# -- the forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("\n\n", {}),
        ("a=1", {"a": "1"}),
        ("a:=1", {"a": 1}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("a= b ", {"a": " b "}),
        ("a==", {"a": "="}),
        ("a=<<b", {"a": "<<b"}),
        ("A_9.x-y=1", {"A_9.x-y": "1"}),
        ("_=1", {"_": "1"}),
        ("a=1\na=1", {"a": "1"}),
        ("a:=1.0\na:= 1 ", {"a": 1}),
        ('a:={"b":[true,null]}', {"a": {"b": [True, None]}}),
        ("a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        ("a=1\r\r\n", {"a": "1\r"}),
        ("a=x\u2028y\x0bz\x85", {"a": "x\u2028y\x0bz\x85"}),
        ("a=\ufffd", {"a": "\ufffd"}),
        ("a=${{ params.day }} $(rm -rf) `x`", {"a": "${{ params.day }} $(rm -rf) `x`"}),
        ("a<<E\nE", {"a": ""}),
        ("a<<E\n\nE", {"a": ""}),
        ("a<<E\none\ntwo\nE\n", {"a": "one\ntwo"}),
        ("a<<E\none\n\nE\n", {"a": "one\n"}),
        ("a<<E\n\n one\n\nE\nb=2", {"a": "\n one\n", "b": "2"}),
        ("a<<E\nEE\n E\nE \nE=1\nb<<E\nE\nc=3", {"a": "EE\n E\nE \nE=1\nb<<E", "c": "3"}),
        ("a<<E=F\nx\nE=F", {"a": "x"}),
        ("a<< E\nx\n E", {"a": "x"}),
        ("a<<E\nx\r\ny\r\nE", {"a": "x\r\ny\r"}),
        ("a<<E\r\nx\r\ny\r\nE\r\nb=1\r\n", {"a": "x\r\ny", "b": "1"}),
        ('a:<<E\n{\n  "b": [1,\n 2]\n}\nE', {"a": {"b": [1, 2]}}),
    ],
)
def test_each_form_gives_what_was_written(text: str, value: dict[str, Any]) -> None:
    assert of_lines(text) == Output(value)
    assert inline(text.encode()) == Output(value)
    assert framed(text.encode()) == Output(value)


KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]*", fullmatch=True)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.dictionaries(KEYS, TEXTS))
def test_any_text_passes_between_delimiters_that_it_does_not_hold(values: dict[str, str]) -> None:
    text = "".join(f"{key}<<EOF_7f\n{value}\nEOF_7f\n" for key, value in values.items())
    assert inline(text.encode()) == Output(values)
    assert framed(text.encode()) == Output(values)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *(
            "total",
            "=3",
            ":=3",
            " a=1",
            "a =1",
            "the total=3",
            "\ta=1",
            "1a=1",
            "-a=1",
            ".a=1",
            "größe=1",
            "a[0]=1",
            "a/b=1",
        ),
        *(
            "\ufeffa=1",
            "a:b=1",
            "a<b",
            "a:",
            "a<",
            "<<E",
            " <<E",
            "a b<<E",
            "\x85a=1",
            '{"a=b":1}',
            "a::=1",
            "a\x00b=1",
        ),
    ],
)
def test_a_line_of_no_form_is_named(line: str) -> None:
    assert refusal(of_lines(f"fine=1\n{line}\nE\n")).startswith("line 2 of $NEXUS_OUTPUT ")


@pytest.mark.parametrize("value", ["", "abc", "NaN", "-Infinity", "1e999", "{'a':1}", "01", "9" * 30, "[" * 3_000])
def test_json_that_is_none_is_named_with_its_key(value: str) -> None:
    words = refusal(of_lines(f"rows:={value}"))
    assert words.startswith("line 1 of $NEXUS_OUTPUT must have JSON behind rows:, got ")
    assert "write rows=" in words


def test_json_of_several_lines_names_the_way_to_write_it() -> None:
    assert "write doc:<<$NEXUS_EOF" in refusal(of_lines('doc:={\n  "a": 1\n}\n'))


def test_text_of_several_lines_names_the_way_to_write_it() -> None:
    assert "nexus_output KEY VALUE" in refusal(of_lines("log=line one\nline two\n"))


@pytest.mark.parametrize("text", ['{"a":1}', '{\n  "a": 1\n}', "[1]", '{"next":"/orders?page=2","rows":3}'])
def test_json_without_a_key_names_the_way_to_write_it(text: str) -> None:
    assert "nexus_output --json KEY VALUE" in refusal(of_lines(text))


@pytest.mark.parametrize("text", ["a<<", "a<<\nx\n", "a:<<\n", "a<<\r\nx\r\n"])
def test_a_block_without_a_delimiter_is_refused(text: str) -> None:
    assert "no delimiter behind <<" in refusal(of_lines(text))


@pytest.mark.parametrize("text", ["a<<E", "a<<E\nx", "a<<E\nE ", "a<<E\n E", "a<<E\nE\r\n", "a<<'E'\nx\nE\n"])
def test_a_block_that_is_not_closed_is_refused_where_it_opens(text: str) -> None:
    words = refusal(of_lines("b=1\n" + text))
    assert words.startswith("line 2 of $NEXUS_OUTPUT opens a block with <<, but no later line")


def test_the_line_that_nearly_closes_a_block_is_shown() -> None:
    assert 'found "E\\r"' in refusal(of_lines("a<<E\nx\nE\r\n"))
    assert 'found "no line endE"' in refusal(of_lines("a<<E\nx\nno line endE\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version=1.2.3\ntitle=fix\n\nversion=9.9.9\n", 'line 4 of $NEXUS_OUTPUT sets key "version" again'),
        ("approved:=false\ntitle=x\napproved:=true\nz=\n", "to another value than line 1"),
        ("a:=1\na=1", "line 2"),
        ("a:=true\na:=1", "line 2"),
    ],
)
def test_a_key_with_two_values_is_refused_for_a_value_may_have_brought_one_along(text: str, words: str) -> None:
    assert words in refusal(of_lines(text))


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("end", ["MDc=", "MA==", "QUJDMDc="])
def test_base64_that_was_broken_into_two_lines_is_no_key(width: int, end: str) -> None:
    assert "line 2 of $NEXUS_OUTPUT looks like the rest of the base64" in refusal(of_lines(f"x={'M' * width}\n{end}\n"))


def test_an_empty_value_after_a_hash_is_no_base64() -> None:
    assert of_lines(f"sha256={'0f' * 32}\nerr=\n") == Output({"sha256": "0f" * 32, "err": ""})


BAD = [b"\xfc", b"\xe9\xe8", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xff\xfe", b"\x80"]
BAD += [b"\xf4\x90\x80\x80"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("read", [inline, framed])
@pytest.mark.parametrize(
    "text", [b"customer=M%bller\nrows:=1234\n", b'customer:="%b"\nids:=[1,2,3,4]\n', b"k%b=1\na=2", b"a<<E\n%b\nE\nb=2"]
)
def test_bytes_that_are_no_utf8_fail_with_their_line_and_cut_nothing(read: Any, text: bytes, bad: bytes) -> None:
    words = refusal(read(b"first=\xc3\xa9\n" + text % bad))
    assert words.startswith("line 3" if text.startswith(b"a<<") else "line 2")
    assert "must be UTF-8" in words


@pytest.mark.parametrize("bad", BAD)
def test_beside_a_character_that_stands_for_bad_bytes_the_lines_in_question_are_named(bad: bytes) -> None:
    words = refusal(inline(b"a=\xef\xbf\xbd\nb=%b\n" % bad))
    assert words.startswith("lines 1, 2 of $NEXUS_OUTPUT: one of them must be UTF-8")


@given(st.binary(max_size=60))
def test_whatever_bytes_are_written_both_ways_agree_and_nothing_is_replaced(raw: bytes) -> None:
    short, long = inline(b"a=" + raw), framed(b"a=" + raw)
    assert type(short) is type(long)
    if isinstance(short, Output):
        assert short == long
        (b"a=" + raw).decode()  # strictly


@pytest.mark.parametrize("message", ['{"lines":40}\na=1\nb=2\n', '{"output":{"a":1,"text":"half of'])
def test_a_message_that_the_kubelet_cut_is_told_as_that(message: str) -> None:
    assert "more than three containers" in refusal(of_bootstrap(message))


def test_lines_that_were_appended_after_the_count_are_left_out() -> None:
    assert of_bootstrap('{"lines":4}\na=1\nb=2\n') == Output({"a": "1"})


@pytest.mark.parametrize("unit", ["a<<E\n", "x\n", "a=1\n", "a<<E\nE\n", "\r\n", "=\n", "a<<E\r\n"])
def test_a_megabyte_of_lines_is_read_in_linear_time(unit: str) -> None:
    text = unit * (1024 * 1024 // len(unit))
    began = time.process_time()
    of_lines(text)
    assert time.process_time() - began < 5


def test_a_message_quotes_only_the_start_of_a_line() -> None:
    refusal(of_lines("x" * 1_000_000))
    refusal(of_lines("x" * 1_000_000 + ":=1a"))
    refusal(of_lines("x" * 1_000_000 + "=1\n" + "x" * 1_000_000 + "=2"))
    refusal(of_lines("x<<" + "E" * 1_000_000))
