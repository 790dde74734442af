"""python tasks: the bootstrap as a real process, as a pod or the local adapter starts it."""

from __future__ import annotations

import ast
import os
import signal
import textwrap
import time
from pathlib import Path
from typing import Literal

import pytest
from tests.unit.bootstrap_harness import REFUSED, Bench, Ended, skip_without_pid_namespaces

from nexus.bootstrap import packed, text

SCRIPTS: list[Literal["python", "http", "sql"]] = ["python", "http", "sql"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def refused(ended: Ended, reason: str = "InvalidOutput") -> str:
    """The message of a refused output."""
    assert ended.exit_code == REFUSED, (ended.exit_code, ended.message)
    assert ended.error["reason"] == reason
    assert ended.error["message"] in ended.stderr, "the log says it too"
    return str(ended.error["message"])


# What the code is given, and what it gives back


def test_code_reads_its_inputs_and_fills_output(bench: Bench) -> None:
    context = {"params": {"day": "2026-11-23"}, "item": "eu", "index": 4, "input": {"extract": {"n": 2}, "gone": None}}
    code = """
        output["n"] = input["extract"]["n"] + 1
        output["rest"] = [params["day"], item, index, run["name"], input["gone"]]
    """
    ended = bench.code(textwrap.dedent(code), context=context)
    assert ended.output == {"n": 3, "rest": ["2026-11-23", "eu", 4, "sales-x7k2p", None]}


def test_item_and_index_are_none_outside_a_fan_out(bench: Bench) -> None:
    assert bench.code("output = {'item': item, 'index': index}").output == {"item": None, "index": None}


def test_the_namespace_holds_nothing_of_the_bootstrap(bench: Bench) -> None:
    code = "output['names'] = sorted(n for n in globals() if not n.startswith('__'))"
    names = ["artifacts", "attempt", "index", "input", "item", "output", "params", "run"]
    assert bench.code(code).output["names"] == names


@pytest.mark.parametrize(("failed", "attempt"), [(None, 3), ("0", 3), ("4", 7)])
def test_the_code_is_told_its_attempt(bench: Bench, failed: str | None, attempt: int) -> None:
    given = {"NEXUS_ATTEMPT": "3"} | ({"NEXUS_FAILED_ATTEMPTS": failed} if failed is not None else {})
    code = (
        "import os, subprocess, sys\n"
        "output['n'] = [attempt, os.environ['NEXUS_ATTEMPT'], 'NEXUS_FAILED_ATTEMPTS' in os.environ]\n"
        "show = 'import os; print(os.environ[\"NEXUS_ATTEMPT\"])'\n"
        "output['below'] = subprocess.run([sys.executable, '-c', show], capture_output=True, text=True).stdout.strip()"
    )
    assert bench.code(code, extra=given).output == {"n": [attempt, str(attempt), False], "below": str(attempt)}


def test_output_may_be_bound_anew(bench: Bench) -> None:
    assert bench.code("output = {'a': (1, 2)}").output == {"a": [1, 2]}


def test_no_output_is_an_empty_one(bench: Bench) -> None:
    assert bench.code("pass").message == b'{"output":{}}'


def test_functions_classes_and_comprehensions_see_the_globals(bench: Bench) -> None:
    code = """
        import dataclasses, pickle
        factor = 3

        @dataclasses.dataclass
        class Row:
            n: "int"
            def price(self): return self.n * factor

        def total(rows): return sum(r.price() for r in rows if r.n in [x for x in params["n"]])

        if __name__ == "__main__":
            output["total"] = total([Row(n) for n in params["n"]])
            output["pickled"] = pickle.loads(pickle.dumps(Row(5))).price()
    """
    assert bench.code(textwrap.dedent(code), context={"params": {"n": [1, 2]}}).output == {"total": 9, "pickled": 15}


def test_the_bootstraps_future_imports_do_not_reach_the_code(bench: Bench) -> None:
    code = "def f(a: 1 + 1): pass\noutput['a'] = f.__annotations__['a']"
    assert bench.code(code).output == {"a": 2}


def test_inputs_too_large_for_the_context_come_from_files(bench: Bench) -> None:
    big = {"rows": ["ü" * 100] * 2000}
    code = "output = {'n': len(input['big']['rows']), 'small': input['small']}"
    ended = bench.code(code, context={"input": {"small": {"a": 1}}}, inputs={"big": big})
    assert ended.output == {"n": 2000, "small": {"a": 1}}


def test_a_context_and_a_task_too_long_for_variables_come_from_files(bench: Bench) -> None:
    env = bench.env({"code": "output = {'n': len(params['x'])} # " + "x" * 10}, {"params": {"x": "y" * 10}})
    (bench.nexus / "context.json").write_text(env.pop("NEXUS_CONTEXT_JSON"))
    (bench.nexus / "task.json").write_text(env.pop("NEXUS_TASK_JSON"))
    assert bench.ended(bench.start(bench.command("python"), env)).output == {"n": 10}


def test_code_and_its_children_do_not_see_the_contracts_variables(bench: Bench) -> None:
    code = """
        import os, subprocess
        seen = subprocess.run(["env"], capture_output=True, text=True).stdout
        output["seen"] = [n for n in ("NEXUS_TASK_JSON", "NEXUS_CONTEXT_JSON") if n in os.environ or n in seen]
    """
    assert bench.code(textwrap.dedent(code)).output == {"seen": []}


def test_params_are_data_in_any_locale(bench: Bench) -> None:
    nasty = "'; \"\n$(TOKEN) $$ ${{ x }} $(id) \\ é 漢 🙂"
    ended = bench.code("output['s'] = params['s']", context={"params": {"s": nasty}}, extra={"LC_ALL": "C"})
    assert ended.output == {"s": nasty}


# call


def test_a_called_functions_dict_is_the_output(bench: Bench) -> None:
    (bench.folder / "prices.py").write_text(
        "class Book:\n    @staticmethod\n    def total(a, b): return {'sum': a + b}\n"
    )
    assert bench.run("python", {"call": "prices:Book.total", "with": {"a": 1, "b": [2][0]}}).output == {"sum": 3}


def test_a_called_function_that_returns_none_has_an_empty_output(bench: Bench) -> None:
    (bench.folder / "prices.py").write_text("def nothing(): print('did it')\n")
    ended = bench.run("python", {"call": "prices:nothing"})
    assert (ended.output, ended.stdout) == ({}, b"did it\n")


def test_a_called_function_that_returns_no_dict_is_refused(bench: Bench) -> None:
    (bench.folder / "prices.py").write_text("def one(): return [1]\n")
    assert "prices:one returned a list" in refused(bench.run("python", {"call": "prices:one"}))


def test_an_error_in_a_called_function_names_its_file_and_line(bench: Bench) -> None:
    (bench.folder / "prices.py").write_text("def one(n):\n    return 1 / n\n")
    ended = bench.run("python", {"call": "prices:one", "with": {"n": 0}})
    assert ended.error == {"type": "ZeroDivisionError", "message": "division by zero (prices.py, line 2)"}
    assert "<string>" not in ended.stderr


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [("nowhere.at_all:f", "ModuleNotFoundError", "nowhere"), ("os:nothing", "AttributeError", "nothing")],
)
def test_a_call_of_what_is_not_there_says_what_is_missing(bench: Bench, call: str, kind: str, words: str) -> None:
    ended = bench.run("python", {"call": call})
    assert (ended.exit_code, ended.error["type"]) == (1, kind)
    assert words in ended.error["message"]


