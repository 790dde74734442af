"""http tasks: the bootstrap as a real process against a real server on loopback."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from tests.unit.bootstrap_harness import REFUSED, Bench, Ended, compact

ROWS = b"".join(b"%d,row %d\n" % (n, n * 7919) for n in range(20_000))


BODIES = {
    "members": ("gzip", gzip.compress(ROWS[:1000]) + gzip.compress(ROWS[1000:]), 200),
    "cut-gzip": ("gzip", gzip.compress(ROWS)[:4000], 200),
    "brotli": ("br", b'\x0b\x05\x80{"ok":true}\x03', 200),
    "failing": ("gzip", gzip.compress(b"out of order"), 500),
    "failing-cut": ("gzip", gzip.compress(ROWS)[:4000], 500),
}
SECRET = 's3cr3t/+&=" ü'


class Handler(BaseHTTPRequestHandler):
    """Each path is one way for a server to behave."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass

    def answer(self, body: bytes, kind: str | None = None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.sent = body.decode()
        parts = urlsplit(self.path)
        behaviour = getattr(self, parts.path.strip("/").partition("/")[0].replace("-", "_"), None)
        if behaviour is not None:
            behaviour()
            return
        seen = {
            "method": self.command,
            "path": parts.path,
            "query": parse_qsl(parts.query, keep_blank_values=True),
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": self.sent,
        }
        self.answer(compact(seen).encode(), "application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer_any  # noqa: N815 - http.server's names

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()

    def text(self) -> None:
        self.answer(b"plain text", "text/plain")

    def bytes(self) -> None:
        self.answer(b"%PDF \xff\x00", "application/pdf")

    def latin_csv(self) -> None:
        self.answer("id,Müller\n".encode("latin-1"), "text/csv")

    def codec(self) -> None:
        self.answer(b"Ym9keQ==", "text/plain; charset=base64")

    def login(self) -> None:
        self.answer(b"<html>\n <b>please log in</b>\x1b[31m", "text/html; charset=utf-8")

    def nothing(self) -> None:
        self.send_response(204)
        self.end_headers()

    def ids(self) -> None:
        self.answer(b'{"rows":[{"id":18446744073709551615},{"id":-9223372036854775809}],"n":1}', "application/json")

    def overflow(self) -> None:
        self.answer(b'{"mass":1e400}', "application/json")

    def packed(self) -> None:
        """/packed/NAME: a body of BODIES with the content encoding that stands beside it."""
        encoding, body, status = BODIES[urlsplit(self.path).path.split("/")[2]]
        self.answer(body, "text/csv", status=status, Content_Encoding=encoding)

    def cut_off(self) -> None:
        """/cut-off/length or /cut-off/chunked: a connection that ends before the body does."""
        self.close_connection = True
        self.send_response(200)
        if "chunked" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n")
        else:
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"hello")

    def latin(self) -> None:
        self.answer("é".encode("latin-1"), "text/plain; charset=ISO-8859-1")

    def odd_charset(self) -> None:
        self.answer("é".encode(), "text/plain; charset=klingon")

    def untyped(self) -> None:
        self.answer(b'{"a":1}')

    def problem(self) -> None:
        self.answer(b'\xef\xbb\xbf{"title":"x"}', "application/problem+json")

    def broken(self) -> None:
        self.answer(b'{"a":', "application/json; charset=utf-8")

    def nan(self) -> None:
        self.answer(b'{"a":NaN}', "application/json")

    def deep(self) -> None:
        self.answer(b"[" * 100_000, "application/json")

    def numbers(self) -> None:
        self.answer(b'{"whole":3.0,"n":41,"half":1.5,"huge":18446744073709551616}', "application/json")

    def orders(self) -> None:
        rows = [{"id": n, "name": "x" * 100} for n in range(20_000)]
        self.answer(compact({"total": len(rows), "rows": rows, "first": rows[:50]}).encode(), "application/json")

    def bare(self) -> None:
        """/bare/STATUS: no headers and no body."""
        self.send_response(int(self.path.split("/")[2]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def busy(self) -> None:
        """/busy/STATUS?Retry-After: what is in the query is the header."""
        parts = urlsplit(self.path)
        wait = dict(parse_qsl(parts.query))
        self.answer(b"later", "text/plain", status=int(parts.path.split("/")[2]), **wait)

    def repeated(self) -> None:
        self.send_response(200)
        self.send_header("X-Part", "a")
        self.send_header("x-part", "b")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def zipped(self) -> None:
        self.answer(gzip.compress(b'{"a":1}'), "application/json", Content_Encoding="gzip")

    def bomb(self) -> None:
        self.answer(gzip.compress(b" " * 40_000_000), "text/plain", Content_Encoding="gzip")

    def moved(self) -> None:
        self.answer(b"", status=302, Location=f"/elsewhere?token={quote(SECRET)}")

    def failing(self) -> None:
        self.answer(("no: " + self.headers.get("X-Token", "") + " " + "y" * 2000).encode("latin-1"), status=500)

    def quoting(self) -> None:
        self.answer(compact({"you_sent": self.sent}).encode(), "application/json", status=400)

    def missing(self) -> None:
        self.answer(b"gone", "text/plain", status=404)

    def services(self) -> None:
        self.answer(f"Cannot {self.command} {self.path}".encode(), "text/html", status=404)

    def echo(self) -> None:
        lines = [f"{name.lower()}: {value}" for name, value in self.headers.items()]
        self.answer("\n".join(lines).encode(), "text/plain", status=500)

    def slow(self) -> None:
        time.sleep(30)

    def trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.3)
        except OSError:
            pass  # the client has left

    def hangup(self) -> None:
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # slow answers are not waited for


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sent(ended: Ended) -> dict[str, Any]:
    """What the echoing server saw of the request."""
    found: dict[str, Any] = ended.output["json"]
    return found


# Requests


def test_a_get_is_the_default_and_answers_status_headers_and_json(bench: Bench, url: str) -> None:
    output = bench.run("http", {"url": f"{url}/day/1"}).output
    assert (output["status"], output["headers"]["content-type"]) == (200, "application/json")
    assert (output["json"]["method"], output["json"]["path"], output["json"]["body"]) == ("GET", "/day/1", "")
    assert "text" not in output


def test_a_host_that_is_not_listed_is_not_asked_and_hears_no_secret(bench: Bench, url: str) -> None:
    headers = [{"name": "Authorization", "value": "Bearer $(TOKEN)"}]
    spec = {"url": f"{url}/x?.api.example.com/", "headers": headers, "hosts": ["*.api.example.com"]}
    error = bench.run("http", spec, extra={"TOKEN": SECRET}).error
    assert error["type"] == "HostNotListed"
    assert 'the host "127.0.0.1"' in error["message"]
    assert sent(bench.run("http", {**spec, "hosts": ["127.0.0.1"]}, extra={"TOKEN": "t"}))["path"] == "/x"


def test_a_host_that_came_from_a_secret_is_not_shown(bench: Bench) -> None:
    spec = {"url": "http://$(NAME)/", "hosts": ["api.example.com"]}
    error = bench.run("http", spec, extra={"NAME": "hidden.example.org"}).error
    assert error["type"] == "HostNotListed"
    assert "hidden" not in error["message"]


def test_query_parameters_are_added_to_those_of_the_url_and_encoded(bench: Bench, url: str) -> None:
    query = [{"name": "a", "value": "x&y=ü"}, {"name": "a", "value": 3}, {"name": "b c", "value": [1, True]}]
    ended = bench.run("http", {"url": f"{url}/?a=1#part", "query": query})
    assert sent(ended)["query"] == [["a", "1"], ["a", "x&y=ü"], ["a", "3"], ["b c", "[1,true]"]]


def test_headers_are_sent_repeated_ones_too(bench: Bench, url: str) -> None:
    headers = [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}, {"name": "User-Agent", "value": "acme"}]
    seen = sent(bench.run("http", {"url": url, "headers": headers}))["headers"]
    assert [pair for pair in seen if pair[0] in ("x-a", "user-agent")] == [
        ["x-a", "1"],
        ["x-a", "2"],
        ["user-agent", "acme"],
    ]


def test_a_json_body_keeps_its_types(bench: Bench, url: str) -> None:
    body = {"n": 1, "f": 1.5, "s": "é", "l": [None, True]}
    seen = sent(bench.run("http", {"method": "POST", "url": url, "json": body}))
    assert (seen["method"], json.loads(seen["body"])) == ("POST", body)
    assert ["content-type", "application/json"] in seen["headers"]


def test_a_text_body_is_sent_as_it_is_with_the_authors_content_type(bench: Bench, url: str) -> None:
    headers = [{"name": "Content-Type", "value": "text/csv"}]
    seen = sent(bench.run("http", {"method": "PUT", "url": url, "headers": headers, "body": "a,é\n"}))
    assert seen["body"] == "a,é\n"
    assert [pair for pair in seen["headers"] if pair[0] == "content-type"] == [["content-type", "text/csv"]]


# $(NAME)


def test_names_are_expanded_as_kubernetes_expands_them(bench: Bench, url: str) -> None:
    written = "$(TOKEN)|$$(TOKEN)|$(UNKNOWN)|$$|$|$x|$$$(TOKEN)|$(EMPTY)|$(a $$|$(TOKEN"
    wanted = "T|$(TOKEN)|$(UNKNOWN)|$|$|$x|$T||$(a $|$(TOKEN"
    spec = {
        "method": "POST",
        "url": "$(BASE)/a",
        "query": [{"name": "q", "value": written}],
        "headers": [{"name": "X-H", "value": written}],
        "json": {"$(TOKEN)": [written, {"$$n": 1}]},
    }
    seen = sent(bench.run("http", spec, extra={"TOKEN": "T", "BASE": url, "EMPTY": ""}))
    assert seen["query"] == [["q", wanted]]
    assert ["x-h", wanted] in seen["headers"]
    assert json.loads(seen["body"]) == {"T": [wanted, {"$n": 1}]}


def test_what_was_filled_in_is_not_expanded_again(bench: Bench, url: str) -> None:
    spec = {"method": "POST", "url": url, "body": "$(A)"}
    assert sent(bench.run("http", spec, extra={"A": "$(B) $$", "B": "secret"}))["body"] == "$(B) $$"


# Answers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("text", {"text": "plain text"}),
        ("latin", {"text": "é"}),
        ("untyped", {"text": '{"a":1}'}),
        ("problem", {"json": {"title": "x"}}),
        ("broken", {"text": '{"a":'}),
        ("nan", {"text": '{"a":NaN}'}),
        ("zipped", {"json": {"a": 1}}),
    ],
)
def test_a_body_is_json_by_its_content_type_where_it_parses_else_text(
    bench: Bench, url: str, path: str, body: dict[str, Any]
) -> None:
    output = bench.run("http", {"url": f"{url}/{path}"}).output
    assert {key: output[key] for key in output if key not in ("status", "headers")} == body


