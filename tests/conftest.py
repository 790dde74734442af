"""What all tests share: how long and how reproducibly hypothesis searches, and one evaluator of expressions."""

import gc
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import engine
from tests import effort, scheduling
from tests.cluster_session import SessionCluster, kubeconfig

from nexus.adapters.cel.pool import CelEvaluator

# A shell that starts this in its background has SIGINT ignored, and nohup SIGHUP. Every process that a test starts
# would inherit that, and none could be interrupted. A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# No deadlines: on a shared machine a slow example tells of the neighbours. A failure prints what replays it.
settings.register_profile("default", deadline=None, print_blob=True)
# CI searches longer and from a new seed each time; what it finds is printed, since its database is thrown away.
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=False, max_examples=300, database=None)
# make test-fast
settings.register_profile("fast", deadline=None, print_blob=True, max_examples=20)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "fast" if effort.FAST else "ci" if os.environ.get("CI") else "default")
)

# Seconds in which hypothesis makes a failing example smaller (its own limit: 300). A failing run has to end soon, too,
# and a larger example is replayed as well.
engine.MAX_SHRINKING_SECONDS = 60

# The state machine's seed, of which there is one a session; set it to replay one.
os.environ.setdefault("NEXUS_SEED", str(secrets.randbelow(2**32)))


def pytest_report_header() -> str:
    """The seed stands in the log of a good run too: what was searched can be searched again."""
    return f"state machine: NEXUS_SEED={os.environ['NEXUS_SEED']}"


def pytest_configure(config: pytest.Config) -> None:
    """The session's own process looks after the cluster."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(SessionCluster(), "session-cluster")


# Of a session that something ends from outside nothing else would tell why its tests failed.
TOLD_AT_ONCE = 5
told: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print the first failures when they happen, too, each text once: many tests can fail for one reason."""
    if "PYTEST_XDIST_WORKER" in os.environ or not report.failed or len(told) >= TOLD_AT_ONCE:
        return
    text = report.longreprtext
    if text not in told:
        told.add(text)
        captured = "".join(f"\n--- {title} ---\n{content}" for title, content in report.sections)
        print(f"\n{report.nodeid}, {report.when}:\n{text}{captured}", file=sys.__stdout__, flush=True)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return what `-n auto` stands for."""
    return scheduling.workers(config)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> scheduling.Scheduling:
    """How pytest-xdist spreads the tests: its loadgroup cannot name groups to pytest 9.2."""
    return scheduling.Scheduling(config, log, config.pluginmanager.get_plugin("session-cluster").bring_up)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test-fast` runs a part of each table."""
    items[:], left_out = effort.of_each_table(items)
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The workers that compute give way to the cluster."""
    scheduling.lower_priority(session.items)
    # Of eight thousand tests there are millions of objects, which the collector would go through again and again.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cel() -> Iterator[CelEvaluator]:
    """CEL as the operator has it: in a child process, which ends with the session."""
    with CelEvaluator() as evaluator:
        yield evaluator


__all__ = ["cel", "kubeconfig"]
