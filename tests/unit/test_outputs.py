"""Outputs: termination messages of every form, frames in logs, and what is refused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from nexus.api.reasons import Reason
from nexus.core.data.outputs import (
    OUTPUT_LIMIT,
    Frame,
    Output,
    Rejected,
    error_of,
    find_frame,
    message_text,
    of_bootstrap,
    of_container,
    of_frame,
    of_lines,
    within_limit,
)
from nexus.core.text.json_text import dump


def lines(text: str) -> str:
    """The message of a bash task that wrote this to $NEXUS_OUTPUT."""
    return f'{{"lines":{len(text.encode())}}}\n{text}'


def framed(text: bytes, pack: Callable[[bytes], bytes] = zlib.compress) -> bytes:
    return b"NEXUS-OUTPUT " + base64.b64encode(pack(text)) + b"\n"


def found(log: bytes, text: bytes) -> str | None:
    return find_frame(log, len(text), hashlib.sha256(text).hexdigest())


# -- messages of bootstraps -------------------------------------------------------------------------------------------


def test_an_output_in_the_message() -> None:
    assert of_bootstrap('{"output":{"total":3,"name":"Zoë"}}') == Output({"total": 3, "name": "Zoë"})


def test_lines_in_the_message() -> None:
    assert of_bootstrap(lines("day=2026-11-23\nrows:=12\n")) == Output({"day": "2026-11-23", "rows": 12})


def test_lines_are_counted_in_bytes() -> None:
    assert of_bootstrap(lines("name=Zoë\n") + "junk=after the end") == Output({"name": "Zoë"})


def test_a_frame_in_the_message() -> None:
    message = '{"frame":{"size":5000,"sha256":"ab12","format":"json"}}'

    assert of_bootstrap(message) == Frame(5000, "ab12", "json")


def test_a_frame_that_promises_more_than_any_output_may_have_is_not_even_looked_for() -> None:
    answer = of_bootstrap('{"frame":{"size":99000000000,"sha256":"ab12","format":"json"}}')

    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.OUTPUT_TOO_LARGE


def test_a_refusal_in_the_message_of_a_task_that_exited_0() -> None:
    message = '{"error":{"reason":"InvalidOutput","message":"output[\'x\'] is a set: use sorted(...)"}}'

    assert of_bootstrap(message) == Rejected(Reason.INVALID_OUTPUT, "output['x'] is a set: use sorted(...)")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "{",
        "[]",
        "3",
        '{"output":[1]}',
        '{"output":null}',
        '{"lines":"3"}\nabc',
        '{"lines":-1}\na=b',
        '{"frame":{"size":5}}',
        '{"frame":{"size":5,"sha256":"ab","format":"xml"}}',
        '{"frame":{"size":-5,"sha256":"ab","format":"json"}}',
        '{"output":{"x":NaN}}',
        '{"output":{"x":1e999}}',
        '{"output":{"x":123456789012345678901234567890}}',
        '{"output":{"x":"\\ud800"}}',
        "[" * 4_000,
        '{"output":' + '{"a":' * 150 + "1" + "}" * 150 + "}",
    ],
)
def test_a_message_that_no_bootstrap_writes_is_refused_in_words(message: str) -> None:
    answer = of_bootstrap(message)

    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.INVALID_OUTPUT


# -- messages of containers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "value"),
    [("", {}), ("done.", {}), ("[1,2]", {}), ('{"rows":3}', {"rows": 3}), (' {"a":{"b":[1]}}\n', {"a": {"b": [1]}})],
)
def test_a_container_may_leave_an_object_or_anything_else(message: str, value: dict[str, Any]) -> None:
    assert of_container(message) == Output(value)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"rows":3', "Expecting ',' delimiter"),
        ('{"rows":3}\n{"rows":4}', "Extra data"),
        ("{rows: 3}", "Expecting property name"),
        ('{"rows":NaN}', "NaN is not JSON"),
        ('{"rows":1e999}', "1e999 is too large"),
        ('{"id":18446744073709551615}', "does not fit into 64 bits"),
        ('{"a":{"rows":1,"rows":2}}', 'duplicate key "rows"'),
        ('{"text":"\\ud83d"}', "half a surrogate pair"),
        ('{"a":' * 101 + "1" + "}" * 101, "100 levels"),
        ('\ufeff{"rows":3}', "BOM"),
        ('{"name":"M\ufffdller"}', "it is not UTF-8"),
        (message_text('{"rows":3}'.encode("utf-16")), "Expecting value"),
    ],
)
def test_what_starts_as_an_object_and_cannot_be_kept_as_it_is_fails_the_task(message: str, words: str) -> None:
    answer = of_container(message)

    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.INVALID_OUTPUT
    assert words in answer.message
    assert len(answer.message) < 400


def test_the_character_that_stands_for_bad_bytes_can_be_written_as_an_escape() -> None:
    assert of_container('{"text":"\\ufffd"}') == Output({"text": "\ufffd"})


def test_a_full_message_that_is_no_json_was_cut() -> None:
    cut = '{"rows":"' + "x" * 5_000

    answer = of_container(cut[:4_096])

    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.OUTPUT_TOO_LARGE
    assert "4096 bytes" in answer.message


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_limit_is_on_the_json_in_bytes() -> None:
    room = OUTPUT_LIMIT - len(dump({"x": ""}))
    fits, too_long = {"x": "y" * room}, {"x": "y" * (room - 1) + "ë"}

    assert within_limit(fits) == Output(fits)
    answer = within_limit(too_long)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.OUTPUT_TOO_LARGE
    assert "524,289 bytes" in answer.message
    assert "524,288" in answer.message


def test_lines_are_measured_as_the_json_they_become() -> None:
    assert isinstance(of_lines("x=" + "\\" * (OUTPUT_LIMIT // 2)), Rejected)


# -- frames -----------------------------------------------------------------------------------------------------------

TEXT = json.dumps({"orders": [{"id": number, "name": "Zoë"} for number in range(500)]}, ensure_ascii=False).encode()


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress], ids=["python", "bash"])
def test_a_frame_is_found_at_the_end_of_a_log(pack: Callable[[bytes], bytes]) -> None:
    log = b"line\n" * 100 + b"no newline at the end\n" + framed(TEXT, pack)

    assert found(log, TEXT) == TEXT.decode()


def test_a_frame_is_found_before_what_other_processes_wrote_after_it() -> None:
    assert found(framed(TEXT) + b"bye\n" * 50, TEXT) == TEXT.decode()


def test_a_forged_frame_after_the_real_one_is_passed_over() -> None:
    forged = framed(b'{"orders":[]}') + b"NEXUS-OUTPUT not base64!\n" + b"NEXUS-OUTPUT " + base64.b64encode(b"no zlib")

    assert found(framed(TEXT) + forged, TEXT) == TEXT.decode()


def test_a_frame_with_another_hash_is_none() -> None:
    assert found(framed(TEXT.replace(b"1", b"2")), TEXT) is None


def test_a_frame_that_was_cut_is_none() -> None:
    assert found(framed(TEXT)[:-30], TEXT) is None
    assert found(framed(TEXT)[40:], TEXT) is None
    assert found(b"", TEXT) is None


def test_a_frame_within_a_line_of_other_text_is_none() -> None:
    assert found(b"echo " + framed(TEXT), TEXT) is None


def test_a_bomb_is_not_unpacked() -> None:
    bomb = framed(b"\0" * 300_000_000)
    began = time.process_time()

    assert found(bomb, TEXT) is None
    assert time.process_time() - began < 0.5


def test_a_log_full_of_forged_frames_is_not_worked_through() -> None:
    forged = framed(b"\0" * 1_000_000) * 5_000
    began = time.process_time()

    assert find_frame(forged, 1_000_000, "0" * 64) is None
    assert time.process_time() - began < 1.0


def test_the_output_of_a_frame_is_read_by_its_format() -> None:
    assert of_frame(Frame(1, "", "json"), '{"a":1}') == Output({"a": 1})
    assert of_frame(Frame(1, "", "lines"), "a:=1\n") == Output({"a": 1})


@pytest.mark.parametrize("text", ["[1]", "nonsense", '{"a":NaN}', "[" * 100_000])
def test_a_frame_without_an_object_is_refused(text: str) -> None:
    answer = of_frame(Frame(1, "", "json"), text)

    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.INVALID_OUTPUT


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('{"error":{"type":"ValueError","message":"no orders"}}', ("ValueError: no orders", None)),
        ('{"error":{"type":"ValueError","message":"no orders","line":7}}', ("ValueError: no orders (line 7)", None)),
        ('{"error":{"type":"ExitCode","message":"exit code 3"}}', ("exit code 3", None)),
        ('{"error":{"message":"boom"}}', ("boom", None)),
        ('{"error":{"reason":"InvalidOutput","message":"no"}}', ("no", Reason.INVALID_OUTPUT)),
        ('{"error":{"reason":"JobDeleted","message":"no"}}', ("no", None)),
        ('{"error":{"message":"half \\ud800"}}', ("", None)),
        ("killed", ("", None)),
        ("", ("", None)),
        ("[" * 4_096, ("", None)),
    ],
)
def test_what_a_bootstrap_tells_of_an_error(message: str, told: tuple[str, Reason | None]) -> None:
    assert error_of(message) == told
