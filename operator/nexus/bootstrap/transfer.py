"""What moves data between a task's pod and the output store: inputs before the task, what it left after it.

    fetch   (an init container)  brings inputs into the folder that the pod's containers share
    put     (after the task)     stores artifacts, and an output that is too large for the status
    wrap    (a local subprocess) fetch, then the command that follows, then put

Objects are written under a key that no other attempt uses, become visible when they are complete, and are checked
against their SHA-256 by everybody who reads them. Memory is constant: nothing is held whole.
"""

from __future__ import annotations

import json
import os
import sys

from nexus.bootstrap.common import Failure, Refusal, compact, failed, leave, say
from nexus.bootstrap.tree import check_readable, harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

CHUNK = 8 * 1024 * 1024  # bytes at a time; S3's smallest part is 5 MiB, and 10,000 parts are 80 GB
PARTS = 4  # parts under way at once, so that at most as many chunks are in memory
PATIENCE = 20  # seconds of retries of one request, after which the task's own retry is due
STALLED = 120  # seconds without a byte after which a connection counts as dead
MESSAGE = os.environ.pop("NEXUS_TRANSFER_LOG", "/dev/termination-log")
VARIABLES = ("AWS_", "GOOGLE_", "AZURE_")


class Folder:
    """A store that is a folder: that of a local run, or of a mounted volume."""

    def __init__(self, root: str) -> None:
        self.root = root

    def put(self, key: str, chunks: Iterable[bytes]) -> None:
        """Written beside its place and renamed: a reader sees all of it or nothing."""
        path = os.path.join(self.root, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = path + ".part"
        try:
            with open(partial, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            if os.path.exists(partial):
                os.unlink(partial)
            raise

    def get(self, key: str) -> Iterator[bytes]:
        with open(os.path.join(self.root, key), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk


class Bucket:
    """A store behind an API: S3, Google's, Azure's. Multipart uploads are aborted where they fail."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import datetime as dt

        try:
            import obstore
            import obstore.store
        except ModuleNotFoundError:
            text = "the image of the store's containers has no Python package obstore; choose one that has it"
            raise Failure("ModuleNotFoundError", text) from None
        self.library = obstore
        url, config, endpoint = spec["url"], {}, spec.get("endpoint")
        if url.startswith("s3://"):
            config = {"region": spec.get("region") or os.environ.get("AWS_REGION") or "us-east-1"}
            # Who reads it checks all of it: here and in the server a second SHA-256, of each part, would tell nothing.
            config |= {"unsigned_payload": "true"}
            if endpoint:
                # Self-hosted servers rarely have a name for each bucket.
                config |= {"endpoint": endpoint, "virtual_hosted_style_request": "false"}
        # The proxies of the environment hold, as for every other client.
        client: Any = {"timeout": "1h", "connect_timeout": "10s", "read_timeout": f"{STALLED}s"}
        if endpoint and endpoint.startswith("http://"):
            client["allow_http"] = True
        backoff = {"init_backoff": dt.timedelta(seconds=0.2), "max_backoff": dt.timedelta(seconds=5), "base": 2}
        retries: Any = {
            "max_retries": 100,
            "retry_timeout": dt.timedelta(seconds=spec.get("patience", PATIENCE)),
            "backoff": backoff,
        }
        config_of: Any = config or None
        self.store = obstore.store.from_url(url, config=config_of, client_options=client, retry_config=retries)

    def put(self, key: str, chunks: Iterable[bytes]) -> None:
        self.library.put(self.store, key, chunks, chunk_size=CHUNK, max_concurrency=PARTS)

    def get(self, key: str) -> Iterator[bytes | memoryview]:
        for chunk in self.library.get(self.store, key).stream(min_chunk_size=CHUNK):
            yield memoryview(chunk)  # it is in memory once, and not copied


class Counted:
    """Chunks on their way, counted and hashed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        import hashlib

        self.chunks = chunks
        self.size = 0
        self.hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.size += len(chunk)
            self.hash.update(chunk)
            yield chunk

    def told(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self.hash.hexdigest()}


def open_store(spec: dict[str, Any]) -> Any:
    return Folder(spec["root"]) if "root" in spec else Bucket(spec)


def words_of(error: BaseException) -> str:
    """Return the store's own words: of an error within errors the innermost one, without what a debugger would want."""
    import re

    text = " ".join(str(error).split()) or type(error).__name__
    # Of a file, without its path: the key says which it is, and the path of the store's folder here is of no use.
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    # obstore prints the error a second time, for debuggers; an S3 server's own message is an XML document in it.
    text = text.split(" Debug source:")[0]
    told = re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", text[:4_096])
    if told is not None:
        return f"{told[1]}: {told[2]}"
    for name, secret in os.environ.items():
        if name.startswith(VARIABLES) and len(secret) > 7:
            text = text.replace(secret, "***")
    return text[:600]


def lost(what: str, error: BaseException) -> Failure:
    return Failure("StoreFailed", f"{what}: {words_of(error)}")


def fetch(spec: dict[str, Any], folder: str) -> None:
    """Bring the inputs: each appears under its name when it is complete and its hash is right."""
    os.makedirs(os.path.join(folder, ".nexus", "input"), exist_ok=True)
    if not spec["fetch"]:
        return
    store = open_store(spec["store"])
    for entry in spec["fetch"]:
        target = os.path.join(folder, entry["path"])
        partial = os.path.join(folder, ".nexus", "partial")
        discard(partial)
        what = f"{entry['what']} ({entry['key']}) could not be read"
        read = Counted(store.get(entry["key"]))
        try:
            if entry.get("folder"):
                unpack(read, partial)
            else:
                with open(partial, "wb") as file:
                    file.writelines(read)
            for _ in read:  # tar stops at its end mark, the file goes on
                pass
        except Failure:
            raise
        except Exception as error:
            raise lost(what, error) from None
        if read.told() != {"size": entry["size"], "sha256": entry["sha256"]}:
            text = f"it has {read.size} bytes, expected {entry['size']}"
            if read.size == entry["size"]:
                text = "its SHA-256 is not the one that was recorded when it was stored"
            raise Failure("StoreFailed", f"{what}: {text}")
        os.rename(partial, target)


def discard(path: str) -> None:
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


class Reader:
    """Chunks as a file to read from, as tarfile expects one."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.rest = b""

    def read(self, size: int) -> bytes:
        while len(self.rest) < size:
            chunk = next(self.chunks, None)
            if chunk is None:
                break
            self.rest += bytes(chunk)
        found, self.rest = self.rest[:size], self.rest[size:]
        return found


def unpack(chunks: Iterable[bytes], target: str) -> None:
    import tarfile

    os.mkdir(target)
    source: Any = Reader(chunks)
    # What harmless() lets through needs no filter of Python's own: that of another version may refuse what was stored.
    options: Any = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    with tarfile.open(fileobj=source, mode="r|", bufsize=1024 * 1024) as archive:
        archive.extractall(target, members=harmless(archive, target), numeric_owner=True, **options)


def packed(path: str) -> Iterator[bytes]:
    """Yield a folder as a tar file, piece by piece: a thread writes into a pipe."""
    import tarfile
    import threading

    ours, theirs = os.pipe()
    failure: list[BaseException] = []

    def write() -> None:
        try:
            with os.fdopen(theirs, "wb") as sink, tarfile.open(fileobj=sink, mode="w|", bufsize=1024 * 1024) as archive:
                for name in sorted(os.listdir(path)):
                    archive.add(os.path.join(path, name), arcname=name)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with os.fdopen(ours, "rb", buffering=CHUNK) as file:
        while chunk := file.read(CHUNK):
            yield chunk
    thread.join()
    if failure:  # before the upload is completed
        raise failure[0]


def read_file(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def put(spec: dict[str, Any], folder: str) -> bytes:
    """Store what the task left; the message that tells of it."""
    import uuid

    attempt = uuid.uuid4().hex
    prefix = f"{spec['prefix']}-{attempt}"
    told: dict[str, Any] = {"id": attempt}
    artifacts: dict[str, Any] = {}
    large = os.path.join(folder, ".nexus", "output.json")
    is_large = is_own(folder, ".nexus", "output.json") and os.path.isfile(large)
    found = [entry for entry in spec["put"] if left(folder, entry)]
    for entry in found:
        check_readable(os.path.join(folder, entry["name"]), f"the artifact {entry['name']}")
    store = open_store(spec["store"]) if found or is_large else None
    for entry in found:
        path = os.path.join(folder, entry["name"])
        is_folder = os.path.isdir(path)
        stored = save(store, f"{prefix}/artifacts/{entry['name']}", path, f"the artifact {entry['name']}", is_folder)
        artifacts[entry["name"]] = {**stored, **({"folder": True} if is_folder else {})}
    if is_large:
        told["output"] = save(store, f"{prefix}/output.json", large, "the output", False)
    if artifacts:
        told["artifacts"] = artifacts
    return compact({"stored": told}).encode()


def is_own(folder: str, *steps: str) -> bool:
    """Return whether nothing on the way is a link: what one points at here, the credentials of the store in /proc among
    it, the task has no right to. Nothing changes under this look, for the task has ended."""
    return os.path.realpath(os.path.join(folder, *steps)) == os.path.join(os.path.realpath(folder), *steps)


def left(folder: str, entry: dict[str, Any]) -> bool:
    """Return whether the task left this artifact."""
    path = os.path.join(folder, entry["name"])
    if is_own(folder, entry["name"]) and (os.path.isfile(path) or os.path.isdir(path)):
        return True
    if entry.get("optional") and not os.path.lexists(path):
        return False
    variable = "ARTIFACT_" + entry["name"].upper().replace("-", "_")
    state = "is neither a file nor a folder" if os.path.lexists(path) else "was not written"
    text = f"the artifact {entry['name']} {state}; write it to ${variable}, or make it optional"
    raise Refusal("ArtifactMissing", text)


def save(store: Any, key: str, path: str, what: str, is_folder: bool) -> dict[str, Any]:
    read = Counted(packed(path) if is_folder else read_file(path))
    try:
        store.put(key, read)
    except Exception as error:
        raise lost(f"{what} could not be stored ({key})", error) from None
    say(f"{what} is stored: {read.size} bytes")
    return read.told()


def reported(run: Any) -> tuple[int, bytes]:
    """Return the exit code and message of a transfer."""
    try:
        return 0, run()
    except Refusal as error:
        say(f"{error.reason}: {error}")
        return 240, failed({"reason": error.reason, "message": str(error)})
    except Exception as error:
        failure = error if isinstance(error, Failure) else lost("the transfer failed", error)
        say(f"{failure.kind}: {failure}")
        return 1, failed({"reason": "StoreFailed", "message": str(failure)})


def tell(code: int, message: bytes) -> int:
    with open(MESSAGE, "wb") as file:
        file.write(message)
    return code


def wrap(spec: dict[str, Any], folder: str, command: list[str]) -> int:
    """Fetch, the task, put, in one process after the other; the task's exit code where that is not 0."""
    import signal
    import subprocess

    def bring() -> bytes:
        fetch(spec, folder)
        return b""

    code, message = reported(bring)
    if code:
        return tell(code, message)
    # Who stops this signals the whole group, so the task has it too, and says how it ends.
    signal.signal(signal.SIGTERM, lambda *_: None)
    code = subprocess.call(command)
    if code:
        return 128 - code if code < 0 else code
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return tell(*reported(lambda: put(spec, folder)))


def main(arguments: list[str]) -> None:
    import signal

    # The first process of a container ignores what it has no handler for; an upload that is asked to stop is none.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    # In a container that a local run starts the folder has another path than here.
    folder = os.environ.pop("NEXUS_TRANSFER_FOLDER", None) or os.environ["NEXUS_ARTIFACTS"]
    spec = json.loads(os.environb.pop(b"NEXUS_TRANSFER"))
    if arguments[0] == "wrap":
        leave(wrap(spec, folder, arguments[1:]))
    if arguments[0] == "put":
        leave(tell(*reported(lambda: put(spec, folder))))

    def bring() -> bytes:
        fetch(spec, folder)
        return b""

    leave(tell(*reported(bring)))


if __name__ == "__main__":
    main(sys.argv[1:])
