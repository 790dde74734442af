"""Artifacts and large outputs in a local run: the same as in a cluster, with a folder for the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import definition, task
from tests.unit.cli_harness import bash as cli_bash
from tests.unit.cli_harness import nexus, workflow, write
from tests.unit.local_harness import Ran, run_here

from nexus.api.reasons import Reason, RunPhase, TaskPhase

BIG = "output['rows'] = ['x' * 100] * 8_000"


def python(name: str, code: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, python={"code": code}, **fields)


def bash(name: str, command: str, *depends_on: str, **fields: Any) -> Any:
    return task(name, *depends_on, bash={"command": command}, **fields)


def leaves(*names: str) -> dict[str, Any]:
    return {"outputs": [{"name": name} for name in names]}


def takes(**sources: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "from": source} for name, source in sources.items()]


def run(*tasks: Any, **fields: Any) -> Ran:
    return run_here(definition(*tasks, **fields))


def test_files_and_folders_go_from_python_to_bash_and_back() -> None:
    ran = run(
        python("write", "open(artifacts['numbers'], 'w').write('1\\n2\\n3\\n')", artifacts=leaves("numbers")),
        bash(
            "split",
            'mkdir "$ARTIFACT_BY_LINE"; while read -r n; do echo "$n" > "$ARTIFACT_BY_LINE/$n"; done <"$ARTIFACT_IN"',
            "write",
            artifacts={"inputs": [{"name": "in", "from": "write.numbers"}], **leaves("by-line")},
        ),
        python(
            "sum",
            "import os\noutput['files'] = sorted(os.listdir(artifacts['by-line']))\noutput['same'] = "
            "artifacts['by-line'] == os.environ['ARTIFACT_BY_LINE']",
            "split",
            artifacts={"inputs": takes(by_line="split.by-line")},
        ),
    )

    assert ran.phase is RunPhase.SUCCEEDED
    assert ran.outputs["sum"] == {"files": ["1", "2", "3"], "same": True}
    (stored,) = ran.task("split").artifacts or ()
    assert (stored.name, stored.folder) == ("by-line", True)


def test_a_large_output_reaches_python_and_bash_and_stays_out_of_the_status() -> None:
    ran = run(
        python("big", BIG),
        python("reads", "output['n'] = len(input['big']['rows'])", "big"),
        bash(
            "greps",
            'echo "n:=$(wc -c < "$NEXUS_CONTEXT")" >> "$NEXUS_OUTPUT"',
            "big",
        ),
        outputStore={},
    )

    assert ran.phase is RunPhase.SUCCEEDED
    big = ran.task("big")
    assert (big.output, big.output_ref) == (None, None)
    assert big.stored_output is not None
    assert big.stored_output.size > 800_000
    assert ran.outputs["reads"] == {"n": 8_000}
    assert ran.outputs["greps"]["n"] > 800_000


def test_without_an_output_store_the_failure_names_it_as_the_way_out() -> None:
    ran = run(python("big", BIG))

    assert ran.ending("big") == (TaskPhase.FAILED, Reason.OUTPUT_TOO_LARGE)
    assert "the limit is 524288 (512 KiB) without an output store (spec.outputStore)" in (ran.task("big").message or "")


def test_an_artifact_that_was_not_written_fails_the_task() -> None:
    ran = run(python("forgets", "pass", artifacts=leaves("model")))

    assert ran.ending("forgets") == (TaskPhase.FAILED, Reason.ARTIFACT_MISSING)


def test_code_that_fails_is_told_as_ever_and_stores_nothing(tmp_path: Path) -> None:
    ran = run_here(
        definition(
            python(
                "fails",
                "open(artifacts['model'], 'w').write('half')\nraise ValueError('no')",
                artifacts=leaves("model"),
            )
        ),
        store=tmp_path,
    )

    assert ran.ending("fails") == (TaskPhase.FAILED, Reason.TASK_ERROR)
    assert "ValueError: no (line 2)" in (ran.task("fails").message or "")
    assert not list(tmp_path.rglob("model"))


def test_items_of_a_fan_out_take_artifacts(tmp_path: Path) -> None:
    ran = run_here(
        definition(
            bash("write", 'echo hello > "$ARTIFACT_WORD"', artifacts=leaves("word")),
            bash(
                "each",
                'echo "said=$(cat "$ARTIFACT_WORD") $ITEM" >> "$NEXUS_OUTPUT"',
                "write",
                forEach={"items": ["Ann", "Bob"]},
                artifacts={"inputs": takes(word="write.word")},
            ),
        ),
        store=tmp_path,
    )

    assert ran.outputs["each"] == {"items": [{"said": "hello Ann"}, {"said": "hello Bob"}]}
    assert [path.read_text() for path in tmp_path.rglob("word")] == ["hello\n"]


@pytest.mark.parametrize("optional", [True, False])
def test_what_a_failed_task_did_not_leave(optional: bool) -> None:
    ran = run(
        python("fails", "raise SystemExit(3)", artifacts=leaves("model")),
        python(
            "after",
            "import os\noutput['there'] = os.path.exists(artifacts['model']) if 'model' in artifacts else False",
            "fails",
            triggerRule="AllDone",
            artifacts={"inputs": [{"name": "model", "from": "fails.model", "optional": optional}]},
        ),
    )

    if optional:
        assert ran.outputs["after"] == {"there": False}
    else:
        assert ran.ending("after") == (TaskPhase.FAILED, Reason.ARTIFACT_MISSING)


def test_a_store_that_cannot_be_made_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = write(tmp_path, workflow(cli_bash("a", f"touch {tmp_path / 'ran'}")))
    answer = nexus("run", "-f", file, "--local", "--store", "/proc/nope")
    assert (answer.code, answer.stdout) == (2, "")
    assert "--store /proc/nope: cannot be created or written: no such file or directory" in answer.stderr
    assert nexus("run", "-f", file, "--local", "--store", file).code == 2
    assert not (tmp_path / "ran").exists()
