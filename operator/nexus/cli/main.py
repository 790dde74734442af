"""The commands. Everything heavy is imported by the command that needs it: `nexus --help` answers at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nexus import __version__
from nexus.cli import offline
from nexus.cli.ending import Exit
from nexus.cli.options import (
    AsJson,
    Context,
    FromTask,
    Kubeconfig,
    Namespace,
    Output,
    Params,
    RerunOf,
    Run,
    RunOutput,
    Store,
    Workflow,
    end,
    end_in_cluster,
    live_shortly,
    refuse,
)
from nexus.cli.terminal import prepare, say, unwritten
from nexus.core.text.plain import one_line

if TYPE_CHECKING:
    from nexus.adapters.kube.client.api import KubeApi

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

schedules = typer.Typer(help="Look at schedules.", no_args_is_help=True)
app.add_typer(schedules, name="schedule")


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """DAG workflows on Kubernetes, and on this machine without one."""


@app.command()
def run(
    workflow: Annotated[str | None, typer.Argument(help="Name of a Workflow in the cluster.")] = None,
    file: Annotated[str | None, typer.Option("-f", "--file", help="Manifest to run with --local; - is stdin.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run the file on this machine, without a cluster.")] = False,
    param: Params = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME/KEY=SOURCE", help="With --local: a Secret's key, env:VARIABLE or file:PATH."),
    ] = None,
    approve: Annotated[
        list[str] | None, typer.Option(metavar="TASK", help="With --local: what to answer where it asks for approval.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(metavar="TASK", help="With --local: as --approve, the other way.")
    ] = None,
    store: Store = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Run as of this time: as that tick where a schedule has one then."),
    ] = None,
    rerun_of: RerunOf = None,
    from_task: FromTask = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run; leave with its exit status.")] = False,
    output: Annotated[RunOutput | None, typer.Option("-o", "--output", help="What to print of the run.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run a workflow: in the cluster by its name, or on this machine with -f FILE --local.

    Exit status: 0 Succeeded, 1 Failed or Cancelled, 2 refused before anything started, 130 after Ctrl-C.
    """
    wrong = _wrong_together(workflow, file, local=local, secret=bool(secret), named=output is RunOutput.NAME)
    if (approve or reject) and not local:
        wrong = wrong or "--approve and --reject are for --local; in the cluster nexus approve RUN TASK decides"
    if rerun_of and (at or not local):
        wrong = wrong or "--rerun-of is for --local, without --at; in the cluster it is nexus rerun RUN"
    if from_task and not rerun_of:
        wrong = wrong or "--from-task goes with --rerun-of"
    if store is not None and not local:
        wrong = wrong or "--store is for --local; in the cluster outputStore of the Workflow says where things are kept"
    if wrong:
        refuse(wrong)
    if local:
        from nexus.cli.local import Answers, run_local

        again = (rerun_of, from_task or []) if rerun_of else None
        answers = Answers(approve or [], reject or [], terminal=file != "-" and sys.stdin.isatty())
        kept, as_json = store and store.absolute(), output is RunOutput.JSON
        end(run_local(file or "", param or [], secret or [], answers, kept, at=at, again=again, as_json=as_json))

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import new_run

        return await new_run.run_workflow(api, space, workflow or "", param or [], at=at, output=output, watch=watch)

    end_in_cluster(work, namespace, context, kubeconfig)


def _wrong_together(workflow: str | None, file: str | None, *, local: bool, secret: bool, named: bool) -> str | None:
    """What cannot be meant, and what may have been."""
    if local and file is None:
        return "--local runs a file: nexus run -f FILE --local"
    if file is not None and workflow is not None:
        return "give a Workflow's name or -f FILE, not both"
    if file is not None and not local:
        return (
            f"-f runs a file on this machine: add --local; or put it into the cluster with kubectl apply -f {file}, "
            "and run it there with nexus run NAME"
        )
    if secret and not local:
        return "--secret is for --local; in the cluster tasks read its Secrets"
    if named and local:
        return "-o name is for runs in the cluster; a local run leaves nothing to refer to"
    if workflow is None and file is None:
        return "say what to run: nexus run WORKFLOW in the cluster, or nexus run -f FILE --local on this machine"
    return None


app.command()(offline.lint)
app.command()(offline.plan)
schedules.command("next")(offline.schedule_next)


