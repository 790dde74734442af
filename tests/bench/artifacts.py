"""An artifact of 1 GiB from task to task through an S3-compatible server: the script that pods run, against boto3.

Both store the same file and bring it back, in turns, and of each the quickest counts. The script also hashes it twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.results import Row
from tests.e2e.s3_server import BUCKET, S3Server, running_s3_server

from nexus.bootstrap import text

SIZE = 1024**3
ROUNDS = 2
# What the containers that move data may have (nexus.adapters.kube.manifests.transfer, RESOURCES).
MEMORY_LIMIT = 256

BOTO = """
import sys, boto3
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
client.upload_file(sys.argv[2], sys.argv[3], "boto/model")
client.download_file(sys.argv[3], "boto/model", sys.argv[2] + ".copy")
"""


def artifact_1gib() -> list[Row]:
    """Time, beside that of the client library, and memory."""
    ours, theirs, memory = [], [], 0.0
    with running_s3_server() as server, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _random(folder / "model")
        for _ in range(ROUNDS):
            seconds, used = _moved(server, folder)
            ours.append(seconds)
            memory = max(memory, used)
            words = [sys.executable, "-c", BOTO, server.endpoint, str(folder / "model"), BUCKET]
            theirs.append(_timed(words, server.credentials)[0])
            (folder / "model.copy").unlink()
    return [
        Row("artifact_1gib_seconds", min(ours), "s", floor=min(theirs), target=1.3, by_ratio=True),
        Row("artifact_1gib_memory", memory, "MiB", target=MEMORY_LIMIT),
    ]


def _moved(server: S3Server, folder: Path) -> tuple[float, float]:
    """Seconds and MiB of `put` in one task's pod and `fetch` in the next."""
    message = folder / "message"
    store = {"url": f"s3://{BUCKET}", "endpoint": server.endpoint}

    def run(word: str, **told: object) -> tuple[float, float]:
        spec = {"store": store, "prefix": "ns/run/uid/task/1", "fetch": [], "put": [], **told}
        environment = {
            **server.credentials,
            "NEXUS_ARTIFACTS": str(folder),
            "NEXUS_TRANSFER": json.dumps(spec),
            "NEXUS_TRANSFER_LOG": str(message),
        }
        return _timed([sys.executable, "-c", text("transfer"), word], environment)

    put = run("put", put=[{"name": "model"}])
    stored = json.loads(message.read_text())["stored"]
    key = f"ns/run/uid/task/1-{stored['id']}/artifacts/model"
    entry = {**stored["artifacts"]["model"], "key": key, "path": "copy", "what": "the copy"}
    fetched = run("fetch", fetch=[entry])
    (folder / "copy").unlink()
    return put[0] + fetched[0], max(put[1], fetched[1])


def _timed(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds, and MiB at most, of a process that has to end well."""
    began = time.perf_counter()
    process = subprocess.Popen(words, env=os.environ | environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{words[-1]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def _random(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(SIZE // 2**24):
            file.write(os.urandom(2**24))
