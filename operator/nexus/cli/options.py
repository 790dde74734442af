"""What the commands share: the options that several of them take, and how they end."""

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
    """Forms of what is printed."""

    JSON = "json"


class RunOutput(StrEnum):
    """Forms in which `run` prints a run."""

    JSON = "json"
    NAME = "name"


AsJson = Annotated[Output | None, typer.Option("-o", "--output", help="Print JSON instead.")]
Params = Annotated[
    list[str] | None,
    typer.Option("-p", "--param", metavar="NAME=VALUE", help="A param: text as it stands, other types as JSON."),
]
Store = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="With --local: keep artifacts and large outputs here.")
]
RerunOf = Annotated[
    str | None, typer.Option(metavar="FILE", help="With --local: run again what failed in a run that -o json printed.")
]
FromTask = Annotated[
    list[str] | None, typer.Option(metavar="TASK", help="In a rerun: this task and all after it, too; repeatable.")
]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Namespace; default: the kubeconfig's.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; default: its current one.")]
Kubeconfig = Annotated[str | None, typer.Option(help="Path of a kubeconfig; default: as for kubectl.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run in the cluster.")]
Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of a Workflow in the cluster.")]


def live_shortly() -> None:
    """Collect no garbage: a process that is gone within the second has next to none, and spends a tenth of its time on
    the search for it."""
    gc.disable()


def end(work: Coroutine[Any, Any, Exit] | Callable[[], Exit]) -> NoReturn:
    """Do it, and leave with its exit status."""
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
    """The same for work that takes a cluster's API server and the namespace to work in."""

    async def connected() -> Exit:
        from nexus.cli import connection

        async with connection.connected(connection.Target(namespace, context, kubeconfig)) as (api, space):
            return await work(api, space)

    end(connected())


def _run(work: Coroutine[Any, Any, Exit]) -> Exit:
    import asyncio

    return asyncio.run(work)


def refuse(*problems: str) -> NoReturn:
    """Say why on stderr, and leave."""
    for problem in problems:
        say(problem, to=sys.stderr)
    raise typer.Exit(Exit.REFUSED)
