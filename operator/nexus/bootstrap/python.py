"""The bootstrap of python tasks: runs the user's code, or calls the user's function, and tells its output."""

from __future__ import annotations

import atexit
import json
import linecache
import os
import sys

from nexus.bootstrap.common import (
    REFUSED,
    Failure,
    Refusal,
    Report,
    content,
    folder,
    item_line,
    leave,
    received,
    received_task,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

SOURCE = "<task>"  # the file name of the user's code in tracebacks
# What a process that multiprocessing spawns executes as its main module, __name__ being "__mp_main__".
SPAWNED = """\
def begin():
 import json, linecache
 del globals()["begin"]
 with open(__file__ + ".json") as file: names, code = json.load(file)
 globals().update(names, output={})
 linecache.cache["<task>"] = (len(code), None, code.splitlines(True), "<task>")
 return compile(code, "<task>", "exec", dont_inherit=True)
exec(begin())
"""


def context() -> dict[str, Any]:
    """All names that the code gets; inputs too large for the environment come from files."""
    found: dict[str, Any] = {"item": None, "index": None, **received("NEXUS_CONTEXT_JSON", "context.json")}
    found["attempt"] = int(os.environ.get("NEXUS_ATTEMPT", "1")) + int(os.environ.pop("NEXUS_FAILED_ATTEMPTS", "") or 0)
    os.environ["NEXUS_ATTEMPT"] = str(found["attempt"])
    line = item_line()
    if line is not None:
        found["index"], found["item"] = line[0], json.loads(line[1])
    shared = os.environ.get("NEXUS_ARTIFACTS", "")
    # In the folder that the pod's containers share lies what was checked when it was fetched.
    for place in ("input", os.path.join(shared, ".nexus", "input")):
        path = os.path.join(folder(), place)
        for name in os.listdir(path) if os.path.isdir(path) else ():
            if name.endswith(".json"):
                found["input"][name[: -len(".json")]] = json.loads(content(os.path.join(place, name)))
    for key, name in found.pop("keys", {}).items():
        found["input"][key] = found["input"][name]
    found["artifacts"] = {name: os.path.join(shared, name) for name in found.get("artifacts", ())}
    return found


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the bootstrap's own frames, which come first."""
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    return trace


def last_line(trace: TracebackType | None, file_name: str | None) -> int | None:
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file_name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def spawnable(code: str, given: bytes | None) -> type:
    """Return the class of a module whose `__file__` executes the user's code in a process that was not forked.

    multiprocessing asks `__main__` for it, with `spawn` and with `forkserver`, the default from Python 3.14 on. Only
    then is it written, so that no other task pays for it. `given` is the context as the environment held it: it is
    read again, for the code may have changed what it got.
    """
    written: list[str] = []

    class Main(type(sys)):  # type: ignore[misc]  # types.ModuleType, without importing types
        @property
        def __file__(self) -> str:
            if not written:
                written.append(write_spawned(code, given))
            return written[0]

    return Main


def write_spawned(code: str, given: bytes | None) -> str:
    import tempfile

    if given is not None:
        os.environb[b"NEXUS_CONTEXT_JSON"] = given
    # Locally the attempt's own folder, which goes when the run has ended; a pod's is read-only.
    place = tempfile.mkdtemp(prefix="code.", dir=folder() if os.access(folder(), os.W_OK) else None)
    path = os.path.join(place, "task.py")
    for name, text in ((path + ".json", json.dumps([context(), code])), (path, SPAWNED)):
        with open(name, "w") as file:  # ASCII, both
            file.write(text)
    return path


class Attempt:
    """One call of the user's code, and its result."""

    def __init__(self) -> None:
        self.task: dict[str, Any] = {}
        self.ended = False
        self.failure: Failure | Refusal | None = None
        self.returned: object = None
        # A module of its own, and the `__main__` one: `if __name__ == "__main__"`, pickle, dataclasses and
        # get_type_hints then find the user's names, and none of the bootstrap's are among them.
        self.module = type(sys)("__main__")

    def run(self) -> None:
        try:
            given = os.environb.get(b"NEXUS_CONTEXT_JSON")
            self.module.__dict__.update({**context(), "output": {}})
            self.task = received_task()
            if "call" in self.task:
                self.returned = self.call(self.task["call"], self.task.get("with") or {})
            else:
                self.execute(self.task["code"], given)
        except (Failure, Refusal) as failure:
            self.failure = failure
        except SystemExit as error:
            self.failure = self.exit(error)
        except KeyboardInterrupt:
            raise  # not an end of the code: this process dies of the signal, and tells nothing
        except BaseException as error:
            self.failure = self.fault(error)
        self.ended = True

    def execute(self, code: str, given: bytes | None) -> None:
        self.module.__class__ = spawnable(code, given)
        sys.modules["__main__"] = self.module
        if "__mp_main__" in sys.modules:  # something has imported multiprocessing, which took the old one for it
            sys.modules["__mp_main__"] = self.module
        linecache.cache[SOURCE] = (len(code), None, code.splitlines(True), SOURCE)  # no mtime: never checked on disk
        # dont_inherit: the future imports of this text are not the user's.
        exec(compile(code, SOURCE, "exec", dont_inherit=True), self.module.__dict__)

    def call(self, target: str, arguments: dict[str, Any]) -> object:
        module_name, _, path = target.partition(":")
        __import__(module_name)
        found: Any = sys.modules[module_name]
        for name in path.split("."):
            found = getattr(found, name)
        return found(**arguments)

    def output(self) -> object:
        """Return the output, or the failure raised."""
        if self.failure is not None:
            raise self.failure
        if "call" in self.task:
            if self.returned is None:
                return {}
            if not isinstance(self.returned, dict):
                problem = f"{self.task['call']} returned a {type(self.returned).__name__}"
                raise Refusal("InvalidOutput", f"{problem}; return a dict, or None for an empty one")
            return self.returned
        if "output" not in self.module.__dict__:
            raise Refusal("InvalidOutput", "the code deleted `output`; keep it, or assign a dict")
        return self.module.__dict__["output"]

    def exit(self, error: SystemExit) -> Failure | None:
        """Return what Python makes of an exit: no value or 0 is success, a number the exit code, all else a message."""
        code = error.code
        if code is None or code == 0:
            return None
        line = last_line(error.__traceback__, SOURCE)
        if isinstance(code, int):
            # Exit code 256 is 0 to whoever waits for the process, and no success to its author.
            left = code & 255 or 1
            words = f"exit code {code}"
            if left == REFUSED:
                words += ", which is reserved for a refused output and never retried; use another one"
            return Failure("SystemExit", words, line, left)
        return Failure("SystemExit", str(code), line)

    def fault(self, error: BaseException) -> Failure:
        import traceback

        trace = user_frames(error.__traceback__)
        try:
            traceback.print_exception(type(error), error, trace)
        except Exception:  # user code may have closed or replaced standard error
            pass
        try:
            text = str(error)
        except Exception:
            text = "its message cannot be shown: __str__ failed too"
        line = last_line(trace, SOURCE)
        if line is None and isinstance(error, SyntaxError) and error.filename == SOURCE:
            line = error.lineno
        module = sys.modules.get(self.task.get("call", "").partition(":")[0])
        file_name = getattr(module, "__file__", None)
        if file_name and (at := last_line(trace, file_name)):
            text += f" ({os.path.basename(file_name)}, line {at})"
        return Failure(type(error).__name__, text, line, logged=True)


def main() -> None:
    report = Report("write the data to a file store or a database and output where it is")
    stdout: Any = sys.stdout
    if stdout is not None:
        stdout.reconfigure(line_buffering=True)  # a pipe would hold the log back until the end
    attempt = Attempt()

    def conclude() -> None:
        if os.getpid() != report.process:  # a fork that ran to the end of the code: its parent tells
            leave(attempt.failure.code if isinstance(attempt.failure, Failure) else 0)
        if attempt.ended:
            report.end(attempt.output)

    # The first to be registered is the last to run, after all threads have been joined: what those, or the user's
    # own exit handlers, put into `output` counts, as it would at the end of any script.
    atexit.register(conclude)
    attempt.run()


if __name__ == "__main__":
    main()
