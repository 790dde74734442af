"""The bootstrap of http tasks: makes one request and tells {status, headers, json | text}."""

from __future__ import annotations

import json
import os
import re
import sys
from types import ModuleType

from nexus.api.numbers import INT_LIMIT
from nexus.bootstrap.common import Failure, Refusal, compact, settle
from nexus.bootstrap.redaction import credentials_of, parts_of, redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    import httpx

BODY_LIMIT = 16 * 1024 * 1024  # bytes of an answer, decompressed, that `result` may work on
EXCERPT_LIMIT = 64 * 1024  # bytes read of an answer that is only quoted in an error
QUOTED = 500  # characters of it
DEFAULT_SECONDS = 30

# Modules of the operator, full names to sources: nexus.bootstrap.text puts in those that `result` needs.
CARRIED: dict[str, str] = {}

REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Expansion:
    """`$(NAME)` filled in from the environment as the kubelet does it, and what was filled in kept out of messages."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.secrets: set[str] = set()
        self.parts: set[str] = set()

    def text(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            found = self.environ.get(match[1])
            if found:
                self.secrets.add(found)
                self.parts |= parts_of(found)
            return match[0] if found is None else found

        return REFERENCE.sub(value, text)

    def deep(self, value: Any) -> Any:
        """All text within a JSON value, keys too: there as elsewhere a rendered value came with its `$` doubled."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.deep(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.deep(item) for key, item in value.items()}
        return value

    def flat(self, value: Any) -> str:
        """A header's, query's or body's value: text as it is, all else as compact JSON."""
        return self.text(value) if isinstance(value, str) else compact(self.deep(value))

    def redacted(self, text: str) -> str:
        """What a server or a library says, without what was filled in."""
        return redacted(text, self.secrets, self.parts)


def shown(url: str) -> str:
    """The URL for messages: as its author wrote it, without credentials and query, either of which may be secret."""
    plain = REFERENCE.sub(lambda match: "$" if match[0] == "$$" else match[0], url)
    return re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", plain, maxsplit=1)[0])


def request_headers(spec: dict[str, Any], expansion: Expansion) -> list[tuple[bytes, bytes]]:
    headers = []
    for header in spec.get("headers") or []:
        name, value = header["name"], expansion.flat(header["value"])
        if CONTROL.search(value):  # h11's own message would quote the value
            text = f"http.headers: the value of {name} holds a line break or another control character"
            raise Failure("InvalidHeader", f"{text}; a Secret made with echo ends in one: make it with printf %s")
        headers.append((name.encode(), value.strip(" \t").encode()))
    return headers


def request_body(spec: dict[str, Any], expansion: Expansion, headers: list[tuple[bytes, bytes]]) -> bytes | None:
    if "json" in spec:
        if all(name.lower() != b"content-type" for name, _ in headers):
            headers.append((b"Content-Type", b"application/json"))
        return compact(expansion.deep(spec["json"])).encode()
    if spec.get("body") is not None:
        return expansion.flat(spec["body"]).encode()
    return None


def request_url(spec: dict[str, Any], expansion: Expansion) -> str:
    from urllib.parse import urlencode

    url = expansion.text(spec["url"]).partition("#")[0]
    expansion.parts |= credentials_of(url)
    query = urlencode([(item["name"], expansion.flat(item["value"])) for item in spec.get("query") or []])
    return url + ("&" if "?" in url else "?") + query if query else url


def check_host(url: str, spec: dict[str, Any], expansion: Expansion) -> None:
    """Refuse a host that `hosts` does not list: a value that chose it would be sent whatever `$(NAME)` brings along."""
    import httpx

    hosts = spec.get("hosts")
    if not hosts:
        return
    asked = httpx.URL(url)  # as the client reads it: what is checked is what is asked
    host = asked.raw_host.decode().lower()
    port = asked.port or {"http": 80, "https": 443}.get(asked.scheme)
    if not any(is_listed(host, port, entry.lower()) for entry in hosts):
        named = expansion.redacted(host)
        message = f'http.url goes to the host "{named}", port {port}, which http.hosts does not list'
        raise Failure("HostNotListed", f"{message}; add it there, or correct the value that chose it")


def is_listed(host: str, port: int | None, entry: str) -> bool:
    """Whether an entry of `hosts` names a host, or what it is below (`*.`), and the port where it has one."""
    found = re.fullmatch(r"(\[.*\]|[^:]*)(?::([0-9]+))?", entry)
    name, wanted = found.groups() if found else (entry, None)
    if wanted and int(wanted) != port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name[1:])
    return host == name.strip("[]")


def is_expected(status: int, expect: list[int | str]) -> bool:
    return any(str(wanted).lower() in (str(status), f"{status // 100}xx") for wanted in expect)