def test_a_packed_body_is_read_whole(bench: Bench, url: str) -> None:
    assert bench.run("http", {"url": f"{url}/packed/members"}).output["text"] == ROWS.decode()


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("zipped", "text", {"text": '{"a":1}'}),
        ("untyped", "json", {"json": {"a": 1}}),
        ("bytes", "base64", {"base64": base64.b64encode(b"%PDF \xff\x00").decode()}),
        ("odd-charset", "base64", {"base64": base64.b64encode("é".encode()).decode()}),
        ("nothing", "base64", {"base64": ""}),
        ("ids", "text", {"text": '{"rows":[{"id":18446744073709551615},{"id":-9223372036854775809}],"n":1}'}),
    ],
)
def test_response_type_says_what_the_body_becomes(
    bench: Bench, url: str, path: str, kind: str, body: dict[str, Any]
) -> None:
    output = bench.run("http", {"url": f"{url}/{path}", "responseType": kind}).output
    assert {key: output[key] for key in output if key not in ("status", "headers")} == body


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("login", "the answer is text/html, not JSON"),
        ("nothing", "the answer has no body"),
        ("broken", "the answer is application/json, but not valid JSON (Expecting value"),
        ("deep", "the answer is application/json, but not valid JSON (it is nested too deep)"),
    ],
)
def test_what_is_not_json_fails_where_json_is_wanted(bench: Bench, url: str, path: str, words: str) -> None:
    error = bench.run("http", {"url": f"{url}/{path}", "responseType": "json"}).error
    assert (error["type"], error["message"].startswith(f"GET {url}/{path}: {words}")) == ("NotJSON", True)


