"""Options that several commands take, and how commands end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nexus.cli.ending import Exit, UsageError
from nexus.cli.terminal import say

if TYPE_CHECKING:
    from nexus.adapters.kube.client.api import KubeApi


class Output(StrEnum):
    """Output formats of most commands."""

    JSON = "json"


class RunOutput(StrEnum):
    """Output formats of the commands that create a run."""

    JSON = "json"
    NAME = "name"


AsJson = Annotated[Output | None, typer.Option("-o", "--output", help="Output format. Default: text.")]
RunForm = Annotated[RunOutput | None, typer.Option("-o", "--output", help="Output format. Default: text.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Follow the run, exit with its status.")]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--param", metavar="NAME=VALUE", help="Value of a param: a string as is, other types as JSON. Repeatable."
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME/KEY=SOURCE",
        help="With --local: value of a Secret's key, from env:VARIABLE or file:PATH. Repeatable.",
    ),
]
Approve = Annotated[
    list[str] | None, typer.Option(metavar="TASK", help="With --local: approve this approval task. Repeatable.")
]
Reject = Annotated[
    list[str] | None, typer.Option(metavar="TASK", help="With --local: reject this approval task. Repeatable.")
]
At = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Time that the run is for. If a schedule ticks then: run as that tick."),
]
Store = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="With --local: folder for artifacts and large outputs.")
]
RerunOf = Annotated[
    str | None, typer.Option(metavar="FILE", help="With --local: rerun an earlier run, the output of -o json.")
]
FromTask = Annotated[
    list[str] | None, typer.Option(metavar="TASK", help="In a rerun: also this task and all downstream. Repeatable.")
]
Namespace = Annotated[
    str | None, typer.Option("-n", "--namespace", metavar="NAME", help="Namespace. Default: the kubeconfig's.")
]
Context = Annotated[
    str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig. Default: the current one.")
]
Kubeconfig = Annotated[str | None, typer.Option(metavar="FILE", help="Path of the kubeconfig. Default: as kubectl.")]
RunStatus = Annotated[
    list[str] | None,
    typer.Option(metavar="STATUS", help="Status of the run, such as Failed; repeatable: any of them."),
]
OfWorkflow = Annotated[str | None, typer.Option(metavar="NAME", help="Workflow that the run is of.")]
Category = Annotated[str | None, typer.Option(metavar="TEXT", help="Category of the run's Workflow.")]
Tags = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Tag of the run's Workflow; repeatable: all of them.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Earliest creation: 30m, 24h, 7d, or 2026-11-23T02:30:00Z.")
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Maximum number of runs: the newest ones.")]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="created, name, workflow, status or duration; -COLUMN: descending. Default created."
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Name of a run.")]
Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of a Workflow in the cluster.")]


def live_shortly() -> None:
    """Turn the garbage collector off. A process of a second has next to no garbage, and would spend a tenth of its time
    on the search for it."""
    gc.disable()


def end(work: Coroutine[Any, Any, Exit] | Callable[[], Exit]) -> NoReturn:
    """Do the work and exit with its exit status."""
    try:
        code = _run(work) if isinstance(work, Coroutine) else work()
    except UsageError as error:
        refuse(*error.problems)
    except RuntimeError as error:
        from nexus.core.expressions.templates import EvaluationLost

        if not isinstance(error, EvaluationLost):
            raise
        refuse(f"{error}; run the command again")
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    raise typer.Exit(code)


def end_in_cluster(
    work: Callable[[KubeApi, str], Coroutine[Any, Any, Exit]],
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
) -> NoReturn:
    """Do work that takes a cluster's API server and a namespace, and exit with its exit status."""

    async def connected() -> Exit:
        from nexus.cli import connection

        async with connection.connected(connection.Target(namespace, context, kubeconfig)) as (api, space):
            return await work(api, space)

    end(connected())


def _run(work: Coroutine[Any, Any, Exit]) -> Exit:
    import asyncio

    return asyncio.run(work)


def refuse(*problems: str) -> NoReturn:
    """Print the problems to stderr and exit with status 2."""
    for problem in problems:
        say(problem, to=sys.stderr)
    raise typer.Exit(Exit.REFUSED)
