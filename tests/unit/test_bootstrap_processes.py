"""python tasks that start processes: what works in a script.py works in a task, whichever way a process begins."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from tests.unit.bootstrap_harness import Bench

METHODS = ["spawn", "forkserver", "fork"]
CONTEXT = {"params": {"factor": 3}, "item": "eu", "index": 4, "input": {"extract": {"n": 2}}}
SCRIPT = """
    from __future__ import annotations
    import dataclasses
    import multiprocessing
    import os
    import sys
    from concurrent.futures import ProcessPoolExecutor

    @dataclasses.dataclass
    class Point:
        x: int

    def seen(n):
        return Point(n * params["factor"] + input["extract"]["n"] + input.get("big", {}).get("n", 0)), item, index

    def bad(n):
        raise ValueError(f"bad {n}")

    output["top"] = __name__
    if __name__ == "__main__":
        params["factor"] = 100
        context = multiprocessing.get_context(METHOD)
        with context.Pool(2) as pool:
            output["pool"] = [(point.x, *rest) for point, *rest in pool.map(seen, range(3))]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            output["executor"] = [point.x for point, *_ in pool.map(seen, range(3))]
            try:
                pool.submit(bad, 7).result()
            except ValueError as error:
                output["cause"] = str(error.__cause__)
        process = context.Process(target=sys.exit, args=(5,))
        process.start()
        process.join()
        output["code"] = process.exitcode
        output["left"] = [name for name in os.environ if "JSON" in name]
"""


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    # Not of the test's name: the socket of multiprocessing's server may have 107 bytes with all folders.
    return Bench(tmp_path_factory.mktemp("b"))


def script(method: str, text: str = SCRIPT) -> str:
    return textwrap.dedent(text).replace("METHOD", repr(method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inputs", [None, {"big": {"n": 1000, "text": "x" * 300_000}}], ids=["small", "files"])
def test_functions_and_classes_of_the_code_work_in_other_processes(
    bench: Bench, method: str, inputs: dict[str, Any] | None
) -> None:
    ended = bench.code(script(method), context=CONTEXT, inputs=inputs)
    more = 1000 if inputs else 0
    factor = 100 if method == "fork" else 3  # a fork has what its parent made of it, others begin anew
    numbers = [n * factor + 2 + more for n in range(3)]
    found = ended.output
    cause = found.pop("cause")
    assert found == {
        "top": "__main__",
        "pool": [[number, "eu", 4] for number in numbers],
        "executor": numbers,
        "code": 5,
        "left": [],
    }
    line = 1 + script(method).splitlines().index('    raise ValueError(f"bad {n}")')
    assert f'File "<task>", line {line}, in bad' in cause
    assert 'raise ValueError(f"bad {n}")' in cause


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_executor_without_the_guard_fails_as_in_a_script_and_does_not_hang(bench: Bench, method: str) -> None:
    code = """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(METHOD)) as pool:
            output["x"] = pool.submit(abs, -1).result()
    """
    ended = bench.code(script(method, code))
    assert ended.error["type"] == "BrokenProcessPool"
    assert "bootstrapping phase" in ended.stderr


def test_a_function_of_a_module_works_in_other_processes(bench: Bench) -> None:
    (bench.folder / "own.py").write_text(
        "import multiprocessing\n"
        "def double(n): return 2 * n\n"
        "def run():\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: return {'n': pool.map(double, [1, 2])}\n"
    )
    task = {"call": "own:run", "with": {}}
    assert bench.run("python", task, extra={"PYTHONPATH": str(bench.folder)}).output == {"n": [2, 4]}


def test_without_such_processes_no_file_is_written(bench: Bench) -> None:
    assert bench.code("import __main__\noutput['name'] = __main__.__name__").output == {"name": "__main__"}
    assert list(bench.nexus.iterdir()) == []
    assert list(bench.tmp.iterdir()) == []


def test_where_its_folder_is_read_only_the_file_goes_to_the_temporary_one(bench: Bench) -> None:
    code = "import __main__, os\noutput['at'] = os.path.dirname(os.path.dirname(__main__.__file__))"
    assert bench.code(code, extra={"NEXUS_DIR": "/nowhere"}).output == {"at": str(bench.tmp)}