def test_json_too_deep_to_parse_is_text(bench: Bench, url: str) -> None:
    assert bench.run("http", {"url": f"{url}/deep"}).output["text"] == "[" * 100_000


def test_an_answer_without_a_body_has_empty_text(bench: Bench, url: str) -> None:
    assert bench.run("http", {"method": "HEAD", "url": url}).output["text"] == ""


def test_repeated_headers_are_joined(bench: Bench, url: str) -> None:
    assert bench.run("http", {"url": f"{url}/repeated"}).output["headers"]["x-part"] == "a, b"


def test_an_answer_above_512_kib_is_refused_with_the_way_out(bench: Bench, url: str) -> None:
    ended = bench.run("http", {"url": f"{url}/orders"})
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert "http.result" in ended.error["message"]


def test_an_answer_that_unpacks_to_a_flood_is_cut_off(bench: Bench, url: str) -> None:
    ended = bench.run("http", {"url": f"{url}/bomb"})
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert "16777216" in ended.error["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("ids", 'response.json["rows"][0]["id"] is 18446744073709551615, a number that 64 bits do not hold'),
        ("ids", 'write http.result with string(response.json["rows"][0]["id"]), or set http.responseType: text'),
        ("overflow", 'response.json["mass"] is 1e400, a number that 64 bits do not hold'),
    ],
)
def test_a_number_that_would_not_arrive_whole_is_refused_with_the_way_out(
    bench: Bench, url: str, path: str, words: str
) -> None:
    ended = bench.run("http", {"url": f"{url}/{path}"})
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "InvalidOutput")
    assert words in ended.error["message"]


