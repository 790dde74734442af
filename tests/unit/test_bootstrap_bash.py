"""bash tasks: the bootstrap as a real process, as a pod or the local adapter starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.unit.bootstrap_harness import REFUSED, Bench, compact, skip_without_pid_namespaces

from nexus.bootstrap import text
from nexus.core.data.outputs import Output, of_lines

NASTY = "'; \"\n$(TOKEN) $$ ${{ x }} $(id) `id` \\ é 漢 🙂 }}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# What the command is given, and what it gives back


def test_lines_appended_to_the_output_travel_as_they_are(bench: Bench) -> None:
    ended = bench.bash('echo "rows:=12" >> "$NEXUS_OUTPUT"; printf "name=é b\\0c" >> "$NEXUS_OUTPUT"; echo seen')
    assert ended.lines == b"rows:=12\nname=\xc3\xa9 b\x00c"
    assert ended.stdout == b"seen\n"


TEXTS = [
    *("", " ", "x", "a=b", "k<<EOF\nx\nEOF", "-n", "-e a\\nb", "%s %b %%", "\\n\\0", "*", "~", "'\"`$(id)$$"),
    *("one\ntwo", "\n", "\n\n", "end\n", "end\n\n\n", "\r\nx\r", "approved:=true", "x" * 100_000),
    "é漢🙂\u2028\x85\x01\x1b[0m",
    "fix login\n\nversion=9.9.9",
]


def test_nexus_output_takes_any_text_from_the_command_and_its_bashes(bench: Bench) -> None:
    sets = "".join(f'nexus_output k{index} "$T{index}"\n' for index in range(len(TEXTS)))
    child = "bash -c 'set -f; IFS=,; nexus_output child \"$T0\"; nexus_output --json n 1.50'"
    extra = {f"T{index}": text for index, text in enumerate(TEXTS)}
    ended = bench.bash(f'printf "first=1" >> "$NEXUS_OUTPUT"\nset -o noclobber\n{sets}{child}', extra=extra)
    texts = {f"k{index}": text for index, text in enumerate(TEXTS)}
    assert of_lines(ended.lines.decode()) == Output({"first": "1", **texts, "child": "", "n": 1.5})
    assert ended.stderr == ""


def test_nexus_output_takes_a_text_that_holds_the_delimiter(bench: Bench) -> None:
    ended = bench.bash('v="$NEXUS_EOF"; nexus_output eof "$v"; nexus_output all "a\n$v\nb=1\n${v}1\n"')
    answer = of_lines(ended.lines.decode())
    assert isinstance(answer, Output)
    assert set(answer.value) == {"eof", "all"}
    assert answer.value["eof"] in str(answer.value["all"])


def test_the_delimiter_is_another_for_each_attempt_and_cannot_be_guessed(bench: Bench) -> None:
    block = '{ echo "text<<$NEXUS_EOF"; printf "%s\\n" "$TEXT"; echo "$NEXUS_EOF"; } >> "$NEXUS_OUTPUT"'
    command = block + '; echo "$NEXUS_EOF"'
    text = "one\nversion=9.9.9\nEOF\n"
    found = [bench.bash(command, extra={"TEXT": text}) for _ in range(3)]
    assert {repr(of_lines(ended.lines.decode())) for ended in found} == {repr(Output({"text": text}))}
    delimiters = {ended.stdout for ended in found}
    assert len(delimiters) == 3
    assert all(len(delimiter) > 30 for delimiter in delimiters)


def test_nexus_output_from_processes_at_the_same_time_mixes_nothing(bench: Bench) -> None:
    command = """
    export lines=$(seq 2000)
    seq 40 | xargs -P 8 -I '{}' bash -c 'nexus_output k{} "{}: $lines"'
    """
    answer = of_lines(bench.bash(command).lines.decode())
    lines = "\n".join(map(str, range(1, 2001)))
    assert answer == Output({f"k{n}": f"{n}: {lines}" for n in range(1, 41)})


NO_CALL = ["", "key", "key a b", "'a b' c", "1a x", "'' x", "--json x", "é x", "$'a\\nb' x", "a= x"]


@pytest.mark.parametrize("words", NO_CALL)
def test_nexus_output_given_something_else_fails_the_command_and_writes_nothing(bench: Bench, words: str) -> None:
    ended = bench.bash(f"nexus_output {words}")
    assert ended.exit_code == 2
    assert "expected [--json] KEY VALUE" in ended.stderr


def test_nexus_output_without_its_file_fails_the_command(bench: Bench) -> None:
    ended = bench.bash('NEXUS_OUTPUT=/nowhere/output; nexus_output a "b"')
    assert ended.exit_code == 1
    assert "could not be appended" in ended.stderr


def test_what_a_process_appends_after_the_command_has_ended_is_left_out(bench: Bench) -> None:
    # Most often it ends with the folder; where it writes while that is removed, it would go on for ever.
    left_behind = '{ while ((SECONDS < 30)) && echo b=1 >> "$NEXUS_OUTPUT"; do :; done; } >/dev/null 2>&1 &'
    ended = bench.bash('echo a=1 >> "$NEXUS_OUTPUT"; ' + left_behind)
    assert ended.lines.startswith(b"a=1\n")


def test_no_output_is_no_lines(bench: Bench) -> None:
    assert bench.bash("true").message == b'{"lines":0}\n'


def test_the_command_gets_the_context_as_a_file_and_its_params_as_variables(bench: Bench) -> None:
    context = {"params": {"day": NASTY}, "input": {"extract": {"n": 1}}}
    ended = bench.bash('cat "$NEXUS_CONTEXT"; printf %s "$PARAM_DAY" >&2', context=context, extra={"PARAM_DAY": NASTY})
    assert json.loads(ended.stdout) == {"attempt": 1, "run": {"name": "sales-x7k2p"}, **context}
    assert ended.stderr == NASTY


@pytest.mark.parametrize(("failed", "attempt"), [(None, 3), ("0", 3), ("4", 7)])
def test_the_command_is_told_its_attempt(bench: Bench, failed: str | None, attempt: int) -> None:
    given = {"NEXUS_ATTEMPT": "3"} | ({"NEXUS_FAILED_ATTEMPTS": failed} if failed is not None else {})
    ended = bench.bash('cat "$NEXUS_CONTEXT"; env | grep ^NEXUS_.*ATTEMPT >&2', extra=given)
    assert json.loads(ended.stdout)["attempt"] == attempt
    assert ended.stderr == f"NEXUS_ATTEMPT={attempt}\n"


@pytest.mark.parametrize("small", [{}, {"a": {"b": {}}}, {"a": None}])
def test_inputs_too_large_for_the_context_are_spliced_into_it(bench: Bench, small: dict[str, object]) -> None:
    big = {"per-region": {"rows": ["é" * 100] * 2000, "s": NASTY}, "x": {}}
    ended = bench.bash('cat "$NEXUS_CONTEXT"', context={"params": {"p": NASTY}, "input": small}, inputs=big)
    assert json.loads(ended.stdout) == {
        "attempt": 1,
        "params": {"p": NASTY},
        "run": {"name": "sales-x7k2p"},
        "input": {**small, **big},
    }


def test_a_context_and_a_command_too_long_for_variables_come_from_files(bench: Bench) -> None:
    env = bench.env(context={"params": {"p": "é" * 60_000}})
    (bench.nexus / "context.json").write_text(env.pop("NEXUS_CONTEXT_JSON"), encoding="utf-8")
    (bench.nexus / "command").write_text('wc -c < "$NEXUS_CONTEXT"; set -o | grep -E "pipefail|errexit|nounset"')
    ended = bench.ended(bench.start(bench.command("bash"), env))
    assert int(ended.stdout.split()[0]) > 120_000
    assert ended.stdout.count(b"on\n") == 3


def test_the_command_does_not_see_the_contracts_variables_nor_the_bootstraps(bench: Bench) -> None:
    ended = bench.bash('env; printf "%s\\n" "$0" "$#"', extra={"log": "mine", "status": "mine", "name": "mine"})
    seen = ended.stdout.decode().splitlines()
    assert "NEXUS_CONTEXT_JSON" not in ended.stdout.decode()
    assert not [line for line in seen if line.startswith("nexus_")]
    assert {"log=mine", "status=mine", "name=mine"} <= set(seen)
    assert seen[-2:] == ["nexus", "0"]


def test_the_command_is_data_to_the_bootstrap(bench: Bench) -> None:
    ended = bench.bash("printf %s " + "'" + NASTY.replace("'", "'\\''") + "'")
    assert ended.stdout.decode() == NASTY


def test_nothing_is_left_in_the_temporary_directory(bench: Bench) -> None:
    assert bench.bash('dirname "$NEXUS_OUTPUT"').stdout.decode().startswith(str(bench.tmp))
    bench.bash("exit 3")
    assert list(bench.tmp.iterdir()) == []


def test_the_place_of_the_output_is_private_to_the_user(bench: Bench) -> None:
    assert bench.bash('stat -c %a "$(dirname "$NEXUS_OUTPUT")"').stdout == b"700\n"


# Ends


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("exit 3", 3, "exit status 3: see the log of the task for the cause"),
        ("false; echo not reached >&2", 1, "exit status 1"),
        ("false | true", 1, "exit status 1"),
        ('echo "$UNSET"', 1, "exit status 1"),
        ("no-such-command", 127, "exit status 127: a command in the script was not found"),
        ("/tmp", 126, "exit status 126: a command in the script cannot be executed"),
        ("kill -KILL $$", 137, "exit status 137: killed by SIGKILL, most often for using more memory"),
        ("kill -SEGV $$", 139, "exit status 139: killed by SIGSEGV"),
        ("exit 255", 255, "exit status 255"),
        ("if", 2, "exit status 2"),
        ("exit 240", 240, "exit status 240: it is reserved for a refused output and never retried"),
    ],
)
def test_a_failure_has_the_commands_exit_status_and_says_what_it_means(
    bench: Bench, command: str, code: int, words: str
) -> None:
    ended = bench.bash('echo "a=1" >> "$NEXUS_OUTPUT"\n' + command)
    assert ended.exit_code == code
    assert ended.error["type"] == "ExitCode"
    assert ended.error["message"].startswith(words)
    assert "not reached" not in ended.stderr


def test_bashs_own_words_go_to_the_log_untouched(bench: Bench) -> None:
    assert "no-such-command: command not found" in bench.bash("no-such-command").stderr


def test_exit_and_traps_are_the_commands_own(bench: Bench) -> None:
    ended = bench.bash('trap \'echo "end=$?" >> "$NEXUS_OUTPUT"\' EXIT; exit 0')
    assert ended.lines == b"end=0\n"


def test_sigterm_reaches_the_command_which_decides(bench: Bench) -> None:
    command = 'trap \'kill $!; echo "drained=yes" >> "$NEXUS_OUTPUT"; exit 0\' TERM; sleep 60 & echo up; wait'
    process = bench.start(bench.command("bash", command), bench.env())
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert bench.ended(process).lines == b"drained=yes\n"


def test_a_command_without_a_trap_ends_at_sigterm_and_nothing_stays_behind(bench: Bench) -> None:
    process = bench.start(bench.command("bash", "echo $$; exec sleep 60"), bench.env())
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    ended = bench.ended(process)
    assert ended.exit_code == 143
    assert ended.error["message"] == "exit status 143: killed by SIGTERM"
    assert not Path(f"/proc/{child}").exists()
    assert list(bench.tmp.iterdir()) == []


def test_where_the_whole_group_gets_sigterm_the_exit_code_is_the_same(bench: Bench) -> None:
    """Locally all of it is signalled at once: the command may end while the bootstrap's bash answers the signal."""
    for _ in range(10):
        process = bench.start(bench.command("bash", "echo up; exec sleep 60"), bench.env(), start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)
        assert bench.ended(process).exit_code == 143


