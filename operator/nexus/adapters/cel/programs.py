"""CEL itself: declares variables and functions, compiles, evaluates. Runs in the child process only.

cel-expr-python 0.1.3 is a thin layer over cel-cpp; what its interface does not say was measured:
a datetime inside a `dyn` value is refused, so timestamps are variables of their own; an overload with a `dyn`
parameter never matches at run time, so each function is declared once for every concrete kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_strings

from nexus.core.expressions import functions

_TYPES: Mapping[str, cel.Type] = {
    "bool": cel.Type.BOOL,
    "bytes": cel.Type.BYTES,
    "double": cel.Type.DOUBLE,
    "duration": cel.Type.DURATION,
    "dyn": cel.Type.DYN,
    "int": cel.Type.INT,
    "list": cel.Type.LIST,
    "map": cel.Type.MAP,
    "null": cel.Type.NULL,
    "string": cel.Type.STRING,
    "timestamp": cel.Type.TIMESTAMP,
    "uint": cel.Type.UINT,
}
_KINDS = tuple(name for name in _TYPES if name != "dyn")
# A function of ours cannot hand a time on: datetimes are refused in its `dyn` result.
_PASSED_ON = tuple(name for name in _KINDS if name not in ("timestamp", "duration"))

# What is kept: an environment is some 280 KiB, a program in it 5 KiB (measured). Making both again takes about 1 ms.
ENVIRONMENTS = 48
PROGRAMS = 64


class Refused(Exception):
    """An expression that does not compile (`compiled` False) or failed; the text is cel-cpp's, or a function's."""

    def __init__(self, text: str, compiled: bool) -> None:
        self.text = text
        self.compiled = compiled
        super().__init__(text)


class Programs:
    """Compiles expressions and keeps the compiled ones, by the variables declared for them."""

    def __init__(self) -> None:
        self._compiler = lru_cache(maxsize=ENVIRONMENTS)(self._new_compiler)
        self._zone = "UTC"
        self._functions = list(self._declared())
        self._extensions = [ext_strings.ExtStrings(), ext_math.ExtMath()]

    def check(self, source: str, variables: Mapping[str, str]) -> str:
        """Return the name of the result's type. Raises Refused."""
        name = str(self._program(source, variables).return_type().name()).lower()
        if name.startswith("google.protobuf."):
            name = name.removeprefix("google.protobuf.")
        name = name.partition("<")[0]
        return name if name in _TYPES or name == "type" else "dyn"

    def serialized(self, source: str, variables: Mapping[str, str]) -> bytes:
        """Return the checked expression as a message of protocol buffers. Raises Refused."""
        return bytes(self._program(source, variables).serialize())

    def evaluate(self, source: str, variables: Mapping[str, str], values: Mapping[str, Any], zone: str) -> Any:
        """Return the result as a JSON value. Raises Refused."""
        program = self._program(source, variables)
        self._zone = zone
        try:
            typed = {name: _typed(variables[name], value) for name, value in values.items()}
            result = program.eval(data=typed)
            if result.type() == cel.Type.ERROR:
                raise Refused(str(result.plain_value()), compiled=True)
            return functions.json_value(result.plain_value())
        except (RuntimeError, TypeError, ValueError) as error:
            raise Refused(str(error), compiled=True) from None

    def _program(self, source: str, variables: Mapping[str, str]) -> cel.Expression:
        try:
            return self._compiler(tuple(sorted(variables.items())))(source)
        except (RuntimeError, TypeError, ValueError) as error:
            raise Refused(str(error), compiled=False) from None

    def _new_compiler(self, variables: tuple[tuple[str, str], ...]) -> Callable[[str], cel.Expression]:
        environment = cel.NewEnv(
            variables={name: _TYPES[kind] for name, kind in variables},
            extensions=self._extensions,
            functions=self._functions,
        )
        return lru_cache(maxsize=PROGRAMS)(environment.compile)

    def _declared(self) -> Iterator[cel.FunctionDecl]:
        yield _function(
            "date",
            "string",
            [(["timestamp"], lambda at: functions.date(at, self._zone)), (["timestamp", "string"], functions.date)],
        )
        yield _function(
            "strftime",
            "string",
            [
                (["timestamp", "string"], lambda at, text: functions.strftime(at, text, self._zone)),
                (["timestamp", "string", "string"], functions.strftime),
            ],
        )
        yield _function("range", "list", [(["int"], functions.numbers)])
        yield _function("flatten", "list", [(["list"], functions.flatten)])
        yield _function(
            "get",
            "dyn",
            [([source, "string", kind], functions.get) for source, kind in product(("map", "null"), _PASSED_ON)],
        )
        yield _function("json", "string", [([kind], functions.to_json) for kind in _KINDS])


def _function(name: str, result: str, overloads: list[tuple[list[str], Callable[..., Any]]]) -> cel.FunctionDecl:
    return cel.FunctionDecl(
        name,
        [
            cel.Overload(
                "_".join([name, *parameters]),
                return_type=_TYPES[result],
                parameters=[_TYPES[parameter] for parameter in parameters],
                is_member=False,
                impl=implementation,
            )
            for parameters, implementation in overloads
        ],
    )


def _typed(kind: str, value: Any) -> Any:
    """Return a JSON value as the Python value that the library takes for a declared type."""
    if kind == "timestamp" and isinstance(value, str):
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError(f"time {value} has no offset; write it with Z, or as +02:00")
        return at
    if kind == "double" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
