"""The streams that a caller hands over: closed ones, and a full disk behind them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexus.cli.ending import Exit

NEXUS = Path(sys.executable).with_name("nexus")
MANIFEST = """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: streams}
spec:
  tasks:
  - name: files
    bash: {command: 'readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 >"$TO"; echo n=1 >>"$NEXUS_OUTPUT"'}
    env: [{name: TO, value: TO_FILE}]
"""


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    file = folder / "w.yaml"
    file.write_text(MANIFEST.replace("TO_FILE", str(folder / "seen")))
    words = command.format(nexus=NEXUS, file=file)
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_is_a_run(tmp_path: Path, closed: str) -> None:
    done = shell(tmp_path, "{nexus} run -f {file} --local " + closed)
    assert (done.returncode, "internal error" in done.stderr) == (Exit.SUCCEEDED, False)
    given, out, error = (tmp_path / "seen").read_text().split()
    assert given == "/dev/null"
    assert out == error
    assert out.startswith("pipe:")


@pytest.mark.parametrize("command", ["lint {file}", "plan -f {file}", "version", "--help"])
def test_a_full_disk_is_told_as_one(tmp_path: Path, command: str) -> None:
    done = shell(tmp_path, "{nexus} " + command + " >/dev/full")
    assert done.stderr == "the output could not be written: no space left on device\n"
    assert done.returncode == Exit.UNWRITTEN
    assert shell(tmp_path, "{nexus} " + command + " >/dev/full 2>&1").returncode == Exit.UNWRITTEN


def test_a_run_whose_output_is_lost_says_why_it_is_cancelled(tmp_path: Path) -> None:
    done = shell(tmp_path, "{nexus} run -f {file} --local >/dev/full")
    assert done.stderr == "the output could not be written: no space left on device; the run is cancelled\n"
    assert done.returncode == Exit.INTERRUPTED


SPOKEN = """\
apiVersion: nexus.dev/v1alpha1
kind: Workflow
metadata: {name: spoken}
spec:
  tasks:
  - name: bash
    env: [{name: X, value: "né ✓"}]
    bash: {command: 'test "$X" = "né ✓"; echo "x=hé ✓" >>"$NEXUS_OUTPUT"'}
  - name: own-variables
    dependsOn: [bash]
    env: [{name: X, value: "né ✓"}]
    python: {code: "import os; assert (os.environ['X'], input['bash']['x']) == ('né ✓', 'hé ✓')"}
  - name: forked
    dependsOn: [bash]
    python: {code: "assert input['bash']['x'] == 'hé ✓'"}
"""


def test_tasks_get_utf8_in_a_locale_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "spoken.yaml"
    file.write_text(SPOKEN, encoding="utf-8")
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [NEXUS, "run", "-f", file, "--local"], capture_output=True, env=environ, timeout=60, check=False
    )
    assert (done.returncode, b"internal error" in done.stderr) == (Exit.SUCCEEDED, False), done
