"""Proxies and certificates by environment: which proxy a request takes, and what is said where a variable is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.unit.bootstrap_harness import Bench

from nexus.bootstrap.body import Fault
from nexus.bootstrap.proxy import parsed_proxy, proxy_for

PROXY = {"HTTP_PROXY": "http://proxy.corp:3128", "HTTPS_PROXY": "proxy.corp:3129"}


@pytest.mark.parametrize(
    ("scheme", "environ", "url"),
    [
        ("http", PROXY, "http://proxy.corp:3128"),
        ("https", PROXY, "http://proxy.corp:3129"),
        ("http", {}, None),
        ("http", {"HTTPS_PROXY": "p:1"}, None),
        ("https", {"ALL_PROXY": "https://p"}, "https://p"),
        ("http", {"http_proxy": "a:1", "HTTP_PROXY": "b:1"}, "http://a:1"),
        ("http", {"http_proxy": "", "HTTP_PROXY": "b:1"}, None),
        ("http", {"HTTP_PROXY": " ", "all_proxy": "c:1"}, "http://c:1"),
        ("http", {"HTTP_PROXY": "http://u:p%40w@[fd00::1]:3128/"}, "http://u:p%40w@[fd00::1]:3128"),
        ("http", {"HTTP_PROXY": "u:p@x@proxy"}, "http://u:p@x@proxy"),
        ("http", {**PROXY, "no_proxy": "", "NO_PROXY": "*"}, "http://proxy.corp:3128"),
    ],
)
def test_the_proxy_is_that_of_the_scheme(scheme: str, environ: dict[str, str], url: str | None) -> None:
    found = proxy_for(scheme, "orders.example", 80, environ)
    assert (found.url if found else None) == url


@pytest.mark.parametrize(
    ("host", "port", "entries", "direct"),
    [
        ("10.1.2.3", 80, "localhost,127.0.0.1,10.0.0.0/8,fd00::/8", True),
        ("fd00:1::2", 80, "10.0.0.0/8, fd00::/8", True),
        ("[fd00:1::2]", 80, "[fd00::]/8", True),
        ("fe80::1", 80, "fd00::/8", False),
        ("11.1.2.3", 80, "10.0.0.0/8", False),
        ("10.1.2.3", 80, "10.99.0.0/8", True),
        ("::ffff:10.1.2.3", 80, "10.0.0.0/8", True),
        ("orders.example", 80, "10.0.0.0/8,::/0,0.0.0.0/0", False),
        ("::1", 80, "[::1]", True),
        ("::1", 80, "::1", True),
        ("::1", 80, "0:0:0:0:0:0:0:1", True),
        ("::1", 8080, "[::1]:8080", True),
        ("::1", 80, "[::1]:8080", False),
        ("10.1.2.3", 80, "10.1.2.3", True),
        ("10.1.2.3", 81, "10.1.2.3:80", False),
        ("110.1.2.3", 80, "10.1.2.3", False),
        ("orders.example", 80, "orders.example", True),
        ("orders.example", 80, "example", True),
        ("orders.example", 80, ".example", True),
        ("orders.example", 80, "*.example", True),
        ("example", 80, ".example,*.example", False),
        ("anexample", 80, "example", False),
        ("orders.shop.svc", 80, ".svc", True),
        ("orders.shop.svc.", 80, ".svc", True),
        ("ORDERS.shop.svc", 80, ".SVC", True),
        ("orders.shop.svc", 80, "svc.", True),
        ("orders.example", 443, "orders.example:443", True),
        ("orders.example", 80, "orders.example:443", False),
        ("orders.example", 80, "other  orders.example", True),
        ("orders.example", 80, "*", True),
        ("orders.example", 80, ",, ,", False),
    ],
)
def test_no_proxy_lists_names_addresses_and_ranges(host: str, port: int, entries: str, direct: bool) -> None:
    found = proxy_for("http", host, port, {**PROXY, "NO_PROXY": entries})
    assert (found is None) is direct


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "fd00::/8/9", "http://orders.example", "10.*", "a.*.b", "[::1", "host:http", ".", "[name]"]
)
def test_an_entry_of_no_proxy_that_nobody_can_mean_is_named(entry: str) -> None:
    with pytest.raises(Fault) as refused:
        proxy_for("http", "orders.example", 80, {**PROXY, "NO_PROXY": f"orders.example,{entry}"})
    assert str(refused.value).startswith(f'NO_PROXY: "{entry}" is not a host name')
    assert proxy_for("http", "orders.example", 80, {"NO_PROXY": entry}) is None


@pytest.mark.parametrize(
    "value", ["proxy:port", "http://", "ftp://proxy:1", "http://pro xy:1", "proxy:70000", "http://[::1:3", "a:b:c"]
)
def test_a_proxy_address_that_is_none_is_named_without_its_credentials(value: str) -> None:
    with pytest.raises(Fault) as refused:
        parsed_proxy("https_proxy", value.replace("://", "://user:s3cr3t@"))
    assert str(refused.value).startswith("https_proxy is not a valid proxy address; write it as http://host:port")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("value", ["socks5://p:1", "socks5h://u:p@p:1", "SOCKS4://p"])
def test_a_socks_proxy_is_said_to_be_unsupported(value: str) -> None:
    with pytest.raises(Fault, match="ALL_PROXY is the address of a SOCKS proxy, which is not supported; set ALL_PROXY"):
        parsed_proxy("ALL_PROXY", value)


class Handler(BaseHTTPRequestHandler):
    """A server, and a proxy that lets requests through to itself but connects to nobody."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass

    def do_GET(self) -> None:
        status = {"/busy": 503}.get(self.path.rpartition("example")[2], 200)
        body = f"{self.path} {self.headers.get('Proxy-Authorization', '')}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.send_response(407, "Proxy Authentication Required")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_request_goes_through_its_proxy_with_credentials(bench: Bench, server: str) -> None:
    environ = {"HTTP_PROXY": f"http://user:pa%40ss@{server}", "NO_PROXY": "127.0.0.0/16"}
    output = bench.run("http", {"url": "http://orders.example/day"}, extra=environ).output
    assert output["text"] == "http://orders.example/day Basic dXNlcjpwYUBzcw=="


