"""The output store: artifacts and large outputs through a real S3-compatible server, and its bad days."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.api_server import Object
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.s3_server import BUCKET, SECRET, S3Server, running_s3_server
from tests.e2e.space import IMAGE, Space, bash, python, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS, EVENTS, JOBS, PODS, WORKFLOW_RUNS, Kind
from nexus.bootstrap import text

pytestmark = pytest.mark.cluster

SECRETS = Kind("", "v1", "secrets", "Secret")
BIG = 40_000_000


# On this machine: the script that pods run, alone


class Mover:
    """The script of the containers `fetch` and `put`, started as they start it."""

    patience = 20

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.message = folder / "message"
        self.shared = folder / "shared"
        self.shared.mkdir()

    def start(self, word: str, fetch: Any = (), put: Any = (), **env: str) -> subprocess.Popen[bytes]:
        store = {"url": f"s3://{BUCKET}/prefix", "endpoint": self.server.endpoint, "patience": self.patience}
        told = {"store": store, "prefix": "ns/run/uid/task/1", "fetch": fetch, "put": put}
        variables = {
            "PATH": os.environ["PATH"],
            "NEXUS_ARTIFACTS": str(self.shared),
            "NEXUS_TRANSFER": json.dumps(told),
            "NEXUS_TRANSFER_LOG": str(self.message),
            **self.server.credentials,
            **env,
        }
        self.message.unlink(missing_ok=True)
        return subprocess.Popen([sys.executable, "-c", text("transfer"), word], env=variables, stderr=subprocess.PIPE)

    def ended(self, process: subprocess.Popen[bytes]) -> tuple[int, Any]:
        process.communicate(timeout=90)
        return process.returncode, json.loads(self.message.read_text() or "{}")

    def put(self, name: str, **env: str) -> tuple[int, Any]:
        return self.ended(self.start("put", put=[{"name": name}], **env))

    def fetch(self, told: Any, name: str, other: str) -> tuple[int, Any]:
        stored = told["stored"]
        key = f"ns/run/uid/task/1-{stored['id']}/artifacts/{name}"
        entry = {**stored["artifacts"][name], "key": key, "path": other, "what": f"the artifact {other}"}
        return self.ended(self.start("fetch", fetch=[entry]))


@pytest.fixture
def mover(tmp_path: Path) -> Iterator[Mover]:
    with running_s3_server() as server:
        yield Mover(server, tmp_path)


def words_of(told: Any) -> str:
    assert told["error"]["reason"] == "StoreFailed"
    message: str = told["error"]["message"]
    assert SECRET not in message
    return message


def test_files_and_folders_come_back_as_they_were(mover: Mover) -> None:
    content = os.urandom(BIG)
    (mover.shared / "model").write_bytes(content)
    (mover.shared / "site" / "deep").mkdir(parents=True)
    (mover.shared / "site" / "deep" / "page").write_bytes(content[:9_000_000])

    for name in ("model", "site"):
        code, told = mover.put(name)
        assert code == 0, told
        assert mover.fetch(told, name, f"{name}-copy")[0] == 0

    assert (mover.shared / "model-copy").read_bytes() == content
    assert (mover.shared / "site-copy" / "deep" / "page").read_bytes() == content[:9_000_000]


def test_refused_credentials_are_told_in_the_store_s_own_words(mover: Mover) -> None:
    (mover.shared / "model").write_bytes(b"x")

    _, told = mover.put("model", AWS_SECRET_ACCESS_KEY="wrong-secret-of-mine")

    assert "the artifact model could not be stored" in words_of(told)
    assert "SignatureDoesNotMatch" in words_of(told)
    assert "wrong-secret-of-mine" not in words_of(told)


def test_a_bucket_that_is_not_there_is_told(mover: Mover) -> None:
    (mover.shared / "model").write_bytes(b"x")
    (mover.server.folder / "data" / BUCKET).rmdir()

    _, told = mover.put("model")

    assert "NoSuchBucket" in words_of(told)


def test_credentials_lost_half_way_leave_nothing_to_read(mover: Mover) -> None:
    with (mover.shared / "model").open("wb") as file:
        file.truncate(1_500_000_000)
    process = mover.start("put", put=[{"name": "model"}])
    until = time.monotonic() + 30
    while not mover.server.uploads and time.monotonic() < until:
        time.sleep(0.01)

    mover.server.stop()
    mover.server.secret = "another"
    mover.server.start()
    code, told = mover.ended(process)

    assert code == 1
    assert "SignatureDoesNotMatch" in words_of(told)
    assert mover.server.objects == []


def test_a_store_that_is_down_or_gets_full_says_so_and_has_no_half(mover: Mover) -> None:
    (mover.shared / "model").write_bytes(os.urandom(BIG))
    mover.patience = 2
    mover.server.stop()
    down = mover.start("put", put=[{"name": "model"}])
    _, told = mover.ended(down)
    assert mover.server.endpoint in words_of(told)

    mover.server.start(largest_file=1_000_000)
    code, told = mover.put("model")

    assert code == 1
    assert "the artifact model could not be stored" in words_of(told)
    assert mover.server.objects == []


def test_a_store_that_comes_back_in_time_and_one_that_is_slow_are_waited_for(mover: Mover) -> None:
    (mover.shared / "model").write_bytes(os.urandom(BIG))
    mover.server.stop()
    process = mover.start("put", put=[{"name": "model"}])
    time.sleep(3)
    mover.server.start()
    with mover.server.stalled():
        time.sleep(3)

    code, told = mover.ended(process)

    assert code == 0, told
    assert mover.fetch(told, "model", "copy")[0] == 0


# In the cluster


@pytest.fixture(scope="module")
def s3(space: Space) -> Iterator[S3Server]:
    """A server that listens where pods find this machine."""
    node = space.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    with socket.socket(type=socket.SOCK_DGRAM) as route:
        route.connect((node, 9))
        address = route.getsockname()[0]
    with running_s3_server(address) as server:
        yield server


@pytest.fixture(scope="module")
def stored(space: Space, operator: OperatorProcess, s3: S3Server) -> Object:
    """The run that the tests below look at, finished."""
    assert operator.running
    space.post(SECRETS, {"metadata": {"name": "store"}, "stringData": s3.credentials})
    wrong = {**s3.credentials, "AWS_SECRET_ACCESS_KEY": "wrong"}
    space.post(SECRETS, {"metadata": {"name": "wrong"}, "stringData": wrong})
    store = {"url": f"s3://{BUCKET}/nexus", "endpoint": s3.endpoint, "credentialsSecret": "store"}
    said = 'echo "said=$(cat "$ARTIFACT_SITE/index") $ITEM" >> "$NEXUS_OUTPUT"'
    tasks = [
        python("model", "open(artifacts['model'], 'w').write('1 2 3')", artifacts={"outputs": [{"name": "model"}]}),
        {
            "name": "site",
            "dependsOn": ["model"],
            "container": {
                "image": IMAGE,
                "command": ["sh", "-c", 'mkdir "$1" && cp "$0" "$1/index"', "$(ARTIFACT_FROM)", "$(ARTIFACT_SITE)"],
            },
            "artifacts": {"inputs": [{"name": "from", "from": "model.model"}], "outputs": [{"name": "site"}]},
        },
        bash(
            "each",
            said,
            "site",
            forEach={"items": ["a", "b"]},
            artifacts={"inputs": [{"name": "site", "from": "site.site"}]},
        ),
        python("big", "output['rows'] = ['x' * 100] * 20_000\noutput['env'] = str(__import__('os').environ)"),
        python("reads", "output['n'] = len(input['big']['rows'])\noutput['env'] = input['big']['env']", "big"),
        python("forgets", "pass", artifacts={"outputs": [{"name": "model"}]}, retry={"limit": 2}),
    ]
    space.run("stored", *tasks, outputStore=store)
    space.run("refused", tasks[0], outputStore={**store, "credentialsSecret": "wrong"})
    space.run("missing", tasks[0], outputStore={**store, "credentialsSecret": "nowhere"})
    return space.finished("stored", 180)


def test_artifacts_pass_from_python_to_a_container_and_to_items(space: Space, stored: Object) -> None:
    assert space.output(stored, "each") == {"items": [{"said": "1 2 3 a"}, {"said": "1 2 3 b"}]}
    (site,) = task(stored, "site")["artifacts"]
    assert (site["name"], site["folder"]) == ("site", True)
    assert site["key"].startswith(f"{space.namespace}/stored/{stored['metadata']['uid']}/site/1-")


def test_a_large_output_lies_in_the_store_and_is_read_by_its_dependents(
    space: Space, stored: Object, s3: S3Server
) -> None:
    big = task(stored, "big")

    assert space.output(stored, "reads")["n"] == 20_000
    assert big["storedOutput"]["size"] > 2_000_000
    assert f"nexus/{big['storedOutput']['key']}" in s3.objects


def test_an_artifact_that_was_not_written_ends_its_task_without_a_retry(stored: Object) -> None:
    forgets = task(stored, "forgets")

    assert (forgets["phase"], forgets["reason"], forgets["attempts"]) == ("Failed", "ArtifactMissing", 1)
    assert "write it to $ARTIFACT_MODEL" in forgets["message"]


def test_refused_credentials_fail_the_task_with_the_words_of_the_store(space: Space, stored: Object) -> None:
    assert stored
    refused = space.finished("refused")

    assert reasons(refused) == {"model": "StoreFailed"}
    assert "SignatureDoesNotMatch" in task(refused, "model")["message"]


def test_a_secret_that_is_missing_is_waited_for_and_named(space: Space, stored: Object) -> None:
    assert stored
    waiting = space.until("missing", lambda run: task(run, "model").get("reason") == "MissingConfig")

    assert 'secret "nowhere" not found' in task(waiting, "model")["message"]
    space.post(SECRETS, {"metadata": {"name": "nowhere"}, "stringData": {"AWS_ACCESS_KEY_ID": "x"}})


def test_the_store_s_credentials_are_in_no_object_and_not_in_the_task(space: Space, stored: Object) -> None:
    everything = space.everything(WORKFLOW_RUNS, JOBS, PODS, CONFIG_MAPS, EVENTS)

    assert SECRET not in everything
    assert "AWS_SECRET" not in everything
    assert "AWS_" not in space.output(stored, "reads")["env"]