@app.command()
def backfill(
    workflow: Annotated[str, typer.Argument(help="Name of a Workflow in the cluster.")],
    from_time: Annotated[str, typer.Option("--from", metavar="TIME", help="The first tick is at this time or after.")],
    to_time: Annotated[str, typer.Option("--to", metavar="TIME", help="The last tick is before this time.")],
    schedule: Annotated[str | None, typer.Option(help="Which schedule, where there are several.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=100, help="Runs that are under way at once.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the ticks, and which have a run.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Make the runs of a schedule's ticks in the past that have none, and wait for their ends.

    What stops it does no harm: the same command goes on with it.
    Exit status: 0 all succeeded, 1 some did not, 2 refused before anything was made.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import backfill as filling
        from nexus.cli import new_run

        source = await new_run.schedules_of(api, space, workflow)
        wanted = filling.asked(source, schedule, from_time, to_time, filling.now())
        return await filling.backfill(
            api, space, wanted, parallel, dry_run=dry_run, yes=yes, as_json=output is Output.JSON
        )

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def rerun(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run in the cluster that has ended.")],
    from_task: FromTask = None,
    param: Params = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run; leave with its exit status.")] = False,
    output: Annotated[RunOutput | None, typer.Option("-o", "--output", help="What to print of the run.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run again what did not succeed in a run, in a new run for the same time that uses the outputs of the rest.

    Exit status: 0 made (with --watch: Succeeded), 1 Failed or Cancelled, 2 refused before anything started.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import rerun as again

        asked = again.Asked(name, from_task or [], param or [])
        return await again.rerun(api, space, asked, output=output, watch=watch)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run; without it, all are listed.")] = None,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the runs in the cluster, or show one: its tasks, why they wait or failed, their outputs."""

    live_shortly()

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import cluster

        if name is None:
            return await cluster.list_runs(api, space, as_json=output is Output.JSON)
        return await cluster.show_run(api, space, name, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def why(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run in the cluster.")],
    task: Annotated[
        str | None, typer.Argument(help="One of its tasks; without it, those that hold the others up.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say why a run, or a task of it, waits or failed: where that comes from, what the cluster says, what to do."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli.why import print_why

        return await print_why(api, space, name, task)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def history(
    workflow: Workflow,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the versions of a Workflow that runs have executed: when they came up, for which runs, what changed."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import versions

        return await versions.print_history(api, space, workflow, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def diff(
    workflow: Workflow,
    old: Annotated[str, typer.Argument(metavar="REVISION", help="A revision's number, or a run of it.")],
    new: Annotated[
        str | None, typer.Argument(metavar="[REVISION]", help="Another one; default: the Workflow as it is now.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what changed between two versions of a Workflow, as a unified diff.

    Exit status: 0 nothing, 1 something, 2 refused.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import versions

        return await versions.print_diff(api, space, workflow, old, new)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run in the cluster.")],
    task: Annotated[str | None, typer.Argument(help="One of its tasks; without it, all of them.")] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the run, or the task, has ended.")
    ] = False,
    item: Annotated[int | None, typer.Option(min=0, help="Of a task with forEach only this item, from 0.")] = None,
    tail: Annotated[int | None, typer.Option(min=0, help="Only so many lines from the end of each log.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what the tasks of a run wrote."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli.logs import print_logs

        return await print_logs(api, space, name, task, item=item, following=follow, tail=tail)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def approve(
    name: Run,
    task: Annotated[str, typer.Argument(help="Its task that waits for approval.")],
    reject: Annotated[bool, typer.Option("--reject", help="Say no: the task fails.")] = False,
    comment: Annotated[str, typer.Option(help="Why, in words; kept with the decision.")] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Approve a task that waits for a person, or reject it. Who did it, and when, is recorded."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import control

        return await control.approve(api, space, name, task, reject=reject, comment=comment)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def cancel(
    name: Run,
    now: Annotated[bool, typer.Option("--now", help="Stop everything at once, finally too.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Cancel a run: its tasks are stopped, then its finally runs."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import control

        return await control.cancel(api, space, name, now=now)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def suspend(name: Run, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Suspend a run: what runs goes on to its end, nothing new is started. Deadlines go on counting."""
    _suspend(name, namespace, context, kubeconfig, resume=False)


@app.command()
def resume(name: Run, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Let a suspended run go on."""
    _suspend(name, namespace, context, kubeconfig, resume=True)


def _suspend(
    name: str, namespace: str | None, context: str | None, kubeconfig: str | None, *, resume: bool
) -> NoReturn:
    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import control

        return await control.suspend(api, space, name, resume=resume)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def operator(
    namespace: Annotated[
        list[str] | None,
        typer.Option("-n", "--namespace", help="A namespace to work in, may be given again; default: all of them."),
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the operator in this process, until SIGTERM or Ctrl-C. Settings come as NEXUS_* variables."""
    from nexus.cli.operator import serve

    end(lambda: serve(namespace or [], context=context, kubeconfig=kubeconfig, environ=os.environ))


@app.command()
def version() -> None:
    """Print the version."""
    say(f"nexus {__version__}")


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """The program with nothing but the command that is named; with all of them where the first word names none. typer
    reads the signature of each command that there is before it looks which one is meant: a fifth of `nexus get`."""
    if not arguments:
        return app
    commands = [each for each in app.registered_commands if each.callback and each.callback.__name__ == arguments[0]]
    groups = [each for each in app.registered_groups if each.name == arguments[0]]
    if not commands and not groups:
        return app
    one = copy(app)
    one.registered_commands, one.registered_groups = commands, groups
    return one


def main() -> None:
    """The program, under either of its names."""
    name = Path(sys.argv[0]).stem
    prepare()
    try:
        _app_for(sys.argv[1:])(prog_name="kubectl nexus" if name == "kubectl-nexus" else "nexus")
    except Exception as error:
        # The operator's end belongs into its log, whole.
        if os.environ.get("NEXUS_TRACEBACK") or sys.argv[1:2] == ["operator"]:
            raise
        internal = f"internal error: {type(error).__name__}: {str(error)[:500]}"
        words = unwritten(error)
        with suppress(OSError):  # standard error may be on the same full disk
            say(
                words or one_line(f"{internal}; set NEXUS_TRACEBACK=1 to see where, and report it"),
                to=sys.stderr,
                flush=True,
            )
        sys.exit(Exit.UNWRITTEN if words else Exit.INTERNAL)
    finally:
        gc.freeze()  # at its end Python searches all that was loaded for garbage: a sixth of a short command's time
