"""Outputs of all sizes, from task code to status or ConfigMap, dependents and expressions; and refused ones."""

from __future__ import annotations

import base64
import json
import random

import pytest
from tests.e2e.operator_process import OperatorProcess
from tests.e2e.space import Object, Space, bash, container, phases, python, reasons, task

from nexus.adapters.kube.client.api import CONFIG_MAPS
from nexus.adapters.kube.owners import owned_by
from nexus.core.names import job_name

pytestmark = pytest.mark.cluster

# Around the bounds: 1 KiB stays in the status, 4 KiB in the termination message; the limit is 512 KiB of JSON.
SIZES = {"none": 0, "small": 900, "kib": 1_100, "message": 4_200, "large": 300 * 1024, "largest": 511 * 1024}
MAKE = """
import base64, random
SIZE = int(__import__('os').environ['SIZE'])
text = base64.b64encode(random.Random(SIZE).randbytes(SIZE))[:SIZE].decode()
"""
BASH_TEXT = 'text=$(set +o pipefail; seq 1 "$SIZE" | tr "\\n" , | head -c "$SIZE")'


def text_of(size: int) -> str:
    return base64.b64encode(random.Random(size).randbytes(size))[:size].decode()


def sequence_of(size: int) -> str:
    return "".join(f"{number}," for number in range(1, size + 1))[:size]


def sized(name: str, size: int) -> list[Object]:
    """A producer in each language, with what depends on both."""
    env = [{"name": "SIZE", "value": str(size)}]
    write = "output['text'] = text" if size else "pass"
    append = f'{BASH_TEXT}; printf "text=%s\\n" "$text" >> "$NEXUS_OUTPUT"' if size else "true"
    both = (f"py-{name}", f"sh-{name}")
    length = "+".join(f"size(get(tasks.{one.replace('-', '_')}.output, 'text', ''))" for one in both)
    return [
        {**python(both[0], MAKE + write), "env": env},
        {**bash(both[1], append), "env": env},
        {
            **python(
                f"hash-{name}",
                "import hashlib\nfor name, value in input.items():\n"
                "    output[name] = hashlib.sha256(value.get('text', '').encode()).hexdigest()",
                *both,
            ),
            "when": f"${{{{ {length} == {2 * size} }}}}",
        },
        {
            **bash(
                f"count-{name}",
                'echo "letters:=$(tr -dc 0-9A-Za-z+/=, < "$NEXUS_CONTEXT" | wc -c)" >> "$NEXUS_OUTPUT"\n'
                'echo "length:=$LENGTH" >> "$NEXUS_OUTPUT"; \n'
                'echo "tail=$(tail -c 3 "$NEXUS_CONTEXT")" >> "$NEXUS_OUTPUT"',
                *both,
            ),
            "env": [{"name": "LENGTH", "value": f"${{{{ {length} }}}}"}],
        },
    ]


def refused() -> list[Object]:
    """Outputs that are too big or none at all; retries would only repeat them."""
    retry = {"retry": {"limit": 2, "delaySeconds": 0}}
    print_json = 'printf \'{"a":"%s"}\' "$(head -c 4080 /dev/zero | tr \'\\0\' x)" > /dev/termination-log'
    return [
        {**python("py-big", "output['text'] = 'x' * 513 * 1024"), **retry},
        {
            **bash("sh-big", 'printf "text=%s\\n" "$(head -c 525000 /dev/zero | tr "\\0" x)" >> "$NEXUS_OUTPUT"'),
            **retry,
        },
        {
            **bash("sh-huge", 'printf "text=%s\\n" "$(head -c 1100000 /dev/zero | tr "\\0" x)" >> "$NEXUS_OUTPUT"'),
            **retry,
        },
        {**container("cut", "sh", "-c", "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log"), **retry},
        {**container("fits", "sh", "-c", print_json)},
        {**python("nan", "output['x'] = float('nan')"), **retry},
        {**python("no-json", "output['x'] = object()"), **retry},
        {**python("gone", "import os\noutput['x'] = 1\nos._exit(0)"), **retry},
        {**bash("words", 'echo "just words" >> "$NEXUS_OUTPUT"'), **retry},
        {**bash("half", 'echo "x:={" >> "$NEXUS_OUTPUT"'), **retry},
    ]


