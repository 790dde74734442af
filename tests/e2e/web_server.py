"""A web server for the tests' pods: tells what it was asked, fails as wanted, serves the files beside it.

/echo          the request as JSON: method, path, query, headers, body
/digest        the SHA-256 of the Authorization header, since a test's secret may appear in no output
/status/CODE   that status
/flaky/N/KEY   500 to the first N requests for the key, {"requests": n} after them
/busy/N/S/KEY  429 with Retry-After: S to the first N requests for the key, {"requests": n} after them
/refuse/...    404, which quotes the path, as it is and decoded, and the Authorization header
/members       text in two members of gzip
/text          text that is no JSON
"""

import gzip
import hashlib
import json
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SEEN: Counter[str] = Counter()
LOCK = threading.Lock()


class Handler(SimpleHTTPRequestHandler):
    """Answers every method alike."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments, directory=Path(__file__).parent)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        match url.path.split("/")[1:]:
            case ["echo"]:
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = {"method": self.command, "path": url.path, "query": parse_qsl(url.query)}
                self.tell(200, told | {"headers": headers, "body": body})
            case ["digest"]:
                digest = hashlib.sha256(self.headers.get("Authorization", "").encode()).hexdigest()
                self.tell(200, {"authorization": digest})
            case ["status", code]:
                self.tell(int(code), {"code": int(code)})
            case ["flaky", failures, key]:
                with LOCK:
                    SEEN[key] += 1
                    count = SEEN[key]
                self.tell(500 if count <= int(failures) else 200, {"requests": count})
            case ["busy", failures, seconds, key]:
                with LOCK:
                    SEEN[key] += 1
                    count = SEEN[key]
                busy = count <= int(failures)
                wait = {"Retry-After": seconds} if busy else {}
                self.tell(429 if busy else 200, {"requests": count}, **wait)
            case ["refuse", *_]:
                told = (
                    f"Cannot {self.command} {self.path} ({unquote(self.path)}) {self.headers.get('Authorization', '')}"
                )
                self.answer(404, "text/html; charset=utf-8", told.encode())
            case ["members"]:
                content = gzip.compress(b"first ") + gzip.compress(b"second")
                self.answer(200, "text/plain", content, **{"Content-Encoding": "gzip"})
            case ["text"]:
                self.answer(200, "text/plain; charset=utf-8", b"plain text")
            case _:
                super().do_GET()

    do_POST = do_PUT = do_GET  # noqa: N815 - http.server chooses the names

    def tell(self, code: int, value: object, **headers: str) -> None:
        self.answer(code, "application/json", json.dumps(value).encode(), **headers)

    def answer(self, code: int, kind: str, content: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
