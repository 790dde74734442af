"""The commands for files: they need no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.ending import Exit
from nexus.cli.options import AsJson, Context, Kubeconfig, Output, Params, end, end_in_cluster, live_shortly, refuse

if TYPE_CHECKING:
    from nexus.adapters.kube.client.api import KubeApi

_MOST_TICKS = 1_000

SameFile = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="Same as the argument FILE.")]


def lint(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Files, folders, or - for stdin.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("-f", "--file", metavar="FILE", help="Same as the argument FILE. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 for warnings as well.")] = False,
    hints: Annotated[bool, typer.Option("--hints", help="Also warn of redundant dependencies.")] = False,
    output: AsJson = None,
) -> None:
    """Check manifests without a cluster.

    Checks fields, names, dependency cycles, and expressions with their types.
    Exit status: 0 no problems (there may be warnings), 1 problems, 2 a file that cannot be read.
    """
    named = [*(files or ()), *(more or ())]
    if not named:
        refuse("say of what: nexus lint FILE...")
    from nexus.adapters.cel.pool import CelEvaluator

    live_shortly()
    with CelEvaluator() as evaluator:
        if _may_evaluate(named):
            evaluator.warm_up()  # while everything else is imported, which takes as long
        from nexus.cli.lint import lint as check

        end(lambda: check(named, evaluator, as_json=output is Output.JSON, strict=strict, hints=hints))


def _may_evaluate(names: Sequence[str]) -> bool:
    """Return whether to start an evaluator before the files are read. One that is needed all the same starts then."""
    try:
        return any(not Path(name).is_file() or b"${{" in Path(name).read_bytes() for name in names)
    except OSError:  # reported where the file is read
        return False


def _the_one(argument: str | None, option: str | None, usage: str) -> str:
    """Return what is given as an argument or with -f, which `run` requires for a file."""
    if argument is not None and option is not None:
        refuse(f"give one of them, {argument} or -f {option}: {usage}")
    given = argument if argument is not None else option
    if given is None:
        refuse(f"say of what: {usage}")
    return given


def plan(
    bare: Annotated[str | None, typer.Argument(metavar="FILE", help="Manifest, or - for stdin.")] = None,
    file: SameFile = None,
    param: Params = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time that the run is for. If a schedule ticks then: plan that tick."),
    ] = None,
    output: AsJson = None,
) -> None:
    """Show what a run of a file would do.

    Shows the order of tasks, which would run, their fields, and the next ticks. Nothing is started; no cluster and no
    Secret is required. Outputs of tasks are unknown, and what depends on them is marked.

    Exit status: 0 it is known what would run, 1 a task would fail, 2 refused.
    """
    manifest = _the_one(bare, file, "nexus plan FILE")
    from nexus.adapters.cel.pool import CelEvaluator

    live_shortly()
    with CelEvaluator() as evaluator:
        evaluator.warm_up()
        from nexus.cli.plan import plan as show

        end(lambda: show(manifest, param or [], evaluator, at=at, as_json=output is Output.JSON))


def _count(given: str | int) -> int:
    """Return a number of ticks (typer passes the default too). In all other commands -n is the namespace."""
    text = str(given)
    if not text.isdecimal():
        raise typer.BadParameter(f"expected a number of ticks, got {text!r}; for a namespace write --namespace {text}")
    if not 1 <= int(text) <= _MOST_TICKS:
        raise typer.BadParameter(f"{text} is out of range: from 1 to {_MOST_TICKS}")
    return int(text)


def schedule_next(
    bare: Annotated[
        str | None, typer.Argument(metavar="WORKFLOW|FILE", help="Workflow in the cluster, a file, or - for stdin.")
    ] = None,
    file: SameFile = None,
    count: Annotated[
        int, typer.Option("-n", "--count", parser=_count, metavar="NUMBER", help="Number of ticks, 1 to 1000.")
    ] = 20,
    from_time: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Show ticks after this time. Default: now.")
    ] = None,
    output: AsJson = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Namespace. Default: the kubeconfig's.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the next ticks of schedules.

    Shows local time and UTC, and why a tick moved or is skipped. A file requires no cluster.
    """
    target = _the_one(bare, file, "nexus schedule next WORKFLOW|FILE")
    from nexus.cli import schedule

    if file is not None or schedule.is_file(target):
        end(lambda: schedule.print_next(schedule.of_file(target), count, from_time, as_json=output is Output.JSON))

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import new_run

        source = await new_run.schedules_of(api, space, target)
        return schedule.print_next([source], count, from_time, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)