# Errors


def test_an_exception_is_told_with_its_line_and_a_traceback_of_the_users_code_alone(bench: Bench) -> None:
    ended = bench.code("def f():\n    raise ValueError('no day')\n\nf()\n")
    assert ended.exit_code == 1
    assert ended.error == {"type": "ValueError", "message": "no day", "line": 2}
    assert 'File "<task>", line 4, in <module>\n    f()' in ended.stderr
    assert "raise ValueError('no day')" in ended.stderr
    assert "<string>" not in ended.stderr


def test_the_line_is_the_users_even_where_a_library_raised(bench: Bench) -> None:
    ended = bench.code("import json\n\njson.loads('{')")
    assert (ended.error["type"], ended.error["line"]) == ("JSONDecodeError", 3)


def test_the_users_own_tracebacks_show_their_lines(bench: Bench) -> None:
    ended = bench.code("import logging\ntry:\n    1 / 0\nexcept Exception:\n    logging.exception('oh')")
    assert ended.exit_code == 0
    assert "    1 / 0" in ended.stderr


def test_a_syntax_error_names_its_line(bench: Bench) -> None:
    ended = bench.code("a = 1\nb = = 2\n")
    assert (ended.error["type"], ended.error["line"]) == ("SyntaxError", 2)
    assert "b = = 2" in ended.stderr


