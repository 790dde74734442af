"""Values: what a task wrote is what the next one reads, or the task fails; here and in a local run alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import definition
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, phases, python, reasons, task
from tests.unit.local_harness import run_here
from tests.unit.test_numbers import TABLE, same

from nexus.adapters.kube.client.api import WORKFLOW_RUNS
from nexus.api.numbers import as_stored
from nexus.api.tasks import Task

pytestmark = pytest.mark.cluster

BAD = "customer=M\\xfcller und S\\xf6hne\\nrows:=1234\\n"
NUMBERS = "[3.0, -0.0, 1e16, 1e19, 1.5, 0.1, 1e-7, 12345678901234567, float(2**62)]"
POOL = """
import multiprocessing
def triple(n): return n * params["factor"]
if __name__ == "__main__":
    with multiprocessing.get_context(item).Pool(2) as pool:
        output["n"] = pool.map(triple, range(4))
"""
TITLE = "fix login\n\nversion=9.9.9\nEOF\n  é 漢 \\ $(id) `x`\r\n"


def written() -> list[Object]:
    """What bash and container tasks write, and what becomes of it."""
    bytes_of = {"TITLE": TITLE}
    env = [{"name": name, "value": value.replace("$", "$$")} for name, value in bytes_of.items()]
    block = 'echo "block<<$NEXUS_EOF"; printf "%s\\n" "$TITLE"; echo "$NEXUS_EOF"'
    retry = {"retry": {"limit": 2, "delaySeconds": 0}}
    return [
        {**bash("bad-small", f'printf "{BAD}" >> "$NEXUS_OUTPUT"'), **retry},
        {**bash("bad-large", f'printf "{BAD}pad=%05000d" 7 >> "$NEXUS_OUTPUT"'), **retry},
        {
            **bash("bad-item", f'[ "$ITEM" = ok ] || printf "{BAD}" >> "$NEXUS_OUTPUT"; nexus_output item "$ITEM"'),
            "forEach": {"items": ["ok", "bad"], "maxFailedItems": 1},
        },
        {**bash("twice", 'printf "approved:=false\\ntitle=x\\napproved:=true\\n" >> "$NEXUS_OUTPUT"'), **retry},
        {
            **bash(
                "good",
                f'nexus_output title "$TITLE"; {{ {block}; }} >> "$NEXUS_OUTPUT"\n'
                "nexus_output --json n '[3.0, 1e3]'; bash -c 'nexus_output from-child \"$TITLE\"'\n"
                "seq 20 | xargs -P 4 -I '{}' bash -c 'nexus_output k{} \"$(seq {} 2000)\"'",
            ),
            "env": env,
        },
        container("half", "sh", "-c", "printf '{\"rows\":3' > /dev/termination-log", **retry),
        container("latin", "sh", "-c", 'printf \'{"n":"M\\374ller"}\' > /dev/termination-log', **retry),
        {**container("own-240", "sh", "-c", "exit 240"), "retry": {"limit": 1, "delaySeconds": 0}},
        {**bash("bash-240", "exit 240"), "retry": {"limit": 2, "delaySeconds": 0}},
        {**python("native-240", "raise SystemExit(240)"), "retry": {"limit": 1}},
    ]


def counted() -> list[Object]:
    """Numbers in outputs of every size, a fan-out, a param and an expression."""
    tasks = []
    for name, size in {"small": 0, "message": 2_000, "large": 200_000}.items():
        tasks += [
            python(name, f"output['n'] = {NUMBERS}; output['pad'] = 'x' * {size}"),
            python(f"of-{name}", f"output['n'] = repr(input['{name}']['n'])", name),
        ]
    shown = [{"name": "T", "value": "${{ params.f }} ${{ tasks.lines.output.m / 2 }} ${{ 6.0 / 2.0 }}"}]
    return [
        *tasks,
        bash("lines", "nexus_output --json n '[3.0, -0.0, 1e16, 1e19, 1.50]'; nexus_output --json m 4.0"),
        {**python("each", "output['n'] = repr(item)"), "forEach": {"items": "${{ [0.5, 1.0, 1e16] }}"}},
        {**bash("shown", 'nexus_output text "$T $PARAM_F"', "lines"), "env": shown},
        python(
            "code",
            "output['n'] = repr([params['f'], params['big'], input['lines']['n'], input['lines']['m']])",
            "lines",
        ),
    ]


PARAMS = [{"name": "f", "type": "number"}, {"name": "big", "type": "array"}]
GIVEN = {"f": 3.0, "big": [1e16, 1e19, -0.0, 2.5]}


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess) -> None:
    """All runs of this module, at once."""
    assert operator.running
    space.run("written", *written())
    space.workflow("counted", *counted(), params=PARAMS)
    space.run_of("counted", "counted", GIVEN)
    forked = {**python("pool", POOL), "forEach": {"items": ["spawn", "forkserver", "fork"]}, "timeoutSeconds": 60}
    space.workflow("processes", forked, params=[{"name": "factor", "type": "integer"}])
    space.run_of("processes", "processes", {"factor": 3})


def test_the_api_server_makes_of_numbers_what_we_say_it_does(space: Space) -> None:
    numbers = ",".join(f'"n{index}":{text}' for index, (text, _) in enumerate(TABLE))
    spec = {"workflowSpec": {"tasks": [container("never")]}, "suspend": True, "params": {}}
    head = {"apiVersion": WORKFLOW_RUNS.api_version, "kind": "WorkflowRun"}
    text = json.dumps({**head, "metadata": {"name": "numbers"}, "spec": spec}).replace(
        '"params": {}', f'"params": {{{numbers}}}'
    )
    answer = space.http.post(
        WORKFLOW_RUNS.path(space.namespace), content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 201, answer.text
    run = space.get(WORKFLOW_RUNS, "numbers")
    assert run is not None
    for index, (written_as, value) in enumerate(TABLE):
        found = run["spec"]["params"][f"n{index}"]
        assert same(as_stored(found), value), (written_as, found, value)
        # In 64 bits nothing is left to be done; beyond, its text has no point and Python reads an integer.
        assert isinstance(value, float) or same(found, value), (written_as, found, value)


def test_bytes_that_are_no_utf8_and_keys_with_two_values_fail_their_task(space: Space) -> None:
    run = space.finished("written", 180)
    for name in ("bad-small", "bad-large"):
        assert reasons(run)[name] == "InvalidOutput"
        assert task(run, name)["message"].startswith(
            'line 1 of $NEXUS_OUTPUT must be UTF-8, got "customer=M\ufffdller und S\ufffdhne"'
        )
        assert task(run, name)["attempts"] == 1
    assert (phases(run)["bad-item"], task(run, "bad-item")["items"]["failedIndexes"]) == ("Succeeded", "1")
    assert space.output(run, "bad-item") == {"items": [{"item": "ok"}, None]}
    assert 'line 3 of $NEXUS_OUTPUT sets key "approved" again' in task(run, "twice")["message"]


def test_text_of_any_kind_arrives(space: Space) -> None:
    run = space.finished("written", 180)
    assert phases(run)["good"] == "Succeeded", task(run, "good")
    expected: dict[str, Any] = dict.fromkeys(("title", "block", "from-child"), TITLE)
    counts = {f"k{n}": "\n".join(map(str, range(n, 2001))) for n in range(1, 21)}
    assert space.output(run, "good") == {**expected, **counts, "n": [3, 1000]}


def test_a_containers_object_that_cannot_be_kept_fails_it_and_its_own_exit_codes_are_its_own(space: Space) -> None:
    run = space.finished("written", 180)
    assert (reasons(run)["half"], reasons(run)["latin"]) == ("InvalidOutput", "InvalidOutput")
    assert "it is not UTF-8" in task(run, "latin")["message"]
    attempts = {name: task(run, name)["attempts"] for name in ("own-240", "bash-240", "native-240")}
    assert attempts == {"own-240": 2, "bash-240": 1, "native-240": 1}


def test_numbers_are_the_same_in_the_cluster_and_in_a_local_run(space: Space) -> None:
    run = space.finished("counted", 180)
    assert set(phases(run).values()) == {"Succeeded"}, json.dumps(run["status"], indent=1)[:3_000]
    local = run_here(definition(*map(Task.model_validate, counted()), params=PARAMS), params=GIVEN)
    names = ["of-small", "of-message", "of-large", "lines", "each", "shown", "code"]
    found = {name: as_stored(space.output(run, name)) for name in names}
    # As text, for Python takes 3 and 3.0 for equal; the API server keeps no order of keys.
    assert json.dumps(found, sort_keys=True) == json.dumps(
        {name: local.outputs[name] for name in names}, sort_keys=True
    )
    assert found["of-small"] == found["of-message"] == found["of-large"]
    assert found["shown"] == {"text": "3 2 3 3"}


def test_processes_that_are_not_forked_work_in_a_pod(space: Space) -> None:
    run = space.finished("processes", 120)
    assert space.output(run, "pool") == {"items": [{"n": [0, 3, 6, 9]}] * 3}
