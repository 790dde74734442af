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
    """The settings of an operator. Each field is read from the variable NEXUS_ and its name in capitals."""

    namespaces: tuple[str, ...] = setting((), names("namespaces"), "Namespaces to work in. Empty: all namespaces.")
    task_images: str = setting(
        "nexus/task-{type}:dev",
        template("{type}"),
        f"Image of tasks without `image`. `{{type}}` is replaced by {', '.join(images()[:-1])} or {images()[-1]}, "
        "and by store in containers that transfer data.",
    )
    task_image_digests: tuple[tuple[str, str], ...] = setting(
        (),
        digests(*images(), "store"),
        "Digests of these images. Pods then use the image with that digest, even if the tag has moved.",
    )
    # Who works.
    lease: str = setting(
        "", name(), "Name of the Lease that elects the active operator. Empty: no election, this operator is active."
    )
    lease_namespace: str = setting("", name(), "Namespace of the Lease. Empty: the operator's.")
    lease_seconds: int = setting(
        Terms().seconds,
        number(6, 600),
        "Time without a renewal of the Lease after which another operator takes over, in seconds.",
    )
    # What holds for every Workflow.
    max_parallel_tasks: int = setting(
        MOST_PARALLEL_TASKS,
        number(1, MOST_PARALLEL_TASKS),
        "Maximum number of live task pods of a run; an upper limit of `maxParallelTasks`.",
    )
    max_namespace_objects: int = setting(
        50_000,
        number(0, 10_000_000),
        "Approximate maximum number of objects of runs in a namespace (runs, Jobs, pods and outputs, those of ended "
        "runs included). Above it new runs are queued. 0: no limit.",
    )
    max_task_pods: int = setting(
        0, number(0, 100_000), "Maximum number of live task pods of all runs together; more are queued. 0: no limit."
    )
    retry_limit: int = setting(0, number(0, 100), "Default of `retry.limit`; not for `approval` and `wait` tasks.")
    history_succeeded: int = setting(
        HISTORY, number(0, 1_000), "Default of `history.succeeded`: number of succeeded runs to keep."
    )
    history_failed: int = setting(
        HISTORY,
        number(0, 1_000),
        "Default of `history.failed`: number of failed and cancelled runs to keep.",
    )
    ttl_seconds_after_finished: int | None = setting(
        None,
        number(0, TEN_YEARS),
        "Default of `ttlSecondsAfterFinished`: time after its end at which a run of a Workflow is deleted, in seconds. "
        "Empty: only `history` counts.",
    )
    pod_forbidden: frozenset[str] = setting(
        frozenset(),
        some_of("field", "pod", (*POD_FIELDS, *(f"volumes.{source}" for source in VOLUME_SOURCES.values()))),
        "Fields of `pod` and sources of volumes that no task may use, such as `serviceAccountName,volumes.csi`.",
    )
    pod_security: str = setting(
        "restricted",
        choice("restricted", "baseline"),
        "Pod Security Standard of task pods. baseline allows `pod.runAsUser: 0` (root).",
    )
    pools: str = setting(CONFIG_MAP, name(), "Name of the ConfigMap with the sizes of a namespace's pools.")
    output_store: OutputStore | None = setting(  # noqa: RUF009 - it makes a dataclasses.field, as the others
        None,
        store(),
        "Output store of workflows without a `url`. Its Secret and claim are those of each run's namespace.",
    )
    # How it works.
    workers: int = setting(16, number(1, 256), "Number of runs to reconcile at once.")
    expression_workers: int = setting(
        2,
        number(1, 16),
        "Number of processes that evaluate expressions; namespaces take turns. One more is started if a cheap "
        "evaluation would have to wait.",
    )
    sweep_seconds: int = setting(
        300,
        number(10, 86_400),
        "Interval at which all objects are listed again, in case the watches missed a change, in seconds.",
    )
    api_qps: int = setting(
        0,
        number(0, 10_000),
        "Maximum number of API calls per second, without watches and renewals of the Lease. 0: no limit (recommended: "
        "the API server's priority and fairness limits them better).",
    )
    api_burst: int = setting(
        0, number(0, 10_000), "Maximum number of API calls at once after a pause. 0: twice NEXUS_API_QPS."
    )
    # What it tells.
    http_port: int = setting(0, number(0, 65_535), "Port of /healthz, /readyz and /metrics. 0: no port.")
    metrics_workflows: int = setting(
        100,
        number(0, 10_000),
        "Maximum number of Workflows, and of namespaces, with metrics of their own. All others are `other`.",
    )
    metrics_tasks: int = setting(
        500, number(0, 100_000), "Maximum number of tasks and schedules with metrics of their own, of all Workflows."
    )
    log_format: str = setting("text", choice("text", "json"), "Format of the log. json: one object per line.")
    log_level: str = setting("INFO", choice("DEBUG", "INFO", "WARNING", "ERROR"), "Minimum level of log messages.")

    @property
    def defaults(self) -> OperatorDefaults:
        """Return the defaults of every Workflow."""
        return OperatorDefaults(
            retry_limit=self.retry_limit,
            max_parallel_tasks=self.max_parallel_tasks,
            history_succeeded=self.history_succeeded,
            history_failed=self.history_failed,
            ttl_seconds=self.ttl_seconds_after_finished,
        )


FIELDS = {variable(field.name): field for field in dataclasses.fields(Settings)}


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings of an environment. An empty variable counts as not set.

    Raises SettingsError for an invalid value, and for a variable whose name is close to that of a setting.
    """
    given = {
        name: text
        for name, text in environ.items()
        if name in FIELDS and text.strip() and not ADDRESS_OF_A_SERVICE.match(text)
    }
    words = [name.removeprefix(PREFIX) for name in FIELDS]
    for stranger in strangers(environ):
        close = closest(stranger.removeprefix(PREFIX), words, cutoff=0.8)
        if close:
            raise SettingsError(f"{stranger}: unknown setting; did you mean {PREFIX}{close[0]}?")
    return Settings(
        **{FIELDS[name].name: value(name, text, FIELDS[name].metadata["reader"]) for name, text in given.items()}
    )


def strangers(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that look like settings and are not, without those that Kubernetes sets for Services."""
    return sorted(
        name for name in environ if name.startswith(PREFIX) and name not in FIELDS and not OF_A_SERVICE.search(name)
    )