def test_a_long_message_is_cut_to_fit_and_stays_json(bench: Bench) -> None:
    ended = bench.code("raise RuntimeError('\\x01ü🙂\\ud800' * 100000)")
    assert ended.error["type"] == "RuntimeError"
    assert ended.error["message"].endswith("…")
    assert len(ended.message) > 4000


def test_an_exception_whose_text_fails_is_still_told(bench: Bench) -> None:
    ended = bench.code("class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd")
    assert (ended.exit_code, ended.error["type"], ended.error["line"]) == (1, "Odd", 3)


@pytest.mark.parametrize("ending", ["sys.exit()", "sys.exit(0)", "raise SystemExit", "sys.exit(False)"])
def test_an_exit_without_a_code_is_success(bench: Bench, ending: str) -> None:
    assert bench.code(f"import sys\noutput['a'] = 1\n{ending}").output == {"a": 1}


@pytest.mark.parametrize(("argument", "code"), [("3", 3), ("256", 1), ("-1", 255), ("True", 1)])
def test_an_exit_with_a_code_fails_with_it(bench: Bench, argument: str, code: int) -> None:
    ended = bench.code(f"import sys\nsys.exit({argument})")
    assert ended.exit_code == code
    assert ended.error == {"type": "SystemExit", "message": f"exit code {argument}", "line": 2}


def test_an_exit_with_a_text_fails_with_the_text(bench: Bench) -> None:
    ended = bench.code("import sys\nsys.exit('no orders today')")
    assert (ended.exit_code, ended.error["message"]) == (1, "no orders today")
    assert "no orders today" in ended.stderr


def test_what_a_failed_attempt_put_into_output_is_not_told(bench: Bench) -> None:
    assert "output" not in bench.code("output['a'] = 1\nraise ValueError").told


# Outputs that are refused


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("output['a'] = [1, {'b': float('nan')}]", 'output["a"][1]["b"] is nan'),
        ("output['a'] = -float('inf')", 'output["a"] is -inf'),
        ("output['a'] = {1, 2}", 'output["a"] is a set, which JSON does not have: use sorted(...)'),
        (
            "import datetime\noutput['t'] = datetime.datetime.now()",
            "datetime, which JSON does not have: use .isoformat()",
        ),
        ("output['a'] = b'x'", "use .decode()"),
        ("output['a'] = object()", 'output["a"] is a object'),
        ("output['a'] = {1: 2}", 'output["a"] has the key 1 (int)'),
        ("output[None] = 1", "output has the key None (NoneType)"),
        ("output['a'] = [2 ** 63]", 'output["a"][0] is an integer of more than 64 bits'),
        ("output['a'] = 10 ** 5000", "more than 64 bits"),
        ("output['a'] = 'x\\ud800'", "not valid Unicode ('\\ud800')"),
        ("output['\\udc80'] = 1", "not valid Unicode"),
        ("output['a'] = output", "contains itself"),
        ("output = [1]", "the output is a list, but it must be a dict"),
        ("output = None", "NoneType"),
        ("del output", "deleted"),
    ],
)
def test_an_output_that_is_not_json_is_refused_and_the_place_named(bench: Bench, code: str, words: str) -> None:
    assert words in refused(bench.code(code))


