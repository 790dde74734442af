"""The warning of fixed delimiters: a value can hold the line that ends its block."""

from __future__ import annotations

import time

import pytest
from tests.builders import spec, task

from nexus.core.task_types.delimiters import fixed_delimiters
from nexus.core.validate.warnings import warnings


def warned(command: str) -> list[str]:
    """What of the command the warnings point at."""
    found = warnings(spec(task("t", bash={"command": command})))
    assert all(problem.path == ("tasks", 0, "bash", "command") and "$NEXUS_EOF" in problem.message for problem in found)
    return [command[problem.offset or 0 :].partition("<<")[0] for problem in found]


@pytest.mark.parametrize(
    ("block", "keys"),
    [
        ('echo "notes<<EOF"; cat notes; echo EOF', ["notes"]),
        ("echo 'notes<<EOF'\ncat notes\necho 'EOF'", ["notes"]),
        ('echo "doc:<<END_OF_DOC"', ["doc:"]),
        ("printf 'notes<<EOF\\n%s\\nEOF\\n' \"$NOTES\"", ["notes"]),
        ("printf 'a=1\\nnotes<<EOF\\n'", ["notes"]),
        ('echo "a<<EOF"; echo "b<<EOF"', ["a", "b"]),
        ("echo \"notes<<'EOF'\"", ["notes"]),
        ('echo "notes<<$NEXUS_EOF"; cat notes; echo "$NEXUS_EOF"', []),
        ('echo "notes<<${NEXUS_EOF}"', []),
        ('echo "notes<<EOF_$RANDOM"', []),
        ('echo "notes<<EOF_$(uuidgen)"', []),
        ('echo "notes<<EOF_`uuidgen`"', []),
        ('nexus_output notes "$NOTES"', []),
        ("cat <<EOF\na=1\nEOF", []),
        ("cat<<EOF\na=1\nEOF", []),
        ("cat <<'EOF'\na=1\nEOF", []),
        ("echo $((1<<4))", []),
        ('python3 -c "print(1 << 4)"', []),
        ('grep x <<< "$NOTES"', []),
        ('echo "a=<<b"', []),
    ],
)
def test_a_block_whose_delimiter_is_written_out_is_warned_of(block: str, keys: list[str]) -> None:
    assert warned(f'{{ {block}; }} >> "$NEXUS_OUTPUT"') == keys


def test_a_command_that_writes_no_output_is_left_alone() -> None:
    assert warned('echo "notes<<EOF" >> notes') == []


@pytest.mark.parametrize("unit", ['"a', "\\na", '"a<<', "'a<<b", "a.", '"'])
def test_a_long_command_is_searched_in_linear_time(unit: str) -> None:
    command = "NEXUS_OUTPUT " + unit * (500_000 // len(unit))
    began = time.process_time()
    list(fixed_delimiters(command))
    assert time.process_time() - began < 2
