"""The commands. Each imports what it needs by itself: `nexus --help` answers at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nexus import __version__
from nexus.cli import offline
from nexus.cli.ending import Exit
from nexus.cli.options import (
    Approve,
    AsJson,
    At,
    Category,
    Context,
    FromTask,
    Kubeconfig,
    Limit,
    Namespace,
    OfWorkflow,
    Output,
    Params,
    Reject,
    RerunOf,
    Run,
    RunForm,
    RunOutput,
    RunStatus,
    Secrets,
    Since,
    Sort,
    Store,
    Tags,
    Watch,
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

schedules = typer.Typer(help="Show schedules.", no_args_is_help=True)
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
    """Run DAG workflows on Kubernetes, or on this machine without a cluster."""


@app.command()
def run(
    workflow: Annotated[
        str | None, typer.Argument(metavar="WORKFLOW", help="Name of a Workflow in the cluster.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("-f", "--file", metavar="FILE", help="Manifest to run with --local; - for stdin.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Run FILE on this machine, without a cluster.")] = False,
    param: Params = None,
    secret: Secrets = None,
    approve: Approve = None,
    reject: Reject = None,
    store: Store = None,
    at: At = None,
    rerun_of: RerunOf = None,
    from_task: FromTask = None,
    watch: Watch = False,
    output: RunForm = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run a workflow in the cluster, or a file locally.

    In the cluster: nexus run WORKFLOW. On this machine: nexus run -f FILE --local.

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
    """Return why the arguments exclude each other, and what to write instead; None if they do not."""
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
    workflow: Workflow,
    from_time: Annotated[str, typer.Option("--from", metavar="TIME", help="Earliest time of a tick, inclusive.")],
    to_time: Annotated[str, typer.Option("--to", metavar="TIME", help="Latest time of a tick, exclusive.")],
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the schedule. Required if there are several.")
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=1, max=100, metavar="NUMBER", help="Maximum number of runs at once, 1 to 100.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the ticks and their runs, create none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Create the missing runs of a schedule's past ticks.

    Waits until all of them have ended. If interrupted, the same command continues where it stopped.

    Exit status: 0 all succeeded, 1 some did not, 2 refused before any run was created.
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
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run that has ended.")],
    from_task: FromTask = None,
    param: Params = None,
    watch: Watch = False,
    output: RunForm = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the tasks again that did not succeed in a run.

    Creates a new run for the same time, which reuses the outputs of all other tasks.

    Exit status: 0 created (with --watch: Succeeded), 1 Failed or Cancelled, 2 refused before anything started.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import rerun as again

        asked = again.Asked(name, from_task or [], param or [])
        return await again.rerun(api, space, asked, output=output, watch=watch)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(metavar="RUN", help="Name of a run. Default: list all runs.")] = None,
    status: RunStatus = None,
    workflow: OfWorkflow = None,
    category: Category = None,
    tag: Tags = None,
    since: Since = None,
    limit: Limit = None,
    sort: Sort = None,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List runs, or show one run.

    A run is listed if it fits every filter. Of one run: its tasks, why they are waiting or failed, and their outputs.
    """

    live_shortly()
    if name is not None and (status or tag or {workflow, category, since, limit, sort} != {None}):
        refuse("filters apply to the list of runs; drop them, or the name of the run")

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import cluster, listing

        if name is None:
            now = datetime.now(UTC)
            wanted = listing.filters(now, status, category, tag, workflow, since, limit, sort)
            return await cluster.list_runs(api, space, as_json=output is Output.JSON, wanted=wanted)
        return await cluster.show_run(api, space, name, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def why(
    name: Run,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Name of a task. Default: the tasks that block others.")
    ] = None,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Explain why a run or a task is waiting or failed.

    Prints the cause, what the cluster reports, and what to do.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli.why import print_why

        return await print_why(api, space, name, task, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def history(
    workflow: Workflow,
    output: AsJson = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the versions of a Workflow that runs have used.

    Of each version: when it was first used, its runs, and what changed.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import versions

        return await versions.print_history(api, space, workflow, as_json=output is Output.JSON)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def diff(
    workflow: Workflow,
    old: Annotated[str, typer.Argument(metavar="REVISION", help="Number of a revision, or name of a run.")],
    new: Annotated[
        str | None,
        typer.Argument(metavar="REVISION", help="Revision to compare with. Default: the current Workflow."),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show changes between versions of a Workflow.

    Prints a unified diff. Exit status: 0 no changes, 1 changes, 2 refused.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import versions

        return await versions.print_diff(api, space, workflow, old, new)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def logs(
    name: Run,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Name of a task. Default: all tasks.")] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Follow until the run, or the task, has ended.")
    ] = False,
    item: Annotated[
        int | None, typer.Option(min=0, metavar="INDEX", help="Index of one item of a fan-out task, from 0.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="LINES", help="Number of lines to show from the end of each log.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print the logs of a run's tasks."""

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli.logs import print_logs

        return await print_logs(api, space, name, task, item=item, following=follow, tail=tail)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def approve(
    name: Run,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name of an approval task that is waiting.")],
    reject: Annotated[bool, typer.Option("--reject", help="Reject: the task fails.")] = False,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Comment to record with the decision.")] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Approve or reject an approval task.

    The user and the time are recorded in the run.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import control

        return await control.approve(api, space, name, task, reject=reject, comment=comment)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def cancel(
    name: Run,
    now: Annotated[bool, typer.Option("--now", help="Stop everything at once, finally tasks included.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Cancel a run.

    Its tasks are stopped, then its finally tasks run.
    """

    async def work(api: KubeApi, space: str) -> Exit:
        from nexus.cli import control

        return await control.cancel(api, space, name, now=now)

    end_in_cluster(work, namespace, context, kubeconfig)


@app.command()
def suspend(name: Run, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Suspend a run.

    Running tasks continue to their end, no task is started. Deadlines keep counting.
    """
    _suspend(name, namespace, context, kubeconfig, resume=False)


@app.command()
def resume(name: Run, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Resume a suspended run."""
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
        typer.Option(
            "-n", "--namespace", metavar="NAME", help="Namespace to work in. Repeatable. Default: all namespaces."
        ),
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the operator in this process.

    It ends on SIGTERM or Ctrl-C. Settings are read from NEXUS_* variables: see docs/settings.md.
    """
    from nexus.cli.operator import serve

    end(lambda: serve(namespace or [], context=context, kubeconfig=kubeconfig, environ=os.environ))


@app.command()
def version() -> None:
    """Print the version."""
    say(f"nexus {__version__}")


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the program with the named command alone, or with all if the first argument names none. typer reads the
    signatures of all commands before it looks for the one to run: a fifth of `nexus get`."""
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
    """Run the program, under either of its names."""
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
