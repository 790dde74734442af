"""Syntax: whether the code of python and bash tasks can be read at all, found out without running any of it.

Only the CLI asks: a process that compiles users' code may crash on it, and the operator reads no code. So a process of
its own compiles, with bounded time and memory, and code that ends it is reported as not checked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from nexus.api.codes import Code
from nexus.api.manifest import Document
from nexus.api.tasks import Task
from nexus.api.workflow import WorkflowSpec
from nexus.core.manifest.problem import Path, Problem, first
from nexus.core.pods import templated_fields
from nexus.core.task_types import TYPES

NO_BASH = "bash commands are not checked: there is no bash on this machine"
SECONDS = 30
"""For all code of a file; what is left over is not checked."""
SHORT = 512
"""Characters of a code that is compiled in this process."""
CRASHES = 5
"""Compilers that may end over the code of a file."""
_BASHES = 4

# Compiles as the bootstrap of python tasks does, and answers with a line for each text. -I -S: no module of the folder
# or of the environment takes part.
_COMPILE = """
import json, sys, warnings
warnings.simplefilter("ignore")
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
except (ImportError, ValueError, OSError):
    pass
for code in json.load(sys.stdin):
    found = None
    try:
        compile(code, "<task>", "exec", dont_inherit=True)
    except SyntaxError as error:
        found = [error.msg, error.lineno, error.offset]
    except ValueError as error:
        found = [str(error), None, None]
    except (RecursionError, MemoryError):
        found = ["nested too deeply for Python's compiler", None, None]
    print(json.dumps(found), flush=True)
"""
_LIMITED = 'ulimit -c 0; ulimit -t 5; ulimit -v 1048576; exec "$BASH" "$@" -n /dev/stdin'
# Answers 1 for each text that bash reads without a word. After `set -n` it runs nothing, and no text takes that back.
_SOUND = r"""
ulimit -c 0; ulimit -t 5; ulimit -v 1048576
[[ -z $(eval 'set -n'$'\n''echo it runs' 2>&1) ]] || exit
while IFS= read -r -d '' text; do
  said=$(eval 'set -n'$'\n'"$text" 2>&1) && [[ -z $said ]] && printf 1 || printf 0
