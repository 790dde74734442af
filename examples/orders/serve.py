"""Serves this folder on a free loopback port while a command runs; {url} in the command is replaced by the address.

    python3 examples/orders/serve.py nexus run -f examples/sales.yaml --local --param 'orders={url}'

Without a command it serves until Ctrl-C. The exit status is the command's own.
"""

import contextlib
import functools
import signal
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Quiet(SimpleHTTPRequestHandler):
    """Leaves the terminal to the command."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main(command: list[str]) -> int:
    """Serve, run, and pass the command's exit status on."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=Path(__file__).parent))
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if not command:
        print(f"serving the orders on {url} until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        return 0
    # Ctrl-C reaches the command as well, which stops its tasks first and then ends: the server has to outlive it.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = subprocess.Popen([word.replace("{url}", url) for word in command])
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
