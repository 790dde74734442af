"""The bootstrap of http tasks: makes one request and tells {status, headers, json | text | base64}."""

from __future__ import annotations

import os
import re
import sys
from types import ModuleType

from nexus.bootstrap.body import NETWORK, Fault, check_json, plain, read, unpacked
from nexus.bootstrap.common import KEPT, MOST, NOT_LISTED, Failure, Refusal, compact, package_missing, settle
from nexus.bootstrap.proxy import Proxy, ca_advice, invalid_proxy, no_context, proxy_for, tls_context
from nexus.bootstrap.redaction import credentials_of, parts_of, redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    import httpx

BODY_LIMIT = 16 * 1024 * 1024  # bytes of an answer, decompressed, that `result` may work on
LONGEST = MOST if KEPT else BODY_LIMIT  # bytes of one that is told as it is, with an output store or without
EXCERPT_LIMIT = 64 * 1024  # bytes read of an answer that is only quoted in an error
QUOTED = 500  # characters of it
DEFAULT_SECONDS = 30

# Modules of the operator, full names to sources: nexus.bootstrap.text puts in those that `result` needs.
CARRIED: dict[str, str] = {}

REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
UNSEEN = re.compile(r"[\x00-\x20\x7f-\x9f]+")
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of a header: a token (RFC 9110, 5.6.2)


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
                if not is_text(found):
                    raise Failure("InvalidValue", f"the value of {match[1]} is not UTF-8, and http fields are text")
                self.secrets.add(found)
                self.parts |= parts_of(found)
            return match[0] if found is None else found

        return REFERENCE.sub(value, text)

    def deep(self, value: Any) -> Any:
        """Return all text within a JSON value, keys too: there as elsewhere a rendered value came with its `$`
        doubled."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.deep(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.deep(item) for key, item in value.items()}
        return value

    def flat(self, value: Any) -> str:
        """Return a header's, query's or body's value: text as it is, all else as compact JSON."""
        return self.text(value) if isinstance(value, str) else compact(self.deep(value))

    def redacted(self, text: str) -> str:
        """Return what a server or a library says, without what was filled in."""
        return redacted(text, self.secrets, self.parts)