def test_the_edges_of_json_pass(bench: Bench) -> None:
    code = "output = {'i': [2**63 - 1, -2**63], 'f': 1e-7, 's': '\\x00\\u2028🙂', 'n': None, 'd': %s}"
    deep = "[" * 99 + "]" * 99
    output = bench.code(code % deep).output
    assert (output["i"], output["f"], output["s"], output["n"]) == ([2**63 - 1, -(2**63)], 1e-7, "\x00\u2028🙂", None)


def test_a_value_that_doubles_itself_is_refused_without_being_written_out(bench: Bench) -> None:
    started = time.monotonic()
    message = refused(bench.code("a = [1]\nfor _ in range(60): a = [a, a]\noutput['a'] = a"), "OutputTooLarge")
    assert "more than 4194304 bytes" in message
    assert time.monotonic() - started < 30


def test_an_output_above_512_kib_is_refused_with_its_size_and_the_way_out(bench: Bench) -> None:
    message = refused(bench.code("output['a'] = 'x' * (512 * 1024)"), "OutputTooLarge")
    assert "524296 bytes" in message
    assert "512 KiB" in message
    assert "file store" in message


# The way out


def test_4096_bytes_travel_in_the_message_and_one_more_in_a_frame(bench: Bench) -> None:
    fits = bench.code("output['a'] = 'x' * (4096 - len('{\"output\":{\"a\":\"\"}}'))")
    assert (len(fits.message), fits.stdout) == (4096, b"")
    framed = bench.code("output['a'] = 'x' * (4097 - len('{\"output\":{\"a\":\"\"}}'))")
    assert framed.told["frame"]["format"] == "json"
    assert len(framed.output["a"]) == len(fits.output["a"]) + 1


def test_exactly_512_kib_pass(bench: Bench) -> None:
    ended = bench.code("import os\noutput['a'] = os.urandom(262140).hex()")
    assert ended.told["frame"]["size"] == 512 * 1024
    assert len(ended.output["a"]) == 524280


BIG = "\noutput['a'] = 'ü' * 5000\n"


def test_a_frame_follows_what_was_printed_without_a_newline(bench: Bench) -> None:
    ended = bench.code("print('half a line', end='')" + BIG)
    assert ended.output == {"a": "ü" * 5000}
    assert ended.stdout.startswith(b"half a line\nNEXUS-OUTPUT ")


@pytest.mark.parametrize(
    "trick",
    [
        "import sys; print('x'); sys.stdout.close()",
        "import os; os.close(1)",
        "import os; os.dup2(os.open('/dev/null', os.O_WRONLY), 1)",
        "import sys, io; sys.stdout = sys.stderr = io.StringIO()",
        "import sys; sys.stdout = sys.stderr = None",
        "import os; os.close(1); os.close(2)",
        "import os; os.chdir('/'); os.environ.clear()",
    ],
)
def test_a_frame_gets_out_whatever_became_of_standard_output(bench: Bench, trick: str) -> None:
    assert bench.code(trick + BIG).output == {"a": "ü" * 5000}


def test_a_frame_without_any_standard_output_is_a_failure_that_says_so(bench: Bench) -> None:
    command = ["bash", "-c", 'exec "$@" >&-', "-", *bench.command("python")]
    ended = bench.ended(bench.start(command, bench.env({"code": BIG})))
    assert ended.exit_code == 1
    assert "could not be reported" in ended.error["message"]


def test_prints_are_in_the_log_at_once(bench: Bench) -> None:
    code = "import time\nprint('first')\ntime.sleep(60)"
    process = bench.start(bench.command("python"), bench.env({"code": code}))
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.terminate()
    assert bench.ended(process).exit_code == -signal.SIGTERM


# Threads, forks, signals


def test_what_threads_and_exit_handlers_put_into_output_counts(bench: Bench) -> None:
    code = """
        import atexit, threading, time
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(1)
        pool.submit(lambda: (time.sleep(0.2), output.update(pool=1)))
        threading.Thread(target=lambda: (time.sleep(0.2), output.update(thread=1))).start()
        threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
        atexit.register(lambda: output.update(handler=1))
    """
    assert bench.code(textwrap.dedent(code)).output == {"pool": 1, "thread": 1, "handler": 1}