# result


@pytest.mark.parametrize(
    ("path", "result", "value"),
    [
        ("orders", "response.json.total", 20_000),
        ("orders", "response.json.first.filter(r, r.id < 2).map(r, r.id)", [0, 1]),
        ("numbers", "response.json.n + 1", 42),
        ("ids", 'string(response.json["rows"][0]["id"])', "18446744073709551615"),
        ("ids", "response.json.rows.map(r, string(r.id))", ["18446744073709551615", "-9223372036854775809"]),
        ("ids", "response.json.n", 1),
        ("overflow", "response.json.mass", "1e400"),
        ("numbers", "response.json.whole + 1", 4),
        ("numbers", "response.json.half", 1.5),
        ("text", "response.text.startsWith('plain')", True),
        ("text", "response.headers['content-type']", "text/plain"),
        ("text", "{'status': response.status, 'none': null}", {"status": 200, "none": None}),
        ("numbers", "get(response.json, 'nothing', response.json.n)", 41),
        ("orders", "json(response.json.first.map(r, r.id).filter(i, i < 2))", "[0,1]"),
        ("text", "response.text.upperAscii().substring(0, 5)", "PLAIN"),
        ("text", "date(timestamp('2026-11-23T23:30:00Z'), 'Europe/Berlin')", "2026-11-24"),
        ("text", "timestamp('2026-11-23T23:30:00Z')", "2026-11-23T23:30:00Z"),
        ("text", "b'abc'", "YWJj"),
    ],
)
def test_result_takes_the_place_of_the_body(bench: Bench, url: str, path: str, result: str, value: object) -> None:
    output = bench.run("http", {"url": f"{url}/{path}", "result": result}).output
    assert sorted(output) == ["headers", "json", "status"]
    assert output["json"] == value


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("response.json.nothing", "nothing"),
        ("response.json +", "Syntax error"),
        ("respons.json", "undeclared reference to 'respons.json'"),
        ("response.json.n + 'a'", "overload"),
        ("1.0 / 0.0", "infinite"),
    ],
)
def test_a_result_that_fails_says_why(bench: Bench, url: str, result: str, words: str) -> None:
    ended = bench.run("http", {"url": f"{url}/numbers", "result": result})
    assert (ended.exit_code, ended.error["type"]) == (1, "ExpressionError")
    assert ended.error["message"].startswith("http.result: ")
    assert words in ended.error["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "login",
            "it asks for response.json, but the answer is text/html, not JSON; the answer begins: <html> <b>please",
        ),
        ("nothing", "it asks for response.json, but the answer has no body"),
        (
            "broken",
            "it asks for response.json, but the answer is application/json, but not valid JSON (Expecting value",
        ),
    ],
)
def test_a_result_of_json_that_is_not_there_says_what_the_answer_is(
    bench: Bench, url: str, path: str, words: str
) -> None:
    ended = bench.run("http", {"url": f"{url}/{path}", "result": "response.json.total"})
    assert ended.error["message"].startswith(f"http.result: {words}")
    assert "\x1b" not in ended.error["message"]