def is_text(value: str) -> bool:
    """Return whether a variable's bytes were UTF-8; Python keeps others as lone surrogates."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def shown(url: str) -> str:
    """Return the URL for messages: as its author wrote it, without credentials and query, either of which may be
    secret."""
    plain = REFERENCE.sub(lambda match: "$" if match[0] == "$$" else match[0], url)
    return re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", plain, maxsplit=1)[0])


def request_headers(spec: dict[str, Any], expansion: Expansion) -> list[tuple[bytes, bytes]]:
    headers = []
    for header in spec.get("headers") or []:
        name, value = header["name"], expansion.flat(header["value"])
        if not NAME.fullmatch(name):
            text = f'http.headers: "{name[:80]}" is not a valid header name'
            raise Failure("InvalidHeader", f"{text}; use letters, digits and any of !#$%&'*+-.^_`|~")
        if CONTROL.search(value):  # h11's own message would quote the value
            text = f"http.headers: the value of {name} holds a line break or another control character"
            raise Failure("InvalidHeader", f"{text}; a Secret made with echo ends in one: make it with printf %s")
        if name.lower() in ("transfer-encoding", "content-length"):
            # Beside the one that the client sets, servers and proxies would disagree about where the request ends.
            raise Failure("InvalidHeader", f"http.headers: {name} is set by the request itself; remove it")
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
    if not re.match("https?://.", url, re.IGNORECASE):
        raise Fault("InvalidURL", "http.url is not a valid address: start it with http:// or https://, and a host")
    port = port_of(url)
    if port and not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise Fault("InvalidURL", "http.url is not a valid address: its port must be a number from 1 to 65535")
    query = urlencode([(item["name"], expansion.flat(item["value"])) for item in spec.get("query") or []])
    return url + ("&" if "?" in url else "?") + query if query else url


def port_of(url: str) -> str:
    """Return what is written in the place of a port; empty if there is none."""
    host = re.split("[/?#]", url.partition("//")[2], maxsplit=1)[0].rpartition("@")[2]
    found = re.fullmatch(r"(?:\[[^\]]*\]|[^:\[]*):(.*)", host)
    return found[1] if found else ""


def address(url: httpx.URL) -> tuple[str, str, int]:
    """Return the scheme, host and port, as the client reads them: what is checked is what is asked."""
    return url.scheme, url.raw_host.decode().lower(), url.port or (443 if url.scheme == "https" else 80)


def check_host(url: httpx.URL, spec: dict[str, Any], expansion: Expansion) -> None:
    """Refuse a host that `hosts` does not list: a value that chose it would be sent whatever `$(NAME)` brings along."""
    hosts = spec.get("hosts")
    _, host, port = address(url)
    if hosts and not any(is_listed(host, port, entry.lower()) for entry in hosts):
        named = expansion.redacted(host)
        message = f'http.url goes to the host "{named}", port {port}, which http.hosts does not list'
        raise Failure("HostNotListed", f"{message}; add it there, or correct the value that chose it")


def is_listed(host: str, port: int | None, entry: str) -> bool:
    """Return whether an entry of `hosts` names a host, or what it is below (`*.`), and the port where it has one."""
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
    """Return the unpacked body, at most a little more than `limit` bytes of it."""
    body = bytearray()
    for chunk in unpacked(response.iter_raw(), response.headers.get("content-encoding", "")):
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


class Request:
    """What is sent, and the way it takes. Raises Failure, Fault and what httpx raises for addresses."""

    def __init__(self, spec: dict[str, Any], expansion: Expansion) -> None:
        import httpx

        self.headers = request_headers(spec, expansion)
        self.content = request_body(spec, expansion, self.headers)
        self.method, self.url = spec.get("method") or "GET", httpx.URL(request_url(spec, expansion))
        check_host(self.url, spec, expansion)
        self.proxy = proxy_for(*address(self.url), expansion.environ)
        if self.proxy:
            expansion.parts |= credentials_of(self.proxy.url)

    def client(self, environ: dict[str, str], seconds: int) -> httpx.Client:
        """Return a client that itself reads nothing of the environment."""
        import httpx

        secure = "https" in (self.url.scheme, self.proxy.scheme if self.proxy else "")
        context = tls_context(environ) if secure else no_context()
        of_proxy = context if self.proxy and self.proxy.scheme == "https" else None
        try:
            proxy = httpx.Proxy(self.proxy.url, ssl_context=of_proxy) if self.proxy else None
        except (httpx.InvalidURL, ValueError):
            raise invalid_proxy(self.proxy.variable if self.proxy else "") from None
        own = {"User-Agent": "nexus", "Accept-Encoding": "gzip, deflate"}
        return httpx.Client(timeout=seconds, headers=own, proxy=proxy, verify=context, trust_env=False)


def fetched(request: Request, spec: dict[str, Any], expansion: Expansion, seconds: int) -> tuple[dict[str, Any], str]:
    """Return the answer as {status, headers, json | text | base64}, and why it has no json.

    Raises Refusal, Fault and what httpx raises.
    """
    client = request.client(expansion.environ, seconds)
    limit_time(seconds)  # from here: loading httpx and the certificates is no part of the request
    sent = client.stream(request.method, request.url, headers=request.headers, content=request.content)
    with client, sent as response:
        expect = spec.get("expect") or ["2xx"]
        if not is_expected(response.status_code, expect):
            raise unexpected(response, request, expansion, expect)
        limit = BODY_LIMIT if spec.get("result") else LONGEST
        body = body_of(response, limit)
        if len(body) > limit:
            raise Refusal("OutputTooLarge", f"the answer is more than {limit} bytes")
        charset, kind = response.charset_encoding, response.headers.get("content-type", "")
        found, why = read(body, kind, charset, spec.get("responseType"))
        names = dict.fromkeys(name.lower() for name in response.headers)
        return {
            "status": response.status_code,
            "headers": {name: ", ".join(response.headers.get_list(name)) for name in names},
            **found,
        }, why


def unexpected(response: httpx.Response, request: Request, expansion: Expansion, expect: list[int | str]) -> Fault:
    status = response.status_code
    text = f"answered {status}"
    if request.proxy and request.url.scheme == "http":  # which of the two it was that answered, no client can tell
        text += f" through {request.proxy.name}"
    if status == 304:
        text += " (not modified, as a conditional request asks for)"
    elif 300 <= status < 400:
        location = response.headers.get("location")
        where = f"with location {expansion.redacted(shown(location))}" if location else "without a Location header"
        text += f" (redirects are not followed) {where}"
    wait = retry_after(response.headers)
    text += f" and asks to wait {wait} s (Retry-After)" if wait else ""
    text += f", expected {', '.join(map(str, expect))} (http.expect)"
    quoted = excerpt(response, expansion)
    return Fault("UnexpectedStatus", f"{text}: {quoted}" if quoted else text, status, wait)


def retry_after(headers: httpx.Headers) -> int | None:
    """Return the seconds from now that Retry-After asks to wait: it has seconds, or a date by the clock of the server's
    Date."""
    import time
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return int(value) or None
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        now = time.time()
    return int(until - now + 0.999) if until > now else None


def is_listed_failure(sign: int | str | None, retry_on: list[int | str]) -> bool:
    return sign in retry_on if sign == NETWORK or sign is None else is_expected(int(sign), retry_on)


def excerpt(response: httpx.Response, expansion: Expansion) -> str:
    """Return the start of a body that explains a failure, as far as it can be read."""
    try:
        body = body_of(response, EXCERPT_LIMIT)[:EXCERPT_LIMIT]
    except Exception as error:  # the status says more than a body that cannot be read
        return str(error) if isinstance(error, Fault) else ""
    return quoted(text_like(body, response.charset_encoding), expansion)


def text_like(body: bytes, charset: str | None) -> str:
    """Return bytes as text to look at. Latin-1 where they are not UTF-8: what is to be hidden must be found in it."""
    import codecs

    for encoding in (charset or "utf-8", "utf-8"):
        try:
            return codecs.getincrementaldecoder(encoding)().decode(body)  # whose last character may be cut
        except (UnicodeDecodeError, LookupError, ValueError, RuntimeError):
            continue
    return body.decode("latin-1")


def quoted(text: str, expansion: Expansion) -> str:
    return UNSEEN.sub(" ", expansion.redacted(text))[:QUOTED].strip()


def causes_of(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def fault_of(error: Exception, seconds: int, expansion: Expansion, proxy: Proxy | None) -> Fault:
    """Return what went wrong and what to change, for an error of httpx.

    Texts of errors about the address are not quoted: they may hold a part of a secret that was filled into it.
    """
    import httpx

    if isinstance(error, Fault):
        return error
    through = f" through {proxy.name}" if proxy else ""
    if isinstance(error, (httpx.TimeoutException, Expired)):
        text = f"no complete answer{through} within {seconds} s; raise http.timeoutSeconds if it needs longer"
        return Fault("Timeout", text, NETWORK)
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)):
        advice = "start it with http:// or https:// and percent-encode what is special, in filled-in values too"
        return Fault("InvalidURL", f"http.url is not a valid address: {advice}")
    kind, text = type(error).__name__, quoted(str(error), expansion)
    if isinstance(error, httpx.ProxyError) and proxy:  # what it answered to CONNECT
        return Fault(kind, f"{proxy.name} does not connect to the server: {text}", NETWORK if text[:1] == "5" else None)
    for cause in causes_of(error):
        found = proxy_fault(cause, proxy) if proxy else None
        found = found or connection_fault(cause, expansion.environ, through)
        if found is not None:
            return found
    if isinstance(error, httpx.LocalProtocolError):
        return Fault("InvalidRequest", f"the request is not valid HTTP: {text}")
    if isinstance(error, httpx.TransportError):
        return Fault(kind, f"no complete answer{through} ({text or 'the connection was lost'})", NETWORK)
    return Fault(kind, text)


def proxy_fault(cause: BaseException, proxy: Proxy) -> Fault | None:
    """Return what keeps a request from its proxy."""
    import socket

    advice = f"check {proxy.variable}, or list the host of http.url in NO_PROXY"
    if isinstance(cause, socket.gaierror):
        return Fault("UnknownHost", f"the host name of {proxy.name} is not known ({cause.strerror}); {advice}", NETWORK)
    if isinstance(cause, ConnectionRefusedError):
        return Fault("ConnectionRefused", f"{proxy.name} refuses connections; {advice}", NETWORK)
    return None


def connection_fault(cause: BaseException, environ: dict[str, str], through: str) -> Fault | None:
    """Return what an error of the operating system, or of TLS, says of a connection."""
    import socket
    import ssl

    if isinstance(cause, ssl.SSLCertVerificationError):
        return Fault("TLSError", f"no secure connection{through} ({cause.verify_message}); {ca_advice(environ)}")
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Fault("TLSError", f"the connection{through} ended during the TLS handshake", NETWORK)
    if isinstance(cause, ssl.SSLError):
        text = f"no secure connection{through} ({cause.reason or 'the handshake failed'})"
        return Fault("TLSError", f"{text}; use http:// if the server speaks no TLS")
    if isinstance(cause, socket.gaierror):
        advice = "check http.url (a Service in another namespace is NAME.NAMESPACE)"
        return Fault("UnknownHost", f"the host name is not known ({cause.strerror}); {advice}", NETWORK)
    if isinstance(cause, ConnectionRefusedError):
        text = "nothing listens there; check host and port of http.url, and that it is up"
        return Fault("ConnectionRefused", text, NETWORK)
    if isinstance(cause, OSError) and cause.strerror:
        return Fault("ConnectionFailed", f"the connection{through} failed ({cause.strerror.lower()})", NETWORK)
    return None


class Expired(Exception):
    """The time for the whole request is over; httpx alone limits each single read."""


def limit_time(seconds: int) -> None:
    """Raise Expired after `seconds`; 0 removes the limit."""
    import signal

    def expire(number: int, frame: FrameType | None) -> None:
        raise Expired

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def programs() -> Any:
    """Return the operator's own CEL, from the sources that this text carries."""
    module = ModuleType("nexus")
    for name, source in CARRIED.items():
        package, _, leaf = name.rpartition(".")
        module = sys.modules[name] = ModuleType(name)
        setattr(sys.modules.setdefault(package, ModuleType(package)), leaf, module)
        exec(source, module.__dict__)
    return module