def test_a_command_that_ignores_sigterm_is_waited_for(bench: Bench) -> None:
    command = 'trap \'\' TERM; echo up; for i in 1 2 3; do sleep 0.1; done; echo "a=1" >> "$NEXUS_OUTPUT"'
    process = bench.start(bench.command("bash", command), bench.env())
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert bench.ended(process).lines == b"a=1\n"


def test_as_the_first_process_of_a_container_it_passes_sigterm_on(bench: Bench) -> None:
    skip_without_pid_namespaces()
    process = bench.start(["unshare", "-pf", *bench.command("bash", "echo up; exec sleep 60")], bench.env())
    assert process.stdout is not None
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert "SIGTERM" in bench.ended(process).error["message"]


# The way out


def test_4096_bytes_travel_in_the_message_and_one_more_in_a_frame(bench: Bench) -> None:
    room = 4096 - len('{"lines":4000}\n')
    fits = bench.bash(f'head -c {room} /dev/zero | tr "\\0" x >> "$NEXUS_OUTPUT"')
    assert (len(fits.message), fits.stdout, len(fits.lines)) == (4096, b"", room)
    framed = bench.bash(f'printf "half a line"; head -c {room + 1} /dev/zero | tr "\\0" x >> "$NEXUS_OUTPUT"')
    assert framed.told["frame"]["format"] == "lines"
    assert framed.lines == b"x" * (room + 1)
    assert framed.stdout.startswith(b"half a line\nNEXUS-OUTPUT ")


