"""Bodies of answers: unpacked whole in whatever pieces they come, or refused with the reason."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from nexus.bootstrap.body import Fault, read, unpacked

ROWS = b"".join(b"%d,row %d\n" % (n, n * 7919) for n in range(2_000))


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    yield b""
    for start in range(0, len(body), size):
        yield body[start : start + size]


WHOLE = {
    "gzip": ("gzip", gzip.compress(ROWS)),
    "gzip-of-nothing": ("gzip", gzip.compress(b"") + gzip.compress(ROWS)),
    "members": ("gzip", b"".join(gzip.compress(part) for part in (ROWS[:1000], b"", ROWS[1000:]))),
    "padded": ("gzip", gzip.compress(ROWS) + bytes(512)),
    "x-gzip": ("X-GZip", gzip.compress(ROWS)),
    "zlib": ("deflate", zlib.compress(ROWS)),
    "raw-deflate": ("deflate", raw_deflate(ROWS)),
    "stacked": ("deflate, gzip, identity", gzip.compress(zlib.compress(ROWS))),
    "twice": ("gzip,gzip", gzip.compress(gzip.compress(ROWS))),
    "stored": ("gzip", gzip.compress(ROWS, 0)),
    "identity": (" , identity", ROWS),
    "none": ("", ROWS),
}


@pytest.mark.parametrize("size", [1, 2, 1_000, 1_000_000])
@pytest.mark.parametrize("name", WHOLE)
def test_a_packed_body_is_read_whole(name: str, size: int) -> None:
    encodings, body = WHOLE[name]
    assert b"".join(unpacked(pieces(body, size), encodings)) == ROWS


@pytest.mark.parametrize("encodings", ["gzip", "deflate", "br", "gzip, zstd"])
def test_no_body_has_no_encoding(encodings: str) -> None:
    assert b"".join(unpacked([b"", b""], encodings)) == b""


BROKEN = {
    "cut-gzip": ("gzip", gzip.compress(ROWS)[:4000], "gzip body is broken: it is cut off"),
    "cut-header": ("gzip", gzip.compress(ROWS)[:5], "gzip body is broken: it is cut off"),
    "cut-trailer": ("gzip", gzip.compress(ROWS)[:-4], "gzip body is broken: it is cut off"),
    "cut-at-the-end": ("gzip", gzip.compress(ROWS)[:-1], "gzip body is broken: it is cut off"),
    "cut-member": ("gzip", gzip.compress(ROWS) + gzip.compress(ROWS)[:100], "gzip body is broken: it is cut off"),
    "cut-deflate": ("deflate", zlib.compress(ROWS)[:4000], "deflate body is broken: it is cut off"),
    "cut-raw": ("deflate", raw_deflate(ROWS)[:-1], "deflate body is broken: it is cut off"),
    "cut-inner": ("deflate, gzip", gzip.compress(zlib.compress(ROWS)[:4000]), "deflate body is broken: it is cut off"),
    "wrong-sum": ("gzip", gzip.compress(ROWS)[:-8] + bytes(8), "gzip body is broken: incorrect data check"),
    "wrong-length": ("gzip", gzip.compress(ROWS)[:-4] + bytes(4), "gzip body is broken: incorrect length check"),
    "trailing": ("gzip", gzip.compress(ROWS) + b"more", "gzip body is broken: incorrect header check"),
    "trailing-deflate": ("deflate", zlib.compress(ROWS) + b"more", "deflate body is broken: data follows its end"),
    "plain-text": ("gzip", ROWS, "gzip body is broken: incorrect header check"),
    "wrong-way-round": ("gzip, deflate", gzip.compress(zlib.compress(ROWS)), "deflate body is broken"),
}


@pytest.mark.parametrize("size", [1, 1_000_000])
@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_not_whole_fails_and_is_worth_a_retry(name: str, size: int) -> None:
    encodings, body, words = BROKEN[name]
    with pytest.raises(Fault) as fault:
        list(unpacked(pieces(body, size), encodings))
    assert words in str(fault.value)
    assert (fault.value.kind, fault.value.sign) == ("BrokenBody", "network")


@pytest.mark.parametrize(
    ("encodings", "words"),
    [
        ("br", 'content encoding "br", supported are gzip and deflate'),
        ("gzip, zstd", 'content encoding "zstd", supported are gzip and deflate'),
        ("gzip, gzip, gzip, gzip, gzip", "5 content encodings, at most 4"),
    ],
)
def test_an_encoding_that_nobody_asked_for_fails_and_is_not_worth_one(encodings: str, words: str) -> None:
    with pytest.raises(Fault, match=words) as fault:
        list(unpacked([b"x"], encodings))
    assert (fault.value.kind, fault.value.sign) == ("UnsupportedEncoding", None)


def test_what_unpacks_to_gigabytes_comes_in_small_pieces() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    twice = gzip.compress(bomb)
    tracemalloc.start()
    try:
        stream = unpacked([twice], "gzip, gzip")
        assert max(len(next(stream)) for _ in range(500)) <= 64 * 1024
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '[{"x":{"b":1,"c":2,"b":1}}]'])
def test_a_duplicate_key_is_told_and_neither_value_lost(text: str) -> None:
    with pytest.raises(Fault, match="duplicate key"):
        read(text.encode(), "application/json", None, None)
    assert read(text.encode(), "application/json", None, "text") == ({"text": text}, "http.responseType is text")
