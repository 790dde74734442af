"""The start of the tests' cluster in the background, with other commands in place of cluster.py's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests import cluster_session
from tests.cluster_session import Start


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_session, "_words", lambda *words: ["sh", "-c", *words])


def wait_for(start: Start) -> None:
    deadline = time.monotonic() + 20
    while not start.ended():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_commands_run_in_order_beside_the_tests(tmp_path: Path) -> None:
    start = Start((f"sleep 0.3; echo a >> {tmp_path}/ran",), (f"echo b >> {tmp_path}/ran",))
    assert not start.ended()
    wait_for(start)
    assert (tmp_path / "ran").read_text() == "a\nb\n"


def test_what_follows_a_command_that_failed_is_left_out(tmp_path: Path) -> None:
    wait_for(Start(("exit 2",), (f"echo b >> {tmp_path}/ran",)))
    assert not (tmp_path / "ran").exists()


def test_a_session_that_ends_early_ends_the_command_and_starts_no_other(tmp_path: Path) -> None:
    start = Start((f"echo a >> {tmp_path}/ran; exec sleep 60",), (f"echo b >> {tmp_path}/ran",))
    deadline = time.monotonic() + 20
    while not (tmp_path / "ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    start.stop()
    assert start.ended()
    assert (tmp_path / "ran").read_text() == "a\n"
    assert time.monotonic() < deadline


def test_the_flags_of_the_environment_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXUS_KCM_ARGS", raising=False)
    assert cluster_session._environment()["NEXUS_KCM_ARGS"] == cluster_session.BUSY_CONTROLLERS
    monkeypatch.setenv("NEXUS_KCM_ARGS", "--v=4")
    assert cluster_session._environment()["NEXUS_KCM_ARGS"] == "--v=4"