def test_a_megabyte_that_does_not_compress_passes_whole(bench: Bench) -> None:
    ended = bench.bash('head -c 1048576 /dev/urandom > "$NEXUS_OUTPUT"')
    assert len(ended.lines) == 1048576


def test_more_than_a_megabyte_is_refused_with_its_size_and_the_way_out(bench: Bench) -> None:
    ended = bench.bash('head -c 1048577 /dev/zero > "$NEXUS_OUTPUT"')
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "OutputTooLarge")
    assert "1048577 bytes" in ended.error["message"]
    assert "file store" in ended.error["message"]


@pytest.mark.parametrize("deed", ['rm "$NEXUS_OUTPUT"', 'rm "$NEXUS_OUTPUT"; mkdir "$NEXUS_OUTPUT"'])
def test_an_output_file_that_is_gone_is_refused(bench: Bench, deed: str) -> None:
    ended = bench.bash(deed)
    assert (ended.exit_code, ended.error["reason"]) == (REFUSED, "InvalidOutput")
    assert "$NEXUS_OUTPUT" in ended.error["message"]


# Bare images


def test_it_needs_only_bash_coreutils_and_gzip(bench: Bench) -> None:
    tools = bench.folder / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "mktemp", "rm", "wc", "gzip", "base64", "tr", "sha256sum"):
        (tools / name).symlink_to(str(shutil.which(name)))
    env = {**bench.env(inputs={"big": {"a": 1}}), "PATH": str(tools)}
    command = 'printf "%05000d" 7 > "$NEXUS_OUTPUT"; command -v python3 && exit 9; cat "$NEXUS_CONTEXT" >&2'
    ended = bench.ended(bench.start([str(tools / "bash"), *bench.command("bash", command)[1:]], env))
    assert ended.lines == b"0" * 4999 + b"7"
    assert '"big":{"a":1}' in ended.stderr


