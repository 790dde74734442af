"""The transfer: what a task left goes into a store whole or not at all, and comes out of it checked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nexus.bootstrap import text


@dataclass
class Pod:
    """The folder that a pod's containers share, and a store that is a folder."""

    folder: Path
    store: Path

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def start(self, *words: str, fetch: Any = (), put: Any = (), **env: str) -> subprocess.Popen[bytes]:
        told = {"store": {"root": str(self.store)}, "prefix": "ns/run/uid/task/1", "fetch": fetch, "put": put}
        variables = {
            "PATH": os.environ["PATH"],
            "NEXUS_ARTIFACTS": str(self.folder),
            "NEXUS_TRANSFER": json.dumps(told),
            "NEXUS_TRANSFER_LOG": str(self.store.parent / "message"),
            **env,
        }
        return subprocess.Popen([sys.executable, "-c", text("transfer"), *words], env=variables, stderr=subprocess.PIPE)

    def run(self, *words: str, **given: Any) -> tuple[int, Any]:
        """Exit code and message."""
        process = self.start(*words, **given)
        process.communicate(timeout=60)
        message = (self.store.parent / "message").read_bytes() if (self.store.parent / "message").exists() else b""
        return process.returncode, json.loads(message) if message else None

    def put(self, *names: str) -> dict[str, Any]:
        code, told = self.run("put", put=[{"name": name, "optional": False} for name in names])
        assert code == 0, told
        stored: dict[str, Any] = told["stored"]
        return stored

    def key(self, stored: dict[str, Any], name: str) -> str:
        return f"ns/run/uid/task/1-{stored['id']}/artifacts/{name}"

    def taken(self, stored: dict[str, Any], name: str, other: str) -> dict[str, Any]:
        """The instruction to fetch an artifact under another name."""
        what = f"the artifact {other}"
        return {**stored["artifacts"][name], "key": self.key(stored, name), "path": other, "what": what}

    @property
    def stored_files(self) -> list[str]:
        return sorted(path.name for path in self.store.rglob("*") if path.is_file())


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    (tmp_path / "shared").mkdir()
    return Pod(tmp_path / "shared", tmp_path / "store")


def test_a_store_that_lacks_an_object_is_told_by_the_key_without_the_path_here(pod: Pod) -> None:
    entry = {"key": "ns/run/gone", "path": "x", "what": "the artifact x", "size": 1, "sha256": "0" * 64}
    code, told = pod.run("fetch", fetch=[entry])
    assert code == 1
    assert told["error"]["message"] == "the artifact x (ns/run/gone) could not be read: No such file or directory"


def test_a_file_goes_in_and_comes_out_the_same(pod: Pod) -> None:
    content = os.urandom(20 * 1024 * 1024 + 7)
    pod.write("model", content)

    stored = pod.put("model")
    code, _ = pod.run("fetch", fetch=[pod.taken(stored, "model", "best")])

    assert stored["artifacts"]["model"] == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert code == 0
    assert (pod.folder / "best").read_bytes() == content


def test_a_folder_travels_with_all_that_is_in_it(pod: Pod) -> None:
    pod.write("site/index.html", b"<p>hello</p>")
    pod.write("site/deep/er/data.bin", bytes(range(256)) * 100_000)
    (pod.folder / "site/empty").mkdir()
    script = pod.write("site/run.sh", b"#!/bin/sh\n")
    script.chmod(0o755)
    (pod.folder / "site/link").symlink_to("index.html")

    stored = pod.put("site")
    code, _ = pod.run("fetch", fetch=[pod.taken(stored, "site", "copy")])

    assert stored["artifacts"]["site"]["folder"] is True
    assert code == 0
    copy = pod.folder / "copy"
    assert (copy / "index.html").read_bytes() == b"<p>hello</p>"
    assert (copy / "deep/er/data.bin").read_bytes() == bytes(range(256)) * 100_000
    assert (copy / "empty").is_dir()
    assert os.access(copy / "run.sh", os.X_OK)
    assert (copy / "link").readlink() == Path("index.html")


def test_each_attempt_has_keys_of_its_own(pod: Pod) -> None:
    pod.write("model", b"1")
    first = pod.put("model")
    pod.write("model", b"22")
    second = pod.put("model")

    pod.run("fetch", fetch=[pod.taken(first, "model", "then"), pod.taken(second, "model", "now")])

    assert (pod.folder / "then").read_bytes() == b"1"
    assert (pod.folder / "now").read_bytes() == b"22"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it has 999 bytes, expected 1000"),
        (lambda path: path.write_bytes(b"y" * 1000), "its SHA-256 is not the one that was recorded when it was stored"),
        (lambda path: path.unlink(), "No such file or directory"),
    ],
)
def test_what_is_not_what_was_stored_is_never_seen(pod: Pod, damage: Any, words: str) -> None:
    pod.write("model", b"x" * 1000)
    stored = pod.put("model")
    damage(pod.store / pod.key(stored, "model"))

    code, told = pod.run("fetch", fetch=[pod.taken(stored, "model", "copy")])

    assert code == 1
    assert told["error"]["reason"] == "StoreFailed"
    assert "the artifact copy" in told["error"]["message"]
    assert words in told["error"]["message"]
    assert not (pod.folder / "copy").exists()