done
"""
_ENV = {"LC_ALL": "C.UTF-8"}
_BASH_SAYS = re.compile(r"^/dev/stdin: line (\d+): (warning: )?(.*)$", re.MULTILINE)

# Syntax that a newer Python than the one that checks may know, by the line that it is in: type statements and
# parameters; f-strings with their own quote, a backslash, a comment or a line break within braces; t-strings;
# `except A, B`.
_NEWER = (
    ((3, 12), re.compile(r"\s*type\s+\w+\s*[\[=]|.*\b(?:def|class)\s+\w+\s*\[")),
    ((3, 12), re.compile(r""".*(?<![\w"'])[rR]?[fF][rR]?(["']).*?\{[^}]*(?:\1|\\|\#|$)""")),
    ((3, 14), re.compile(r""".*(?<![\w"'])[rR]?[tT][rR]?["']|\s*except\s+[\w.]+\s*,""")),
)
_LONGEST_LINE = 1_000  # characters of a line in which such syntax is looked for
_HERE = f"Python {sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True)
class _Code:
    """The code of one task; `problem` is the problem to report, without its message."""

    problem: Problem
    syntax: Literal["python", "bash"]
    text: str
    image: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What is wrong with a code; line and column count from 1, None where they are not known."""

    message: str
    line: int | None = None
    column: int | None = None
    certain: bool = True
    """Whether the task must fail for it."""
    code: Code = Code.CODE_SYNTAX


class Checked(Protocol):
    """A file whose definitions are checked: it takes what is wrong with them."""

    @property
    def definitions(self) -> Sequence[tuple[Document, Path, WorkflowSpec]]:
        """Each definition, with its document and its place there."""

    def add(self, document: Document, found: Iterable[Problem], *below: str | int) -> None:
        """Note problems."""

    def warn(self, document: Document, found: Iterable[Problem], *below: str | int) -> None:
        """Note warnings."""

    def order(self) -> None:
        """Put both in the order of the file."""


def check_code(manifest: Checked) -> bool:
    """Note what is wrong with the code in a file, as problems or as warnings; False where there is no bash to check the
    bash commands with."""
    begun = time.monotonic()
    places = [(document, place, list(_codes(spec.every_task()))) for document, place, spec in manifest.definitions]
    every = [code for _, _, codes in places for code in codes]
    texts = {kind: list(dict.fromkeys(c.text for c in every if c.syntax == kind)) for kind in ("python", "bash")}
    bash = shutil.which("bash")
    python = dict(zip(texts["python"], _python(texts["python"]), strict=True))
    shell = dict(zip(texts["bash"], _bash(bash, texts["bash"], begun), strict=True)) if bash else {}
    for document, place, codes in places:
        told = [(code, _told(code, python, shell)) for code in codes]
        found = [(_problem(code, entry), entry.certain) for code, entry in told if entry is not None]
        manifest.add(document, first(problem for problem, certain in found if certain), *place)
        manifest.warn(document, first(problem for problem, certain in found if not certain), *place)
    manifest.order()
    return bash is not None or not texts["bash"]


def _codes(tasks: Sequence[tuple[tuple[str, int], Task]]) -> Iterator[_Code]:
    for place, task in tasks:
        for path, text, known in templated_fields.code(task):
            if known.syntax is not None:
                image = getattr(TYPES[str(path[0])].of(task), "image", None)
                yield _Code(Problem((*place, *path), Code.CODE_SYNTAX, "", task.name), known.syntax, text, image)


def _problem(code: _Code, found: _Found) -> Problem:
    if found.line is None:
        return replace(code.problem, code=found.code, message=found.message)
    lines = code.text.split("\n")
    line = min(found.line, len(lines)) - 1
    column = min(found.column - 1, len(lines[line])) if found.column else len(lines[line]) - len(lines[line].lstrip())
    offset = sum(len(text) + 1 for text in lines[:line]) + max(column, 0)
    return replace(code.problem, code=found.code, message=found.message, offset=offset)


def _told(code: _Code, python: dict[str, _Found | None], shell: dict[str, _Found | None]) -> _Found | None:
    """Return what was found in a code; of Python only for certain where another Python would find it as well."""
    if code.syntax == "bash":
        return shell.get(code.text)
    entry = python[code.text]
    if entry is None or not entry.certain:
        return entry
    if code.image is not None:
        return replace(entry, message=f"{entry.message} (to {_HERE}; the image may have another)", certain=False)
    lines = code.text.split("\n")
    line = lines[entry.line - 1][:_LONGEST_LINE] if entry.line is not None and entry.line <= len(lines) else ""
    if any(sys.version_info < version and form.match(line) for version, form in _NEWER):
        return replace(entry, message=f"{entry.message} (to {_HERE}; a newer one may read it)", certain=False)
    return entry


def _python(texts: Sequence[str]) -> list[_Found | None]:
    """Return what Python's compiler says of each text: of a sound and short one here, at once, of all others in a
    process."""
    unsure = [text for text in texts if not _is_sound(text)]
    told = dict(zip(unsure, _by_processes(unsure), strict=True))
    return [told.get(text) for text in texts]


def _is_sound(text: str) -> bool:
    """Return whether code is short and compiles. Deep nesting crashes a compiler, and needs many characters."""
    if len(text) > SHORT:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<task>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _by_processes(texts: Sequence[str]) -> list[_Found | None]:
    found: list[_Found | None] = []
    for _ in range(CRASHES):
        if len(found) == len(texts):
            return found
        found += _compiled(texts[len(found) :])
        if len(found) < len(texts):
            found.append(
                _Found(
                    "the syntax was not checked: Python's compiler ended over this code",
                    certain=False,
                    code=Code.CODE_UNCHECKED,
                )
            )
    rest = len(texts) - len(found)
    return (
        found
        + [
            _Found(
                "the syntax was not checked: Python's compiler ended too often", certain=False, code=Code.CODE_UNCHECKED
            )
        ]
        * rest
    )


def _compiled(texts: Sequence[str]) -> Iterator[_Found | None]:
    """Yield what one compiler says of the texts, up to the one over which it ended."""
    command = [sys.executable, "-I", "-S", "-c", _COMPILE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            out, _ = process.communicate(json.dumps(list(texts)).encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    for line in out.decode().splitlines():
        answer = json.loads(line)
        if answer is None:
            yield None
            continue
        message, number, column = answer
        hint = "; assign to output instead" if message == "'return' outside function" else ""
        yield _Found(f"Python syntax error: {message}{hint}", number, column)


def _bash(bash: str, texts: Sequence[str], begun: float) -> Iterator[_Found | None]:
    """Yield what bash says of each text: of the sound ones one process, of each other one a process of its own."""
    sound = _sound(bash, texts)
    unsure = [text for text in texts if text not in sound]

    def check(text: str) -> _Found | None:
        if time.monotonic() - begun > SECONDS:
            return _Found(
                "the syntax was not checked: the code of this file takes too long",
                certain=False,
                code=Code.CODE_UNCHECKED,
            )
        return _read_by(bash, text)

    told: dict[str, _Found | None] = {}
    if unsure:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_BASHES) as threads:
            told = dict(zip(unsure, threads.map(check, unsure), strict=True))
    yield from (told.get(text) for text in texts)


def _sound(bash: str, texts: Sequence[str]) -> set[str]:
    """Return the texts of which one bash has nothing to say; a fork for each of them takes a sixth of a process'
    time."""
    asked = [text for text in texts if "\0" not in text and "extglob" not in text]
    with tempfile.TemporaryFile() as file:  # of a pipe, unlike a file, `read` takes one byte at a time
        file.writelines(text.encode("utf-8", "replace") + b"\0" for text in asked)
        file.seek(0)
        command = [bash, "--norc", "--noprofile", "-c", _SOUND]
        try:
            ended = subprocess.run(
                command,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=10,
                check=False,
                env=_ENV,
            )
        except subprocess.TimeoutExpired:
            return set()
    return {text for text, answer in zip(asked, ended.stdout.decode(), strict=False) if answer == "1"}


def _read_by(bash: str, text: str) -> _Found | None:
    # -n reads and runs nothing; of what the command would switch on itself only this changes how bash reads.
    options = ["-O", "extglob"] if "extglob" in text else []
    command = [bash, "--norc", "--noprofile", "-c", _LIMITED, "nexus", "--norc", "--noprofile", *options]
    try:
        ended = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=10,
            check=False,
            env=_ENV,
        )
    except subprocess.TimeoutExpired:
        words = "the syntax was not checked: bash takes too long to read it"
        return _Found(words, certain=False, code=Code.CODE_UNCHECKED)
    if ended.returncode < 0 or ended.returncode > 2:
        return _Found("the syntax was not checked: bash ended over this code", certain=False, code=Code.CODE_UNCHECKED)
    said = _BASH_SAYS.search(ended.stderr.decode("utf-8", "replace"))
    if said is None:
        return None if ended.returncode == 0 else _Found("bash syntax error: bash cannot read this", certain=False)
    line, words = int(said[1]), said[3].removeprefix("syntax error: ").removeprefix("syntax error ")
    if said[2]:
        return _Found(f"bash reads it with a warning: {words}", line, certain=False)
    return _Found(f"bash syntax error: {words}", line, certain=not _ends_before(text, line))


def _ends_before(text: str, line: int) -> bool:
    """Return whether the command may have ended before bash gets to a line: it reads and runs one after the other."""
    return any(re.match(r"(exit|exec)\b", above) for above in text.split("\n")[: line - 1])