def body_of(response: httpx.Response, limit: int) -> bytes:
    """The decompressed body, at most a little more than `limit` bytes of it."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


def decoded(response: httpx.Response, body: bytes) -> dict[str, Any]:
    """{json} where the content type says so and the body is, else {text}."""
    try:
        text = body.decode(response.charset_encoding or "utf-8", "replace")
    except LookupError:  # a charset that Python does not know
        text = body.decode("utf-8", "replace")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {"json": json.loads(text.removeprefix("\ufeff"), parse_constant=not_json)}
        except (ValueError, RecursionError):
            pass
    return {"text": text}


def not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def fetched(spec: dict[str, Any], expansion: Expansion, seconds: int) -> dict[str, Any]:
    """The answer as {status, headers, json | text}; raises Failure, Refusal and what httpx raises."""
    import httpx

    headers = request_headers(spec, expansion)
    content = request_body(spec, expansion, headers)
    method, url = spec.get("method") or "GET", request_url(spec, expansion)
    check_host(url, spec, expansion)
    client = httpx.Client(timeout=seconds, headers={"User-Agent": "nexus"})
    limit_time(seconds)  # from here: loading httpx and the certificates is no part of the request
    with client, client.stream(method, url, headers=headers, content=content) as response:
        expect = spec.get("expect") or ["2xx"]
        if not is_expected(response.status_code, expect):
            raise unexpected(response, method, spec, expansion, expect)
        body = body_of(response, BODY_LIMIT)
        if len(body) > BODY_LIMIT:
            raise Refusal("OutputTooLarge", f"the answer is more than {BODY_LIMIT} bytes")
        names = dict.fromkeys(name.lower() for name in response.headers)
        return {
            "status": response.status_code,
            "headers": {name: ", ".join(response.headers.get_list(name)) for name in names},
            **decoded(response, body),
        }


def unexpected(
    response: httpx.Response, method: str, spec: dict[str, Any], expansion: Expansion, expect: list[int | str]
) -> Failure:
    text = f"{method} {shown(spec['url'])} answered {response.status_code}"
    if response.is_redirect:
        location = expansion.redacted(shown(response.headers["location"]))
        text += f" (redirects are not followed) with location {location}"
    text += f", expected {', '.join(map(str, expect))} (http.expect)"
    body = body_of(response, EXCERPT_LIMIT)[:EXCERPT_LIMIT].decode(response.charset_encoding or "utf-8", "replace")
    body = expansion.redacted(body)[:QUOTED].strip()
    return Failure("UnexpectedStatus", f"{text}: {body}" if body else text)


def reason_of(error: Exception, seconds: int) -> tuple[str, str]:
    """(type, what went wrong and what to change) for an error of httpx.

    Texts of errors about the address are not quoted: they may hold a part of a secret that was filled into it.
    """
    import socket
    import ssl

    import httpx

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 10:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (httpx.TimeoutException, Expired)):
        return "Timeout", f"no complete answer within {seconds} s; raise http.timeoutSeconds if it needs longer"
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)):
        advice = "start it with http:// or https:// and percent-encode what is special, in filled-in values too"
        return "InvalidURL", f"http.url is not a valid address: {advice}"
    for found in causes:
        if isinstance(found, ssl.SSLError):
            problem = getattr(found, "verify_message", None) or found.reason or "the handshake failed"
            advice = "use http:// if the server speaks no TLS, or point SSL_CERT_FILE in env at your CA's certificate"
            return "TLSError", f"no secure connection ({problem}); {advice}"
        if isinstance(found, socket.gaierror):
            advice = "check http.url (a Service in another namespace is NAME.NAMESPACE)"
            return "UnknownHost", f"the host name is not known ({found.strerror}); {advice}"
        if isinstance(found, ConnectionRefusedError):
            return "ConnectionRefused", "nothing listens there; check host and port of http.url, and that it is up"
    return type(error).__name__, f"{str(error) or 'the connection failed'}; check the request and the server"


class Expired(Exception):
    """The time for the whole request is over; httpx alone limits each single read."""


def limit_time(seconds: int) -> None:
    """Raise Expired in so many seconds; 0 takes the limit away."""
    import signal

    def expire(number: int, frame: FrameType | None) -> None:
        raise Expired

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def plain(value: Any) -> Any:
    """JSON as CEL takes it: 3.0 is the whole number 3, and what no 64 bits hold is a double."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        return float(str(value))
    return value


def programs() -> Any:
    """The operator's own CEL, from the sources that this text carries."""
    module = ModuleType("nexus")
    for name, source in CARRIED.items():
        package, _, leaf = name.rpartition(".")
        module = sys.modules[name] = ModuleType(name)
        setattr(sys.modules.setdefault(package, ModuleType(package)), leaf, module)
        exec(source, module.__dict__)
    return module


def trimmed(source: str, response: dict[str, Any]) -> dict[str, Any]:
    """The output with the value of `result` in the place of the body."""
    cel = programs()
    try:
        value = cel.Programs().evaluate(source, {"response": "map"}, {"response": plain(response)}, "UTC")
    except cel.Refused as refused:
        text = refused.text
        if "Iteration budget" in text:
            text = "it visits more than 10,000 items (CEL's budget): ask for a smaller answer, or use a python task"
        raise Failure("ExpressionError", f"http.result: {text}") from None
    return {"status": response["status"], "headers": response["headers"], "json": value}


def run(spec: dict[str, Any]) -> dict[str, Any]:
    expansion = Expansion(dict(os.environ))
    seconds = spec.get("timeoutSeconds") or DEFAULT_SECONDS
    try:
        try:
            response = fetched(spec, expansion, seconds)
        finally:
            limit_time(0)  # nothing may interrupt the telling
    except (Failure, Refusal, ModuleNotFoundError):
        raise
    except Exception as error:
        kind, reason = reason_of(error, seconds)
        text = f"{spec.get('method') or 'GET'} {shown(spec['url'])}: {expansion.redacted(reason)}"
        raise Failure(kind, text) from None
    return trimmed(spec["result"], response) if spec.get("result") else response


if __name__ == "__main__":
    settle(run, "http", "trim the answer with http.result, or ask for less of it")