@pytest.fixture(scope="module", autouse=True)
def started(space: Space, operator: OperatorProcess) -> None:
    """All runs of this module, at once."""
    assert operator.running
    for name, size in SIZES.items():
        space.run(name, *sized(name, size))
    space.run("refused", *refused())


@pytest.mark.parametrize("name", SIZES)
def test_an_output_reaches_its_dependents_and_expressions_whole(space: Space, name: str) -> None:
    import hashlib

    size, run = SIZES[name], space.finished(name, 120)
    assert set(phases(run).values()) == {"Succeeded"}, json.dumps(run["status"], indent=1)[:3_000]
    made = {f"py-{name}": text_of(size), f"sh-{name}": sequence_of(size)}
    for producer, text in made.items():
        assert space.output(run, producer) == ({"text": text} if size else {})
        # Above 1 KiB of JSON the status holds no more than where the output lies.
        assert ("outputRef" in task(run, producer)) == (size > 1_000)
    assert space.output(run, f"hash-{name}") == {
        producer: hashlib.sha256(text.encode()).hexdigest() for producer, text in made.items()
    }
    count = space.output(run, f"count-{name}")
    assert count["length"] == 2 * size
    assert count["letters"] >= 2 * size
    assert count["tail"] == "}}"
    for body in space.list(CONFIG_MAPS, f"nexus.dev/run={name}"):
        assert body["immutable"] is True
        assert body["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]


def test_an_output_that_is_none_fails_at_once_with_its_reason(space: Space) -> None:
    run = space.finished("refused", 120)
    assert phases(run) == {name: "Succeeded" if name == "fits" else "Failed" for name in phases(run)}
    assert space.output(run, "fits") == {"a": "x" * 4_080}
    found = reasons(run)
    too_large = {"py-big", "sh-big", "sh-huge", "cut"}
    assert {name for name, reason in found.items() if reason == "OutputTooLarge"} == too_large
    assert {name for name, reason in found.items() if reason == "InvalidOutput"} == set(found) - too_large - {"fits"}
    assert {entry["name"]: entry["attempts"] for entry in run["status"]["tasks"]} == dict.fromkeys(found, 1)
    assert "just words" in task(run, "words")["message"]
    assert "x" in task(run, "nan")["message"]
    assert "524,288" in task(run, "py-big")["message"].replace("524288", "524,288")


def test_what_somebody_puts_in_the_place_of_an_output_or_a_script_reaches_no_task(space: Space) -> None:
    script = "# " + "\U0001f600" * 25_000 + '\necho "who=good" >> "$NEXUS_OUTPUT"'
    body = space.run(
        "replaced",
        python("made", "output['text'] = 'x' * 2_000"),
        bash("held", "sleep 4", "made"),
        python("py", "output['text'] = input['made']['text']", "made", "held"),
        bash("sh", 'echo "wrong:=$(grep -c EVIL "$NEXUS_CONTEXT" || true)" >> "$NEXUS_OUTPUT"', "made", "held"),
        container("cel", after=("made", "held"), env=[{"name": "T", "value": "${{ tasks.made.output.text }}"}]),
        bash("script", script, "held"),
    )
    owner = owned_by("WorkflowRun", "replaced", body["metadata"]["uid"])
    beforehand = job_name("replaced", body["metadata"]["uid"], "script", 1)
    evil = {"command": 'echo "who=EVIL" >> "$NEXUS_OUTPUT"'}
    space.post(CONFIG_MAPS, {"metadata": {"name": beforehand, "ownerReferences": owner}, "data": evil})
    run = space.running("replaced", "held")
    name = task(run, "made")["outputRef"]["configMap"]
    space.remove(CONFIG_MAPS, name)
    space.post(
        CONFIG_MAPS,
        {"metadata": {"name": name, "ownerReferences": owner}, "data": {"output.json": '{"text":"EVIL"}'}},
    )

    run = space.finished("replaced", 90)

    found = reasons(run)
    assert found["cel"] == "ExpressionError"
    # A kubelet mounts what its own cache has, which may be the ConfigMap as it was; what was replaced never passes.
    for name, right in (("py", {"text": "x" * 2_000}), ("sh", {"wrong": 0})):
        assert found[name] == "ContentChanged" or space.output(run, name) == right
    assert space.output(run, "script") == {"who": "good"}
