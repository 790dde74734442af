"""The body of an http task's answer: unpacked whole and read as what it says it is, or refused with the reason."""

from __future__ import annotations

import json

from nexus.api.numbers import INT_LIMIT, stored_number
from nexus.bootstrap.common import DEPTH_LIMIT, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

PIECE = 64 * 1024  # bytes that one step of unpacking may give: a few KiB may stand for gigabytes
MOST_ENCODINGS = 4
GZIP, ZLIB, DEFLATE = 31, 15, -15  # what zlib calls wbits
MOST_LEVELS = 300  # of JSON that `result` works on; what it makes of it has to keep to the limit of an output

NETWORK = "network"


class Fault(Exception):
    """Why a request failed: `kind` is the error's type, `sign` what retry.retryOn knows it by (a status, `network`)."""

    def __init__(self, kind: str, message: str, sign: int | str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.sign = sign
        self.retry_after = retry_after


class Digits(str):
    """A JSON number that neither 64 bits nor a double hold, as it was written."""


def unpacked(chunks: Iterable[bytes], encodings: str) -> Iterator[bytes]:
    """Yield the bytes of a body, decoded by its Content-Encoding, whose last entry was applied last."""
    names = [name for name in (part.strip().lower() for part in encodings.split(",")) if name not in ("", "identity")]
    if len(names) > MOST_ENCODINGS:
        raise Fault("UnsupportedEncoding", f"the answer has {len(names)} content encodings, at most {MOST_ENCODINGS}")
    for name in reversed(names):
        if name in ("gzip", "x-gzip", "deflate"):
            chunks = inflated(chunks, name)
        else:
            chunks = refused(chunks, name)
    return iter(chunks)


def refused(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Nothing, where there is no body either."""
    for chunk in chunks:
        if chunk:
            text = f'the answer has the content encoding "{encoding[:40]}", supported are gzip and deflate'
            text += "; have the server send one of these (see Accept-Encoding in http.headers)"
            raise Fault("UnsupportedEncoding", text)
    yield from ()


def inflated(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the bytes in a gzip (all its members) or deflate stream (with zlib's header, or without, as some servers
    do)."""
    import zlib

    stream: Any = None
    begun = False
    for chunk in chunks:
        data = chunk
        while data:
            if stream is None:
                # Zeros may follow a member, to fill a block (gzip(1)).
                data = data.lstrip(b"\0") if begun and encoding != "deflate" else data
                if not data:
                    break
                if begun and encoding == "deflate":
                    raise broken(encoding, "data follows its end")
                stream, begun = zlib.decompressobj(wbits(data, encoding)), True
            try:
                yield from steps(stream, data)
            except zlib.error as error:
                raise broken(encoding, str(error).rpartition(": ")[2]) from None
            data = stream.unused_data
            if stream.eof:
                stream = None
    if stream is not None:
        raise broken(encoding, "it is cut off")


def wbits(data: bytes, encoding: str) -> int:
    if encoding != "deflate":
        return GZIP
    return ZLIB if data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] * 256 + data[1]) % 31 == 0) else DEFLATE


def steps(stream: Any, data: bytes) -> Iterator[bytes]:
    """Unpack in steps of at most PIECE bytes, up to the end of the data or of the stream."""
    while True:
        piece = stream.decompress(data, PIECE)
        yield piece
        data = stream.unconsumed_tail
        if stream.eof or (not data and len(piece) < PIECE):
            return


def broken(encoding: str, why: str) -> Fault:
    return Fault("BrokenBody", f"the answer's {encoding} body is broken: {why}; nothing of it is used", NETWORK)


def text_of(body: bytes, charset: str | None, kind: str) -> str:
    """Return the body as text, or a Fault: no character is replaced."""
    way_out = "set http.responseType: base64 to get its bytes"
    named = f'text in its charset "{charset[:40]}"' if charset else "UTF-8 text, and its Content-Type names no charset"
    try:
        return body.decode(charset or "utf-8")
    except UnicodeDecodeError as error:
        text = f"the answer ({kind}) is not {named}: byte 0x{body[error.start]:02x} at offset {error.start}"
    except (LookupError, ValueError, RuntimeError):  # unknown, or no encoding of text
        text = f'the answer ({kind}) has the unknown charset "{str(charset)[:40]}"'
    raise Fault("InvalidBody", f"{text}; {way_out}")