def test_what_no_proxy_lists_is_asked_directly(bench: Bench, server: str) -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost,127.0.0.0/8,fd00::/8"}
    assert bench.run("http", {"url": f"http://{server}/day"}, extra=environ).output["text"] == "/day "


@pytest.mark.parametrize(
    ("url", "environ", "kind", "words"),
    [
        (
            "http://orders.example/x",
            {"HTTP_PROXY": "http://u:s3cr3t@127.0.0.1:9"},
            "ConnectionRefused",
            "the proxy 127.0.0.1:9 (HTTP_PROXY) refuses connections; check HTTP_PROXY, or list the host of http.url in",
        ),
        (
            "https://orders.example/x",
            {"https_proxy": "u:s3cr3t@no-such-proxy.invalid:1"},
            "UnknownHost",
            "the host name of the proxy no-such-proxy.invalid:1 (https_proxy) is not known",
        ),
        (
            "https://orders.example/x",
            {"ALL_PROXY": "http://u:s3cr3t@{server}"},
            "ProxyError",
            "the proxy {server} (ALL_PROXY) does not connect to the server: 407 Proxy Authentication Required",
        ),
        (
            "http://orders.example/busy",
            {"HTTP_PROXY": "http://u:s3cr3t@{server}"},
            "UnexpectedStatus",
            "answered 503 through the proxy {server} (HTTP_PROXY), expected 2xx",
        ),
        (
            "http://{server}/",
            {"HTTP_PROXY": "proxy.corp.example:port"},
            "InvalidProxy",
            "HTTP_PROXY is not a valid proxy",
        ),
        (
            "https://{server}/",
            {"SSL_CERT_FILE": "/etc/acme/ca.pem"},
            "InvalidCA",
            "SSL_CERT_FILE is /etc/acme/ca.pem, which",
        ),
        (
            "https://{server}/",
            {"SSL_CERT_DIR": "/etc/acme"},
            "InvalidCA",
            "SSL_CERT_DIR: folder /etc/acme not found",
        ),
        (
            "https://{server}/",
            {"SSL_CERT_FILE": "/etc/hostname"},
            "InvalidCA",
            "which holds no certificate in PEM form",
        ),
    ],
)
def test_what_is_wrong_with_the_way_is_named_by_its_variable(
    bench: Bench, server: str, url: str, environ: dict[str, str], kind: str, words: str
) -> None:
    extra = {name: value.replace("{server}", server) for name, value in environ.items()}
    error = bench.run("http", {"url": url.replace("{server}", server)}, extra=extra).error
    assert error["type"] == kind
    assert words.replace("{server}", server) in error["message"]
    assert "s3cr3t" not in error["message"]
    assert "czNjcjN0" not in error["message"]


def test_certificates_are_read_for_https_alone(bench: Bench, server: str) -> None:
    ended = bench.run("http", {"url": f"http://{server}/day"}, extra={"SSL_CERT_FILE": "/etc/acme/ca.pem"})
    assert ended.output["text"] == "/day "
