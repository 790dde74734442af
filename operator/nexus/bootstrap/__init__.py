"""The scripts that run inside a task's container and, unchanged, as a local subprocess.

They are shipped as package data and read as text, never imported by the operator: a Job carries one self-contained
script (`python3 -c TEXT`, `bash -c TEXT nexus COMMAND`), so that any image with a Python or a bash can run a task.
docs/task-code.md is the contract they keep.
"""

from __future__ import annotations

import ast
import base64
import re
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TypeVar

from nexus.core.task_types import TYPES
from nexus.core.task_types.record import Bootstrap

Documented = TypeVar("Documented", ast.FunctionDef, ast.ClassDef, ast.Module)

# Bytes of a script that a Job carries as it is.
PLAIN_LIMIT = 16 * 1024

# What stands before common.py: all agree about what becomes of a number.
_NUMBERS = ("nexus.api", "numbers")
SCRIPTS: Mapping[str, Bootstrap] = {
    **{known.bootstrap.name: known.bootstrap for known in TYPES.values() if known.bootstrap is not None},
    "transfer": Bootstrap(name="transfer", joined=(("nexus.bootstrap", "tree"),), keeps_output=False),
}
"""The scripts of the types of tasks, and the one that moves data, by their names."""


@cache
def text(name: str) -> str:
    """Return the complete script of this name, without anything rendered into it.

    It holds `$` and, for bash, `$(...)`: whoever puts it into a container's `command` or `args` doubles every `$`,
    because the kubelet expands them there.

    Raises:
        FileNotFoundError: the package was installed without its data files.
    """
    known = SCRIPTS[name]
    if known.interpreter == "bash":
        # Without the lines that are comments, none of which is within a text: every Job stores a copy of it in etcd.
        return re.sub(r"^ *#.*\n", "", _source(__name__, f"{name}.sh"), flags=re.MULTILINE)
    parts = [_NUMBERS, (__name__, "common"), *known.joined, (__name__, name)]
    script = "\n".join(_bare(_source(package, f"{part}.py")) for package, part in parts)
    if known.carried:
        carried = {f"{package}.{part}": _bare(_source(package, f"{part}.py")) for package, part in known.carried}
        script = script.replace("\nCARRIED = {}\n", f"\nCARRIED = {carried!r}\n")
    return script


@cache
def packed(name: str) -> str:
    """Return the script as a Job carries it: as it is up to PLAIN_LIMIT, beyond that compressed, in a line that unpacks
    it. A Job and each of its pods keep a copy of it in etcd."""
    script = text(name)
    if len(script.encode()) <= PLAIN_LIMIT:
        return script
    blob = base64.b64encode(zlib.compress(script.encode(), 9)).decode()
    unpack = f'zlib.decompress(base64.b64decode("{blob}"))'
    return f'import base64, zlib\nexec(compile({unpack}, "<string>", "exec"))'


def _source(package: str, file_name: str) -> str:
    return (files(package) / file_name).read_text(encoding="utf-8")


# What the joined text holds anyway.
_JOINED_ONES = (_NUMBERS, (__name__, "common"), *(part for script in SCRIPTS.values() for part in script.joined))
# Nothing of typing is used but in annotations.
_HELD = ("__future__", "typing", *(".".join(part) for part in _JOINED_ONES))


class _Prose(ast.NodeTransformer):
    """Takes out docstrings, annotations with their imports, and imports of what the joined text holds anyway."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in _HELD else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(_undocumented(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self.generic_visit(_undocumented(node))

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self.generic_visit(_undocumented(node))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None, "a script declares nothing without a value"
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_If(self, node: ast.If) -> ast.AST | None:
        is_for_checkers = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if is_for_checkers else self.generic_visit(node)


def _undocumented(node: Documented) -> Documented:
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


def _bare(source: str) -> str:
    """Return the same program without comments and what only serves its readers: every Job stores a copy of it in
    etcd."""
    # No constant of these scripts spans lines, so a line's leading spaces are its indentation: one is enough.
    bare = ast.unparse(_Prose().visit(ast.parse(source)))
    return re.sub(r"^(?: {4})+", lambda indent: " " * (len(indent[0]) // 4), bare, flags=re.MULTILINE)