def test_without_gzip_a_small_output_works_and_a_large_one_says_what_is_missing(bench: Bench) -> None:
    tools = bench.folder / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "mktemp", "rm", "wc"):
        (tools / name).symlink_to(str(shutil.which(name)))
    small = bench.start(bench.command("bash", 'echo a=1 > "$NEXUS_OUTPUT"'), bench.env(extra={"PATH": str(tools)}))
    assert bench.ended(small).lines == b"a=1\n"
    command = bench.command("bash", 'printf "%05000d" 7 > "$NEXUS_OUTPUT"')
    large = bench.ended(bench.start(command, bench.env(extra={"PATH": str(tools)})))
    assert large.exit_code == 1
    assert "requires gzip" in large.error["message"]


def test_without_a_writable_temporary_directory_it_says_what_to_do(bench: Bench) -> None:
    ended = bench.bash("true", extra={"TMPDIR": "/nowhere"})
    assert ended.exit_code == 1
    assert "TMPDIR" in ended.error["message"]


def test_without_its_contract_it_says_that_nexus_starts_it(bench: Bench) -> None:
    env = bench.env()
    del env["NEXUS_CONTEXT_JSON"]
    ended = bench.ended(bench.start(bench.command("bash", "true"), env))
    assert ended.error["type"] == "BootstrapError"


def test_a_message_that_cannot_be_written_is_no_success(bench: Bench) -> None:
    ended = bench.bash("true", extra={"NEXUS_TERMINATION_LOG": "/nowhere/log"})
    assert ended.exit_code == 1
    assert "/nowhere/log" in ended.stderr


def test_the_context_holds_what_json_holds_in_any_locale(bench: Bench) -> None:
    context = {"params": {"s": "é漢🙂"}, "input": {}}
    ended = bench.bash('cat "$NEXUS_CONTEXT"', context=context, inputs={"x": "é"}, extra={"LC_ALL": "C"})
    assert compact({"s": "é漢🙂"}) in ended.stdout.decode()


def test_the_text_is_small_enough_for_a_job_and_bash_4_can_read_it() -> None:
    script = text("bash")
    assert len(script.encode()) < 8 * 1024
    assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0
    # Words of bash 4.4 and later: ${x@Q}, wait -n, mapfile -d, EPOCHSECONDS, ${x@U}.
    assert not [word for word in ("@Q", "wait -n", "mapfile -d", "EPOCH", "@U", "local -") if word in script]
