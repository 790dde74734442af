"""What the API server refuses, `nexus lint` refuses in the same words, or in more exact ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.crd_cases import CASES, Object, one, run, task, workflow, wrapped

from nexus.adapters.cel.pool import CelEvaluator
from nexus.api import rules
from nexus.cli.manifests import load

CRDS = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
NAMED: Object = {"workflowRef": {"name": "w"}}
APPROVED = {"task": "a", "decision": "Approved", "by": "ann"}
VOLUME = {"name": "v", "emptyDir": {}}

# Rule and what it refuses: by the table that the API server is tried with, and where that has no definition for it.
BROKEN: dict[str, tuple[str, Object]] = {
    **{title: (case.rule.message, wrapped("Workflow", case.bad)) for title, case in CASES.items()},
    "a long name": (rules.SHORT_NAME.message, {**workflow(**one()), "metadata": {"name": "n" * 64}}),
    "a long name of a run": (rules.SHORT_NAME.message, {**run(**NAMED), "metadata": {"name": "n" * 64}}),
    "a run of nothing": (rules.REF_OR_SPEC.message, run()),
    "a run of two definitions": (rules.REF_OR_SPEC.message, run(**NAMED, workflowSpec=one())),
    "a rerun from two places": (
        rules.FROM_OR_TASKS.message,
        run(**NAMED, rerunOf={"name": "r", "from": "Failed", "tasks": ["a"]}),
    ),
    "two decisions about a task": (rules.ONE_APPROVAL_A_TASK.message, run(**NAMED, approvals=[APPROVED, APPROVED])),
    "a zone in cron": (
        rules.NO_ZONE_IN_CRON.message,
        workflow(**one(), schedules=[{"name": "s", "cron": "TZ=Europe/Berlin 30 2 * * *"}]),
    ),
    "two tasks of a name": ("duplicate name in tasks", wrapped("Workflow", {"tasks": [task(), task()]})),
    "two final tasks of a name": (
        "duplicate name in finally",
        wrapped("Workflow", {"tasks": [task("b")], "finally": [task(), task()]}),
    ),
    "two params of a name": (
        "duplicate name in params",
        wrapped("Workflow", {**one(), "params": [{"name": "x"}, {"name": "x"}]}),
    ),
    "two variables of a name": (
        "duplicate name in env",
        wrapped("Workflow", one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
    ),
    "two volumes of a name": (
        "duplicate name in volumes",
        wrapped("Workflow", one(pod={"volumes": [VOLUME, VOLUME]})),
    ),
}

NAMES = "a rule cannot name the culprit within the budget of CEL; the API server appends at most the repeated key"
VALUE = "lint says what is written there"
FIELD = "the rule has one message for several fields, lint names the one that is written"
PARAM = "lint knows the params, and writes how this code reads the first of them"

# Where lint says more: its words in full, and why the rule cannot say the same.
MORE_EXACT: dict[str, tuple[str, str]] = {
    "a name in tasks and in finally": (
        'duplicate task name "a"; names in tasks and finally must be unique together',
        NAMES,
    ),
    "an unknown dependency": ('unknown task "c"; tasks are a, b', NAMES),
    "a tag that comes twice": ('duplicate tag "daily"', NAMES),
    "a dependency named twice": ('duplicate dependency "a"', NAMES),
    "an artifact that is taken twice": ('duplicate artifact name "a"', NAMES),
    "an artifact that is left twice": ('duplicate artifact name "a"', NAMES),
    "two decisions about a task": ('duplicate approval of task "a"', NAMES),
    "two tasks of a name": ('duplicate task name "a"', NAMES),
    "two final tasks of a name": ('duplicate task name "a"', NAMES),
    "two params of a name": ('duplicate param name "x"', NAMES),
    "two variables of a name": ('duplicate variable name "A"', NAMES),
    "two volumes of a name": ('duplicate volume name "v"', NAMES),
    "the env of a pod on a workflow task": (
        (
            "env is not supported for workflow tasks, which have no pod; give values in workflow.params, and write the "
            "rest in that Workflow"
        ),
        FIELD,
    ),
    "an approval with the fields of a pod": (
        "env is not supported for approval tasks, which have no pod; remove it",
        FIELD,
    ),
    "a wait that is retried": ("retry is not supported for wait tasks, which have no pod; remove it", FIELD),
    "a wait with a limit": ("timeoutSeconds is not supported for wait tasks; remove it", FIELD),
    "bounds of a text": (
        "minimum is supported for integers and numbers only, the type is string; change type, or remove minimum",
        FIELD,
    ),
    "a wait until a time without an offset": (
        'time "2026-11-23T10:00:00" has no offset; write it with Z, or as +02:00',
        VALUE,
    ),
    "bounds the wrong way round": ("minimum 3 exceeds maximum 2; swap them", VALUE),
    "a volume of every pod's": ('volume name "tmp" is reserved; choose another name', VALUE),
    "a mount over the task contract's": ('path "/nexus/input" is reserved; mount it elsewhere, as at /data', VALUE),
    "a label of the operator's": ('label prefix "nexus.dev" is reserved; choose another prefix', VALUE),
    "a bare expression in when": ("must be one whole expression; write it as ${{ params.x }}", VALUE),
    "an expression in python": (
        (
            '${{ }} is not allowed here, a value would become code; code reads params["day"] and input["task"]; give '
            "everything else in env"
        ),
        PARAM,
    ),
    "an expression in bash": (
        (
            '${{ }} is not allowed here, a value would become code; params are variables, as in "$PARAM_DAY"; give '
            "everything else in env"
        ),
        PARAM,
    ),
    "an expression in sql": (
        "${{ }} is not allowed here, a value would become code; write :day in the query and give day in sql.parameters",
        PARAM,
    ),
}

# Rules about a change: a file has no earlier state.
ON_CHANGES = (rules.RUN_NEVER_CHANGES, rules.CANCEL_STAYS, rules.APPROVALS_STAY)


def entries(schema: Any) -> Iterator[dict[str, str]]:
    """Yield the entries of x-kubernetes-validations, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", ())
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from entries(below)


def test_every_rule_of_the_crds_is_tried() -> None:
    found = [one for path in CRDS for one in entries(yaml.load(path.read_text("utf-8"), yaml.CSafeLoader))]
    assert {one["message"] for one in found if "oldSelf" in one["rule"]} == {rule.message for rule in ON_CHANGES}
    assert {one["message"] for one in found if "oldSelf" not in one["rule"]} == {rule for rule, _ in BROKEN.values()}


@pytest.mark.parametrize("title", BROKEN)
def test_lint_says_what_the_api_server_says(cel: CelEvaluator, title: str) -> None:
    message, body = BROKEN[title]
    if title in MORE_EXACT:
        message, _ = MORE_EXACT[title]
    elif message.startswith(("when ", "result ")):
        # lint writes the field before its message.
        message = message.partition(" ")[2]
    found = [problem.message for problem in load(json.dumps(body), "f", cel).problems]
    assert any(said == message or said.endswith((f": {message}", f"; {message}")) for said in found), found


def test_what_lint_says_otherwise_is_needed() -> None:
    assert MORE_EXACT.keys() <= BROKEN.keys()
    assert [title for title, (words, _) in MORE_EXACT.items() if words == BROKEN[title][0]] == []
