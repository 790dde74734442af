"""The commands. Everything heavy is imported by the command that needs it: `nexus --help` answers at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nexus import __version__
from nexus.cli.ending import Exit, Refused

app = typer.Typer(
    help="DAG workflows on Kubernetes, and on this machine without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[str | None, typer.Option("-o", "--output", metavar="json", help="Print the object as JSON.")]


@app.command()
def run(
    file: Annotated[
        str | None, typer.Option("-f", "--file", metavar="FILE", help="Manifest to run; - is standard input.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Run FILE on this machine, without a cluster.")] = False,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="NAME=VALUE", help="A param; all but strings are written as JSON."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME/KEY=SOURCE", help="A Secret's key for --local, from env:VARIABLE or file:PATH."),
    ] = None,
    output: Output = None,
) -> None:
    """Run a file on this machine: -f FILE --local."""
    if file is None or not local:
        _refuse("give -f FILE --local")
    from nexus.cli.local import run_local

    _end(run_local(file, param or [], secret or [], as_json=output == "json"))


@app.command()
def version() -> None:
    """Print the version."""
    print(f"nexus {__version__}")


def _end(work: Coroutine[Any, Any, Exit]) -> None:
    """Do it, and leave with its exit status."""
    try:
        code = asyncio.run(work)
    except Refused as error:
        _refuse(*error.problems)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    raise typer.Exit(code)


def _refuse(*problems: str) -> NoReturn:
    for problem in problems:
        print(problem, file=sys.stderr)
    raise typer.Exit(Exit.REFUSED)


def main() -> None:
    """The program, under either of its names."""
    name = Path(sys.argv[0]).stem
    app(prog_name="kubectl nexus" if name == "kubectl-nexus" else "nexus")