def test_a_result_over_too_many_items_says_how_many_it_may_visit(bench: Bench, url: str) -> None:
    ended = bench.run("http", {"url": f"{url}/orders", "result": "response.json.rows.map(r, r.id)"})
    assert (ended.exit_code, ended.error["type"]) == (1, "ExpressionError")
    assert "10,000 items" in ended.error["message"]


# Failures


def test_an_unexpected_status_tells_status_and_the_start_of_the_body(bench: Bench, url: str) -> None:
    ended = bench.run("http", {"url": f"{url}/failing?key=abc"})
    assert (ended.exit_code, ended.error["type"]) == (1, "UnexpectedStatus")
    assert ended.error["message"].startswith(f"GET {url}/failing answered 500, expected 2xx (http.expect): no:")
    assert 480 < ended.error["message"].count("y") <= 500
    assert ended.error["message"] in ended.stderr


@pytest.mark.parametrize("expect", [["2xx", 404], ["4xx"], ["404"], ["4XX"]])
def test_expect_takes_codes_and_classes(bench: Bench, url: str, expect: list[object]) -> None:
    output = bench.run("http", {"url": f"{url}/missing", "expect": expect}).output
    assert (output["status"], output["text"]) == (404, "gone")


def test_expect_replaces_the_default(bench: Bench, url: str) -> None:
    assert "answered 200, expected 404" in bench.run("http", {"url": url, "expect": [404]}).error["message"]


def test_redirects_are_not_followed_and_their_query_is_not_shown(bench: Bench, url: str) -> None:
    message = bench.run("http", {"url": f"{url}/moved"}).error["message"]
    assert "answered 302 (redirects are not followed) with location /elsewhere, expected" in message
    assert bench.run("http", {"url": f"{url}/moved", "expect": ["3xx"]}).output["status"] == 302


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bare/304", "answered 304 (not modified, as a conditional request asks for), expected 2xx (http.expect)"),
        ("bare/302", "answered 302 (redirects are not followed) without a Location header, expected 2xx (http.expect)"),
        ("bare/300", "answered 300 (redirects are not followed) without a Location header, expected 2xx (http.expect)"),
        ("packed/failing", "answered 500, expected 2xx (http.expect): out of order"),
        (
            "packed/failing-cut",
            "answered 500, expected 2xx (http.expect): the answer's gzip body is broken: it is cut off",
        ),
    ],
)
def test_a_status_that_was_not_expected_is_told_whatever_else_is_wrong(
    bench: Bench, url: str, path: str, words: str
) -> None:
    error = bench.run("http", {"url": f"{url}/{path}"}).error
    assert error["type"] == "UnexpectedStatus"
    assert words in error["message"]