def test_a_frame_stays_whole_while_a_daemon_thread_prints(bench: Bench) -> None:
    code = """
        import threading
        def chatter():
            while True: print("x" * 1000)
        threading.Thread(target=chatter, daemon=True).start()
        import os
        output["a"] = os.urandom(200000).hex()
    """
    assert len(bench.code(textwrap.dedent(code)).output["a"]) == 400000


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise ValueError('child')"])
def test_a_fork_that_runs_to_its_end_tells_nothing(bench: Bench, ending: str) -> None:
    code = f"""
        import os, sys, time
        child = os.fork()
        if child == 0:
            output["who"] = "child"
            time.sleep(0.2)
            {ending}
        else:
            output["status"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert not os.path.getsize(os.environ["NEXUS_TERMINATION_LOG"]), "the child told something"
    """
    status = {"": 0, "sys.exit(3)": 3}.get(ending, 1)
    assert bench.code(textwrap.dedent(code)).output == {"status": status}


def test_multiprocessing_works_with_functions_of_the_code(bench: Bench) -> None:
    code = """
        import multiprocessing
        def double(n): return n * 2
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                output["doubled"] = pool.map(double, [1, 2, 3])
    """
    assert bench.code(textwrap.dedent(code)).output == {"doubled": [2, 4, 6]}


def test_a_hard_exit_has_its_code_and_tells_nothing(bench: Bench) -> None:
    ended = bench.code("import os\noutput['a'] = 1\nos._exit(7)")
    assert (ended.exit_code, ended.message) == (7, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_as_it_ends_any_process_and_nothing_is_told(bench: Bench, number: signal.Signals) -> None:
    process = bench.start(bench.command("python"), bench.env({"code": "import time\nprint('up')\ntime.sleep(60)"}))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    ended = bench.ended(process)
    assert (ended.exit_code, ended.message) == (-number, b"")


def test_as_the_first_process_of_a_container_it_ends_at_sigterm(bench: Bench) -> None:
    skip_without_pid_namespaces()
    code = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    # A shell outside stays as the parent; the first process inside is the bootstrap.
    command = ["unshare", "-pf", *bench.command("python")]
    process = bench.start(command, bench.env({"code": code}))
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert bench.ended(process).exit_code in (143, -signal.SIGTERM)


def test_without_its_contract_it_says_that_nexus_starts_it(bench: Bench) -> None:
    env = bench.env({"code": "pass"})
    del env["NEXUS_TASK_JSON"]
    ended = bench.ended(bench.start(bench.command("python"), env))
    assert ended.error["type"] == "BootstrapError"
    assert "NEXUS_TASK_JSON" in ended.error["message"]


def test_a_message_that_cannot_be_written_is_no_success(bench: Bench) -> None:
    ended = bench.code("output['a'] = 1", extra={"NEXUS_TERMINATION_LOG": "/nowhere/log"})
    assert ended.exit_code == 1
    assert "/nowhere/log" in ended.stderr


# The texts


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_text_is_one_script_for_python_3_9_and_small_enough_for_a_job(kind: Literal["python", "http", "sql"]) -> None:
    script = text(kind)
    limit = {"python": 16, "http": 23, "sql": 15}[kind]  # KiB; http: with the operator's CEL functions for `result`
    carried = packed(kind)
    ast.parse(carried, feature_version=(3, 9))
    tree = ast.parse(script, feature_version=(3, 9))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("nexus")]
    assert len(carried.encode()) < limit * 1024
    assert "$" not in carried or carried == script  # the kubelet would need each twice


def test_only_what_every_task_needs_is_imported_at_the_start(bench: Bench) -> None:
    code = "import sys\noutput['loaded'] = [m for m in ('zlib', 'hashlib', 'traceback', 'typing') if m in sys.modules]"
    command = bench.command("python")
    command[1:1] = ["-I", "-S"]  # without what the environment's site packages load
    assert bench.ended(bench.start(command, bench.env({"code": code}))).output == {"loaded": []}
