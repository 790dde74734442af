"""Settings of the operator, from the environment. docs/settings.md is made from this list."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from nexus.api.pod import POD_FIELDS, VOLUME_SOURCES
from nexus.api.store import OutputStore
from nexus.app.output_store import store
from nexus.app.setting import (
    ADDRESS_OF_A_SERVICE,
    OF_A_SERVICE,
    PREFIX,
    SettingsError,
    choice,
    digests,
    name,
    names,
    number,
    setting,
    some_of,
    template,
    value,
    variable,
)
from nexus.core.lease import Terms
from nexus.core.model.operator_defaults import HISTORY, MOST_PARALLEL_TASKS, OperatorDefaults
from nexus.core.pools.size import CONFIG_MAP
from nexus.core.task_types import images
from nexus.core.text.similar_names import closest

TEN_YEARS = 315_360_000


@dataclass(frozen=True)
class Settings:
    """How an operator runs. Each field is set by NEXUS_ and its name in capitals."""

    namespaces: tuple[str, ...] = setting((), names("namespaces"), "The namespaces to work in. Empty: all of them.")
    task_images: str = setting(
        "nexus/task-{type}:dev",
        template("{type}"),
        "Images of tasks that name none; `{type}` becomes python, http, bash or sql, and store for what moves data.",
    )
    task_image_digests: tuple[tuple[str, str], ...] = setting(
        (),
        digests(*images(), "store"),
        "Digests of these images: pods then run what has that digest, whatever the tag means by now.",
    )
    # Who works.
    lease: str = setting(
        "", name(), "Name of the Lease that says which of several operators works. Empty: this one always does."
    )
    lease_namespace: str = setting("", name(), "Namespace of the Lease. Empty: the operator's own.")
    lease_seconds: int = setting(
        Terms().seconds,
        number(6, 600),
        "After so many seconds of silence of the operator that works, another one takes over.",
    )
    # What holds for every Workflow.
    max_parallel_tasks: int = setting(
        MOST_PARALLEL_TASKS,
        number(1, MOST_PARALLEL_TASKS),
        "Live task pods that a run may have, whatever its `maxParallelTasks` says.",
    )
    max_namespace_objects: int = setting(
        50_000,
        number(0, 10_000_000),
        "New runs wait where runs have more objects in their namespace, ended ones too: runs, Jobs, pods and outputs, "
        "about. 0: no limit.",
    )
    max_task_pods: int = setting(
        0, number(0, 100_000), "Live task pods of all runs together; what is beyond waits. 0: no limit."
    )
    retry_limit: int = setting(
        0, number(0, 100), "Retries of tasks whose `retry` has no `limit`; `approval` and `wait` aside."
    )
    history_succeeded: int = setting(
        HISTORY, number(0, 1_000), "Succeeded runs that are kept, where `history.succeeded` is not set."
    )
    history_failed: int = setting(
        HISTORY,
        number(0, 1_000),
        "Failed and cancelled runs that are kept, where `history.failed` is not set.",
    )
    ttl_seconds_after_finished: int | None = setting(
        None,
        number(0, TEN_YEARS),
        "After so many seconds an ended run of a Workflow is deleted, where `ttlSecondsAfterFinished` is not set. "
        "Empty: only `history` counts.",
    )
    pod_forbidden: frozenset[str] = setting(
        frozenset(),
        some_of("field", "pod", (*POD_FIELDS, *(f"volumes.{source}" for source in VOLUME_SOURCES.values()))),
        "What no task may ask of its pod: fields of `pod` and sources of volumes, as `serviceAccountName,volumes.csi`.",
    )
    pod_security: str = setting(
        "restricted", choice("restricted", "baseline"), "With baseline, `pod.runAsUser: 0` gives root."
    )
    pools: str = setting(
        CONFIG_MAP, name(), "Name of the ConfigMap in which each namespace has the sizes of its pools."
    )
    output_store: OutputStore | None = setting(  # noqa: RUF009 - it makes a dataclasses.field, as the others
        None,
        store(),
        "The store of workflows that name none; Secret and claim are those of each run's own namespace.",
    )
    # How it works.
    workers: int = setting(16, number(1, 256), "Runs that are worked on at once.")
    expression_workers: int = setting(
        2,
        number(1, 16),
        "Processes that evaluate expressions; namespaces take turns. One more starts when one that needs little would "
        "have to wait.",
    )
    sweep_seconds: int = setting(
        300, number(10, 86_400), "How often everything is listed anew, for what the watches have missed."
    )
    api_qps: int = setting(
        0,
        number(0, 10_000),
        "Calls of the API server a second, watches and renewals of the Lease aside. 0: no limit; the API server's own "
        "priority and fairness is the better one.",
    )
    api_burst: int = setting(0, number(0, 10_000), "Calls at once after a pause. 0: twice NEXUS_API_QPS.")
    # What it tells.
    http_port: int = setting(0, number(0, 65_535), "Port of /healthz, /readyz and /metrics. 0: none.")
    metrics_workflows: int = setting(
        100, number(0, 10_000), "Workflows, and as many namespaces, that metrics name; all further ones are `other`."
    )
    metrics_tasks: int = setting(
        500, number(0, 100_000), "Tasks and schedules that metrics name, of all Workflows together."
    )
    log_format: str = setting("text", choice("text", "json"), "With json, each line of the log is one object.")
    log_level: str = setting("INFO", choice("DEBUG", "INFO", "WARNING", "ERROR"), "What is logged.")

    @property
    def defaults(self) -> OperatorDefaults:
        """What holds for every Workflow."""
        return OperatorDefaults(
            retry_limit=self.retry_limit,
            max_parallel_tasks=self.max_parallel_tasks,
            history_succeeded=self.history_succeeded,
            history_failed=self.history_failed,
            ttl_seconds=self.ttl_seconds_after_finished,
        )


FIELDS = {variable(field.name): field for field in dataclasses.fields(Settings)}


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that the environment gives; what is empty counts as not set. Raises SettingsError."""
    given = {
        name: text
        for name, text in environ.items()
        if name in FIELDS and text.strip() and not ADDRESS_OF_A_SERVICE.match(text)
    }
    words = [name.removeprefix(PREFIX) for name in FIELDS]
    for stranger in strangers(environ):
        close = closest(stranger.removeprefix(PREFIX), words, cutoff=0.8)
        if close:
            raise SettingsError(f"{stranger}: there is no such setting: did you mean {PREFIX}{close[0]}?")
    return Settings(
        **{FIELDS[name].name: value(name, text, FIELDS[name].metadata["reader"]) for name, text in given.items()}
    )


def strangers(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none; those that Kubernetes makes of Services are not meant."""
    return sorted(
        name for name in environ if name.startswith(PREFIX) and name not in FIELDS and not OF_A_SERVICE.search(name)
    )