@pytest.mark.parametrize("name", ["X-Größe", "X-A:", "X A", "", "X\nA"])
def test_a_header_name_that_no_server_takes_is_named(bench: Bench, url: str, name: str) -> None:
    error = bench.run("http", {"url": url, "headers": [{"name": name, "value": "1"}]}).error
    assert error["type"] == "InvalidHeader"
    assert error["message"].startswith(f'http.headers: "{name}" is not a valid header name; use letters')


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("http://127.0.0.1:{closed}/x", "ConnectionRefused", "nothing listens there"),
        ("http://no-such-host.invalid/x", "UnknownHost", "the host name is not known"),
        ("http://user:pass@no-such-host.invalid/x", "UnknownHost", "the host name is not known"),
        ("http://user:pa%40ss@[::1]/x:y@z", "ConnectionRefused", "nothing listens there"),
        ("{url}/slow", "Timeout", "no complete answer within 1 s; raise http.timeoutSeconds"),
        ("{url}/trickle", "Timeout", "no complete answer within 1 s"),
        ("{https}/x", "TLSError", "use http:// if the server speaks no TLS"),
        ("orders.example/x", "InvalidURL", "start it with http://"),
        ("ftp://orders.example/x", "InvalidURL", "start it with http://"),
        ("http://orders:port/x", "InvalidURL", "its port must be a number from 1 to 65535"),
        ("http://127.0.0.1:87650/x", "InvalidURL", "its port must be a number from 1 to 65535"),
        ("http://user:pass@orders:port/x", "InvalidURL", "its port must be a number from 1 to 65535"),
        ("http://[::1]:0/x", "InvalidURL", "its port must be a number from 1 to 65535"),
        ("{url}/cut-off/length", "RemoteProtocolError", "no complete answer ("),
        ("{url}/cut-off/chunked", "RemoteProtocolError", "no complete answer ("),
        ("{url}/packed/cut-gzip", "BrokenBody", "the answer's gzip body is broken: it is cut off"),
        ("{url}/packed/brotli", "UnsupportedEncoding", 'content encoding "br", supported are gzip and deflate'),
        (
            "{url}/latin-csv",
            "InvalidBody",
            "(text/csv) is not UTF-8 text, and its Content-Type names no charset: byte 0xfc",
        ),
        ("{url}/bytes", "InvalidBody", "set http.responseType: base64 to get its bytes"),
        ("{url}/odd-charset", "InvalidBody", 'has the unknown charset "klingon"'),
        ("{url}/codec", "InvalidBody", 'has the unknown charset "base64"'),
        ("{url}/hangup", "RemoteProtocolError", "disconnected"),
    ],
)
def test_a_request_that_fails_says_what_to_change(bench: Bench, url: str, target: str, kind: str, words: str) -> None:
    target = target.format(url=url, https=url.replace("http", "https"), closed=free_port())
    seconds = 1 if kind == "Timeout" else 20
    started = time.monotonic()
    ended = bench.run("http", {"url": target + "?key=abc", "timeoutSeconds": seconds})
    assert time.monotonic() - started < 20
    assert (ended.exit_code, ended.error["type"]) == (1, kind)
    assert ended.error["message"].startswith(f"GET {target.replace('user:pass@', '').replace('user:pa%40ss@', '')}: ")
    assert words in ended.error["message"]
    assert "abc" not in ended.error["message"]