# That an expression asks for the body as JSON.
OF_JSON = re.compile(r"""\bresponse\s*(?:\.\s*json\b|\[\s*["']json["']\s*\])""")


def trimmed(source: str, response: dict[str, Any], why: str, expansion: Expansion) -> dict[str, Any]:
    """Return the output with the value of `result` in the place of the body; `why`: there is no json."""
    cel = programs()
    try:
        value = cel.Programs().evaluate(source, {"response": "map"}, {"response": plain(response)}, "UTC")
    except cel.Refused as refusal:
        text = expansion.redacted(refusal.text)
        if "Iteration budget" in text:
            text = "it visits more than 10,000 items (CEL's budget): ask for a smaller answer, or use a python task"
        elif why and OF_JSON.search(source):
            text = f"it asks for response.json, but {why}"
            body = quoted(response.get("text", ""), expansion)[:200]
            text += f"; the answer begins: {body}" if body else ""
        raise Failure("ExpressionError", f"http.result: {text}") from None
    return {"status": response["status"], "headers": response["headers"], "json": value}


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Send the request. Raises Refusal, and Failure with the exit code that says whether a retry is worth it."""
    expansion = Expansion(dict(os.environ))
    seconds = spec.get("timeoutSeconds") or DEFAULT_SECONDS
    retry_on = spec.get("retryOn")
    proxy = None
    fault: Fault | None = None
    try:
        try:
            request = Request(spec, expansion)
            proxy = request.proxy
            response, why = fetched(request, spec, expansion, seconds)
        finally:
            limit_time(0)  # nothing may interrupt the telling
        if spec.get("result"):
            return trimmed(spec["result"], response, why, expansion)
        check_json(response.get("json"), expansion.redacted)
        return response
    except Refusal:
        raise
    except Failure as error:
        failure = error
    except ModuleNotFoundError as error:
        failure = package_missing(error, "http")
    except Exception as error:
        fault = fault_of(error, seconds, expansion, proxy)
        asked = f"{spec.get('method') or 'GET'} {shown(spec['url'])}"
        # Whatever words of the server's are in it: a content type may echo a secret as well as a body.
        told = expansion.redacted(str(fault))
        failure = Failure(fault.kind, f"{asked}{' ' if fault.kind == 'UnexpectedStatus' else ': '}{told}")
        failure.retry_after = fault.retry_after
    if retry_on and not is_listed_failure(fault.sign if fault else None, retry_on):
        failure.code = NOT_LISTED
    raise failure


if __name__ == "__main__":
    settle(run, "http", "trim the answer with http.result, or ask for less of it")