def test_half_a_folder_is_never_seen(pod: Pod) -> None:
    pod.write("site/a", b"a" * 5_000_000)
    pod.write("site/b", b"b" * 5_000_000)
    stored = pod.put("site")
    path = pod.store / pod.key(stored, "site")
    path.write_bytes(path.read_bytes()[:7_000_000])

    code, told = pod.run("fetch", fetch=[pod.taken(stored, "site", "copy")])

    assert (code, told["error"]["reason"]) == (1, "StoreFailed")
    assert not (pod.folder / "copy").exists()


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def test_an_archive_that_reaches_out_of_its_folder_is_refused(pod: Pod, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(member("../escaped", size=4), io.BytesIO(b"evil"))
    path = pod.store / "k"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    size, sha256 = len(packed.getvalue()), hashlib.sha256(packed.getvalue()).hexdigest()

    code, _ = pod.run(
        "fetch", fetch=[{"key": "k", "path": "copy", "what": "it", "folder": True, "size": size, "sha256": sha256}]
    )

    assert code == 1
    assert not list(tmp_path.rglob("escaped"))


def test_an_artifact_that_was_not_written_is_told_with_its_variable(pod: Pod) -> None:
    code, told = pod.run("put", put=[{"name": "by-sensor", "optional": False}])

    assert code == 240
    assert told["error"] == {
        "reason": "ArtifactMissing",
        "message": "the artifact by-sensor was not written; write it to $ARTIFACT_BY_SENSOR, or make it optional",
    }


@pytest.mark.parametrize("target", ["/proc/self/environ", "/etc", "nowhere", "real"])
def test_an_artifact_that_is_a_link_is_none(pod: Pod, target: str) -> None:
    pod.write("real", b"x")
    (pod.folder / "model").symlink_to(target)

    code, told = pod.run("put", put=[{"name": "model", "optional": True}])

    assert code == 240
    assert "the artifact model is neither a file nor a folder" in told["error"]["message"]
    assert pod.stored_files == []


def test_an_output_behind_a_link_is_not_stored(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "output.json").write_text("{}")
    (pod.folder / ".nexus").symlink_to(tmp_path / "elsewhere")

    code, told = pod.run("put")

    assert (code, "output" in told["stored"]) == (0, False)
    assert pod.stored_files == []


def test_an_optional_artifact_may_be_left_out(pod: Pod) -> None:
    code, told = pod.run("put", put=[{"name": "maybe", "optional": True}])

    assert code == 0
    assert "artifacts" not in told["stored"]


def test_a_store_that_is_full_says_so_and_keeps_no_half(pod: Pod) -> None:
    pod.write("model", b"x" * 5_000_000)
    pod.store.mkdir()
    limited = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n{text('transfer')}"
    told = {"store": {"root": str(pod.store)}, "prefix": "p", "fetch": [], "put": [{"name": "model"}]}
    message = pod.store.parent / "message"
    env = {"NEXUS_ARTIFACTS": str(pod.folder), "NEXUS_TRANSFER": json.dumps(told), "NEXUS_TRANSFER_LOG": str(message)}

    ended = subprocess.run([sys.executable, "-c", limited, "put"], env=env, capture_output=True, check=False)

    assert ended.returncode == 1
    words = json.loads(message.read_bytes())["error"]["message"]
    assert "the artifact model could not be stored" in words
    assert "File too large" in words
    assert pod.stored_files == []


def test_killed_while_it_stores_it_leaves_nothing_under_the_key(pod: Pod) -> None:
    pod.folder.joinpath("model").touch()
    os.truncate(pod.folder / "model", 2_000_000_000)
    process = pod.start("put", put=[{"name": "model", "optional": False}])
    deadline = time.monotonic() + 30
    while not list(pod.store.rglob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)

    process.kill()
    process.communicate()

    assert [name for name in pod.stored_files if not name.endswith(".part")] == []


def test_asked_to_stop_it_leaves_the_answer_to_its_task(pod: Pod) -> None:
    os.mkfifo(pod.folder / "pipe")
    process = pod.start("wrap", "cat", str(pod.folder / "pipe"))
    time.sleep(0.5)

    process.send_signal(signal.SIGTERM)  # to it alone: it waits for its task's own answer
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    (pod.folder / "pipe").write_bytes(b"")
    process.communicate(timeout=30)

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("command", "code"), [(["false"], 1), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)]
)
def test_a_task_that_fails_inside_it_keeps_its_exit_code_and_stores_nothing(
    pod: Pod, command: list[str], code: int
) -> None:
    pod.write("model", b"half")

    ended, told = pod.run("wrap", *command, put=[{"name": "model", "optional": False}])

    assert (ended, told) == (code, None)
    assert pod.stored_files == []
