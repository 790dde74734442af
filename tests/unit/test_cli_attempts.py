"""The attempts that `nexus get` shows."""

from __future__ import annotations

from tests.builders import at

from nexus.api.run import TaskStatus
from nexus.cli.attempts import lines


def test_attempts_are_told_with_their_logs_and_no_more_words_than_needed() -> None:
    flaky = TaskStatus.model_validate(
        {
            "name": "flaky",
            "attemptRecords": [
                {
                    "attempt": 1,
                    "startTime": at(0),
                    "completionTime": at(1.5),
                    "exitCode": 3,
                    "reason": "TaskError",
                    "message": "exit code 3",
                    "logTail": "one\n\x1b[31mtwo",
                },
                {
                    "attempt": 2,
                    "completionTime": at(20),
                    "reason": "PodDeleted",
                    "message": "the pod was deleted while\nthe task ran",
                },
                {"attempt": 3, "startTime": at(30), "completionTime": at(31), "exitCode": 0},
            ],
        }
    )

    assert list(lines([TaskStatus(name="other"), flaky])) == [
        "",
        "Attempts",
        "  flaky   1  2026-11-23T09:00:00Z    1.5s  TaskError  exit code 3",
        "             | one",
        "             | two",
        "  flaky   2  2026-11-23T09:00:20Z          PodDeleted  the pod was deleted while the task ran",
        "  flaky   3  2026-11-23T09:00:30Z    1.0s  Succeeded  exit code 0",
    ]


def test_tasks_that_succeeded_at_once_have_nothing_to_tell() -> None:
    assert list(lines([TaskStatus(name="a")])) == []