def read(body: bytes, content_type: str, charset: str | None, wanted: str | None) -> tuple[dict[str, Any], str]:
    """Return ({json | text | base64}, why there is no json): as http.responseType says, else by the content type."""
    if wanted == "base64":
        import base64

        return {"base64": base64.b64encode(body).decode()}, "http.responseType is base64"
    kind = content_type.partition(";")[0].strip().lower()[:100]
    text = text_of(body, charset, kind or "of no Content-Type")
    if wanted == "text":
        return {"text": text}, "http.responseType is text"
    why = f"the answer is {kind or 'of no Content-Type'}, not JSON" if text else "the answer has no body"
    if wanted == "json" or kind == "application/json" or kind.endswith("+json"):
        try:
            return {"json": parsed(text)}, ""
        except (ValueError, RecursionError) as error:
            if text and (kind == "application/json" or kind.endswith("+json")):
                problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
                why = f"the answer is {kind}, but not valid JSON ({problem})"
    if wanted == "json":
        raise Fault("NotJSON", why)
    return {"text": text}, why


def parsed(text: str) -> Any:
    return json.loads(
        text.removeprefix("\ufeff"),
        parse_constant=not_json,
        parse_int=whole,
        parse_float=fraction,
        object_pairs_hook=distinct,
    )


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, unless it has two values for one key: either would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        from collections import Counter

        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        text = f"the answer's JSON has the duplicate key {json.dumps(twice[:80], ensure_ascii=False)}"
        raise Fault("InvalidBody", f"{text}; to take it as it is, set http.responseType: text")
    return found


def not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def whole(digits: str) -> int | Digits:
    # Counted before it is read: Python takes quadratic time for digits beyond all use.
    return int(digits) if len(digits) <= 20 and -INT_LIMIT <= int(digits) < INT_LIMIT else Digits(digits)


def fraction(digits: str) -> float | Digits:
    number = float(digits)
    return number if abs(number) != float("inf") else Digits(digits)


def check_json(value: Any, shown: Callable[[str], str], trail: tuple[object, ...] = ()) -> None:
    """Refuse what would not arrive as it was sent, in an HTTP user's words; `shown` hides secrets in the server's."""
    if len(trail) > DEPTH_LIMIT:
        text = f"the answer's JSON is nested more than {DEPTH_LIMIT} levels deep; take a part of it with http.result"
        raise Refusal("InvalidOutput", f"{text}, or set http.responseType: text")
    if isinstance(value, Digits):
        place, number = shown(place_of(trail)), shown(value[:40])
        text = f"{place} is {number}, a number that 64 bits do not hold; to keep it as a string, write http.result "
        raise Refusal("InvalidOutput", f"{text}with string({place}), or set http.responseType: text")
    if isinstance(value, str):
        check_string(value)
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            check_string(str(key))
            check_json(item, shown, (*trail, key))


def place_of(trail: tuple[object, ...]) -> str:
    return "response.json" + "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in trail)


def check_string(text: str) -> None:
    """Refuse a lone surrogate, which JSON can write and UTF-8 cannot."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        message = "the answer's JSON has half of a surrogate pair in a string, which is not text"
        raise Refusal("InvalidOutput", f"{message}; set http.responseType: text to get the JSON as it was sent")


def plain(value: Any, levels: int = MOST_LEVELS) -> Any:
    """Return JSON as CEL takes it: 3.0 is the integer 3, and a number that 64 bits do not hold the string of its
    digits."""
    if isinstance(value, (dict, list)) and levels == 0:
        raise Refusal("InvalidOutput", f"the answer's JSON is nested more than {MOST_LEVELS} levels deep")
    if isinstance(value, dict):
        for key in value:
            check_string(key)
        return {key: plain(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, levels - 1) for item in value]
    if isinstance(value, float):
        return stored_number(value)
    if isinstance(value, str):
        check_string(value)
    return str(value) if isinstance(value, Digits) else value
