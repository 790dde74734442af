"""Names of the objects that a run makes: readable in front, unique and deterministic behind.

A name is the lock: whoever comes second, be it another operator or this one after a crash, finds the object there.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from nexus.api.base import GROUP

LABEL_WORKFLOW = f"{GROUP}/workflow"
LABEL_RUN = f"{GROUP}/run"
LABEL_TASK = f"{GROUP}/task"
LABEL_ATTEMPT = f"{GROUP}/attempt"
# Of a child run. Its pods' LABEL_RUN is the child itself.
LABEL_PARENT = f"{GROUP}/parent-run"
LABEL_DEPTH = f"{GROUP}/depth"
LABEL_ITEMS = f"{GROUP}/items"
LABEL_INDEX = f"{GROUP}/index"
LABEL_POOL = f"{GROUP}/pool"
LABEL_BACKFILL = f"{GROUP}/backfill"
BACKFILL_ENDS = f"{GROUP}/backfill-ends"
"""The annotation of a backfill's runs that names its last one."""

_HASH_LENGTH = 10
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and no look-alikes, as in Kubernetes' own generated names


def digest(*parts: str) -> str:
    """Return a digest of the parts: ten characters, about 47 bits. NUL cannot occur in any part."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:16], "big")
    characters = []
    for _ in range(_HASH_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)


def _stem(name: str, length: int) -> str:
    return name.replace(".", "-")[:length].rstrip("-")


def job_name(run_name: str, run_uid: str, task: str, attempt_number: int) -> str:
    """Return the name of the Job of a task's `attempt_number`-th attempt, at most 57 characters and without dots.

    57: the name of an Indexed Job, a hyphen and an index of up to 5 digits must be a DNS label of 63.
    """
    return f"{job_stem(run_name, task)}-{attempt_number}-{digest(run_uid, task, str(attempt_number))}"


def job_stem(run_name: str, task: str) -> str:
    """Return what the names of all attempts of a task begin with; tasks whose names begin alike may share it."""
    return f"{_stem(run_name, 20)}-{_stem(task, 20)}"


def child_name(run_name: str, run_uid: str, task: str, attempt_number: int) -> str:
    """Return the name of the child run of a task's `attempt_number`-th attempt, at most 57 characters of the 63 it may
    have."""
    return job_name(run_name, run_uid, task, attempt_number)


def scheduled_run_name(workflow: str, workflow_uid: str, schedule: str, tick: datetime) -> str:
    """Return the name of the run for a tick, at most 63 characters: the same whoever makes it, the schedule or a
    backfill.

    Minutes are enough to tell ticks apart: cron fields have no seconds, and @every is at least 60 of them.
    """
    minutes = int(tick.timestamp()) // 60
    return f"{_stem(workflow, 20)}-{_stem(schedule, 20)}-{minutes}-{digest(workflow_uid, schedule, str(minutes))}"


def outputs_name(run_name: str, run_uid: str) -> str:
    """Return the name of the ConfigMap that holds the outputs of a run."""
    return f"{_stem(run_name, 40)}-outputs-{digest(run_uid, 'outputs')}"


def item_job_name(run_name: str, run_uid: str, task: str, index: int, attempt_number: int) -> str:
    """Return the name of the Job of one item's `attempt_number`-th attempt, at most 57 characters too."""
    hashed = digest(run_uid, task, f"item {index}", str(attempt_number))
    return f"{item_stem(run_name, task)}-{index}-{attempt_number}-{hashed}"


def item_stem(run_name: str, task: str) -> str:
    """Return what the names of all attempts of all items of a task begin with."""
    return f"{_stem(run_name, 18)}-{_stem(task, 18)}"


def item_child_name(run_name: str, run_uid: str, task: str, index: int, attempt_number: int) -> str:
    """Return the name of the child run of one item's `attempt_number`-th attempt."""
    return item_job_name(run_name, run_uid, task, index, attempt_number)


def output_name(attempt: str) -> str:
    """Return the name of the ConfigMap that holds the output of an attempt: of a Job, or of a child run."""
    return f"{attempt}-output"


def revision_name(workflow: str, workflow_uid: str, spec_text: str) -> str:
    """Return the name of the ControllerRevision of a definition; the same definition has the same name."""
    return f"{workflow[:240].rstrip('-.')}-{digest(workflow_uid, spec_text)}"


def label_value(name: str) -> str:
    """Return a name as a label value: at most 63 characters; longer ones end in a hash so that they stay apart."""
    if len(name) <= 63:
        return name
    return f"{name[: 62 - _HASH_LENGTH].rstrip('-.')}-{digest(name)}"
