"""The first process of the node: it makes the node's mounts, then only collects orphans until it is killed.

Run by `unshare` with new namespaces for mounts, network, processes, host name and IPC. Its death ends all that runs in
them, and with the last process go the mounts and the network interfaces: the kernel cleans up, not we.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

PRIVATE = ("/var/lib", "/var/log")
"""What the kubelet, containerd and CNI write to below fixed paths; each is a folder of the cluster's state instead."""


def main(state: Path, name: str) -> int:
    """Fork the first process of the new pid namespace and return once its mounts are made."""
    ready, done = os.pipe()
    if os.fork() == 0:
        os.close(ready)
        _first(state, name, done)
    os.close(done)
    return 0 if os.read(ready, 1) else 1


def _first(state: Path, name: str, done: int) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    socket.sethostname(name)
    # Shared among the mount namespaces made from this one (the kubelet asks for it), but not with the machine's.
    _mount("--make-rshared", "/")
    _mount("-t", "proc", "proc", "/proc")
    # Shims put their sockets, iptables its lock and CNI its network namespaces below /run.
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for path in PRIVATE:
        own = state / "node" / path.replace("/", "-").strip("-")
        own.mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(own), path)
    os.write(done, b"1")
    os.close(done)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            # No children at present: the next orphan announces itself.
            signal.sigtimedwait({signal.SIGCHLD}, 1.0)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