# retryOn


@pytest.mark.parametrize(
    ("target", "retry_on", "code"),
    [
        ("{url}/busy/429", None, 1),
        ("{url}/busy/401", None, 1),
        ("{url}/busy/429", [429, "5xx"], 1),
        ("{url}/busy/503", [429, "5xx"], 1),
        ("{url}/busy/401", [429, "5xx"], 241),
        ("{url}/busy/302", ["network", "4xx"], 241),
        ("{url}/busy/302", ["3XX"], 1),
        ("http://127.0.0.1:{closed}/x", ["network"], 1),
        ("http://127.0.0.1:{closed}/x", ["5xx"], 241),
        ("http://no-such-host.invalid/x", ["network"], 1),
        ("{url}/slow", ["network"], 1),
        ("{url}/slow", [429], 241),
        ("{url}/hangup", ["network"], 1),
        ("{url}/cut-off/chunked", ["network"], 1),
        ("{url}/packed/cut-gzip", ["network"], 1),
        ("{url}/packed/cut-gzip", ["2xx"], 241),
        ("{url}/packed/brotli", ["network", "2xx"], 241),
        ("{url}/latin-csv", ["network", "2xx"], 241),
        ("{https}/x", ["network"], 241),
        ("http://orders:port/x", ["network"], 241),
    ],
)
def test_a_failure_that_retry_on_does_not_list_exits_with_the_final_code(
    bench: Bench, url: str, target: str, retry_on: list[object] | None, code: int
) -> None:
    target = target.format(url=url, https=url.replace("http", "https"), closed=free_port())
    spec = {"url": target, "timeoutSeconds": 1 if target.endswith("slow") else 20}
    assert bench.run("http", spec | ({"retryOn": retry_on} if retry_on else {})).exit_code == code


def test_what_comes_before_or_after_the_request_is_final_with_retry_on(bench: Bench, url: str) -> None:
    listed = {"url": f"{url}/numbers", "retryOn": ["network", "2xx", "4xx", "5xx"]}
    assert bench.run("http", listed | {"result": "response.json.nothing"}).exit_code == 241
    assert bench.run("http", listed | {"headers": [{"name": "X A", "value": "1"}]}).exit_code == 241
    assert bench.run("http", listed).exit_code == REFUSED
    command = bench.command("http")
    command[1:1] = ["-I", "-S"]  # a Python without site packages
    assert bench.ended(bench.start(command, bench.env(listed))).exit_code == 241


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 2 "}, 2),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 99:99:99 GMT"}, None),
    ],
)
def test_retry_after_is_handed_on_in_seconds(
    bench: Bench, url: str, headers: dict[str, str], seconds: int | None
) -> None:
    error = bench.run("http", {"url": f"{url}/busy/429", "query": pairs_of(headers)}).error
    assert error.get("retryAfter") == seconds
    told = f"answered 429 and asks to wait {seconds} s (Retry-After), expected 2xx"
    assert (told if seconds else "answered 429, expected 2xx") in error["message"]


def test_a_date_in_retry_after_is_taken_by_the_servers_clock(bench: Bench, url: str) -> None:
    until = formatdate(time.time() + 90, usegmt=True)
    error = bench.run("http", {"url": f"{url}/busy/503", "query": pairs_of({"Retry-After": until})}).error
    assert 80 <= error["retryAfter"] <= 91


def pairs_of(headers: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers.items()]


# Secrets


@pytest.mark.parametrize(
    "spec",
    [
        {"url": "{url}/failing", "headers": [{"name": "X-Token", "value": "$(TOKEN)"}]},
        {"url": "{url}/moved"},
        {"url": "http://user:$(TOKEN)@127.0.0.1:{closed}/x"},
        {"url": "http://$(TOKEN).invalid/x"},
        {"url": "http://127.0.0.1:$(TOKEN)/x"},
        {"url": "$(TOKEN)"},
        {"url": "{url}/missing?key=$(TOKEN)"},
        {"url": "http://user:plain-s3cr3t@127.0.0.1:{closed}/x?token=plain-s3cr3t"},
        {"url": "{url}", "headers": [{"name": "X-Token", "value": "Bearer $(LINE)"}]},
        {"url": "{url}", "headers": [{"name": "$(TOKEN) x", "value": "$(TOKEN)"}]},
        {"url": "{url}/missing", "method": "POST", "json": {"a": "$(TOKEN)"}},
        {"url": "{url}/quoting", "method": "POST", "json": {"a": "$(TOKEN)"}},
    ],
)
def test_no_message_and_no_log_shows_a_secret(bench: Bench, url: str, spec: dict[str, Any]) -> None:
    spec = {**spec, "url": spec["url"].replace("{url}", url).replace("{closed}", str(free_port()))}
    extra = {"TOKEN": SECRET.removesuffix(" ü"), "LINE": "s3cr3t\n", "LC_ALL": "C.UTF-8"}
    ended = bench.run("http", spec, extra=extra)
    assert ended.exit_code == 1
    assert "s3cr3t" not in ended.message.decode() + ended.stderr + ended.stdout.decode()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"url": "$(HOOK)"}, "Cannot GET ***"),
        ({"url": "{url}$(PATH)"}, "Cannot GET ***"),
        ({"url": "{credentials}/echo"}, "authorization: basic ***"),
        ({"url": "{url}/echo", "headers": [{"name": "Authorization", "value": "Basic $(PAIR)"}]}, "basic ***"),
    ],
)
def test_what_a_server_quotes_of_a_secret_is_blotted_out(
    bench: Bench, url: str, spec: dict[str, Any], words: str
) -> None:
    credentials = url.replace("://", "://svc:$(PASSWORD)@")
    spec = {**spec, "url": spec["url"].replace("{url}", url).replace("{credentials}", credentials)}
    secret = "/services/T012/B345/c4n4ry0?t=c4n4ry1"
    pair = base64.b64encode(b"svc:c4n4ry2").decode()
    extra = {"HOOK": url + secret, "PATH": secret, "PASSWORD": "c4n4ry2", "PAIR": pair}
    ended = bench.run("http", spec, extra=extra)
    assert words in ended.error["message"].replace("Basic", "basic")
    for text in (ended.message.decode(), ended.stderr, ended.stdout.decode()):
        assert not any(left in text for left in ("c4n4ry", "T012", "B345", pair, "YzRuNHJ5"))


def test_a_secret_with_a_line_break_is_named_by_its_header(bench: Bench, url: str) -> None:
    headers = [{"name": "Authorization", "value": "Bearer $(TOKEN)"}]
    ended = bench.run("http", {"url": url, "headers": headers}, extra={"TOKEN": "abc\n"})
    assert ended.error["type"] == "InvalidHeader"
    assert "the value of Authorization holds a line break" in ended.error["message"]
    assert "printf %s" in ended.error["message"]


def test_without_httpx_it_says_which_package_is_missing(bench: Bench, url: str) -> None:
    command = bench.command("http")
    command[1:1] = ["-I", "-S"]  # a Python without site packages
    ended = bench.ended(bench.start(command, bench.env({"url": url})))
    assert (ended.exit_code, ended.error["type"]) == (1, "ModuleNotFoundError")
    assert "httpx" in ended.error["message"]


@pytest.mark.parametrize("name", ["Transfer-Encoding", "content-length"])
def test_a_header_that_says_where_the_request_ends_is_not_the_authors(bench: Bench, url: str, name: str) -> None:
    error = bench.run("http", {"url": url, "headers": [{"name": name, "value": "3"}], "body": "abc"}).error
    assert error["type"] == "InvalidHeader"
    assert "is set by the request itself" in error["message"]
