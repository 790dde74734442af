"""Remedies: an example message for each reason, and what to do about it. docs/reasons.md is generated from them.

The meaning of a reason is in nexus.api.reasons. Each reason has an entry here, under its heading on the page.
"""

from __future__ import annotations

from dataclasses import dataclass

from nexus.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Remedy:
    """An example of the message beside a reason, and what to do."""

    looks: str
    """A message as in `nexus get` and the status; empty if the reason has none."""
    todo: str
    """What to do, in Markdown."""


NOTHING = "Nothing: it continues by itself."

WAITING = {
    Reason.DEPENDENCIES: Remedy("waiting for extract, price", NOTHING),
    Reason.PARALLELISM: Remedy(
        "the limit of 10 running tasks of the run is reached (maxParallelTasks)",
        "Nothing, or raise `maxParallelTasks` of the workflow if the cluster has room.",
    ),
    Reason.RETRY_DELAY: Remedy(
        "waiting for the next attempt at 2026-11-23T09:00:40Z; the last one failed: exit code 1",
        "Nothing yet. `nexus logs RUN TASK` shows the output of the last attempt; `nexus cancel RUN` stops retrying.",
    ),
    Reason.SUSPENDED: Remedy(
        "the run is suspended; nothing new starts until spec.suspend is false (nexus resume sales-x7k2p)",
        "`nexus resume RUN`; if the message names the Workflow, set its `spec.suspend` to false.",
    ),
    Reason.AWAITING_APPROVAL: Remedy(
        "waiting for approval: nexus approve release-7dk2x go-ahead [--reject]: Release 1.4.2?",
        "`nexus approve RUN TASK`, or the same with `--reject`.",
    ),
    Reason.WAITING: Remedy("waiting until 2026-11-23T10:00:00Z", NOTHING),
    Reason.CONCURRENCY: Remedy(
        "waiting for run sales-x7k2p, which is in progress; concurrency of Workflow sales is Queue",
        "Nothing, or check the run that the message names (`nexus get RUN`), and cancel it if it is stuck.",
    ),
    Reason.POOL: Remedy(
        'waiting for a slot in pool "warehouse" (2 of 2 in use, 1st in queue); held by sales-x7k2p/load, '
        "stock-9dk2x/load",
        "Nothing, or check the runs that the message names. `kubectl get configmap nexus-pool-POOL -o yaml` lists all "
        "holders and the queue; the size of the pool is in the ConfigMap `nexus-pools`. See [pools](pools.md).",
    ),
    Reason.POOL_MISSING: Remedy(
        'unknown pool "warehouse" in ConfigMap nexus-pools; add warehouse: "5" or its number of slots',
        "Add the size of the pool to the ConfigMap that the message names, or correct the name in the task.",
    ),
    Reason.CAPACITY: Remedy(
        "the operator limit of 200 task pods is reached (NEXUS_MAX_TASK_PODS)",
        "Nothing, or raise the operator [setting](settings.md) `NEXUS_MAX_TASK_PODS`.",
    ),
    Reason.NAMESPACE_FULL: Remedy(
        "namespace shop exceeds the limit on objects of runs (about 50,100, limit 50,000, "
        "NEXUS_MAX_NAMESPACE_OBJECTS); "
        "delete ended runs, or keep fewer (history, ttlSecondsAfterFinished)",
        "Delete ended runs that are no longer needed, or lower `history` or `ttlSecondsAfterFinished` of their "
        "Workflows. The limit is the operator [setting](settings.md) `NEXUS_MAX_NAMESPACE_OBJECTS`.",
    ),
    Reason.STARTING: Remedy(
        "the pod is starting",
        "Nothing at first. If it lasts: `kubectl describe pod -l nexus.dev/run=RUN,nexus.dev/task=TASK`.",
    ),
    Reason.UNSCHEDULABLE: Remedy(
        "0/3 nodes are available: 3 Insufficient memory.",
        "Ask for less in `pod.resources`, loosen `pod.nodeSelector`, `affinity` or `tolerations`, or add nodes. "
        "`deadlineSeconds` limits the wait.",
    ),
    Reason.QUOTA_EXCEEDED: Remedy(
        'pods "…" is forbidden: exceeded quota: team, requested: requests.cpu=1, used: requests.cpu=4, limited: '
        "requests.cpu=4",
        "Wait until other pods have ended, lower `maxParallelTasks` or `pod.resources`, or have the ResourceQuota "
        "raised.",
    ),
    Reason.QUEUED: Remedy(
        "the Job is suspended (for example by Kueue, until its quota has room)",
        "With Kueue, `kubectl get workloads` shows the queue. Without it, the Job was suspended by hand or by another "
        "controller: set its `spec.suspend` to false.",
    ),
    Reason.MISSING_RIGHTS: Remedy(
        "the operator is not allowed to create jobs.batch in namespace shop (RBAC); check the operator's Role and "
        "RoleBinding: jobs.batch is forbidden: …",
        "Compare the operator's Role or ClusterRole, and its binding, with the chart's; `kubectl auth can-i create "
        "jobs -n shop --as=system:serviceaccount:NAMESPACE:ACCOUNT` checks it. The run continues within a minute of "
        "the permission being granted, and no attempt is lost.",
    ),
    Reason.WRITE_REFUSED: Remedy(
        'the API server refuses the ConfigMap: admission webhook "policy.example" denied the request: …',
        "Read the end of the message. A webhook or policy of the cluster: change it to accept what the operator's "
        "service account writes. A policy of the chart (its name starts with the release's): the object breaks one of "
        "the [rules](security.md) that it enforces, or was not written by the operator; correct the run, or "
        "`helm upgrade` if chart and operator have different versions. The API server's own validation: correct the "
        "field that it names. The run continues within a minute of being accepted.",
    ),
    Reason.NAMESPACE_TERMINATING: Remedy(
        "namespace shop is being deleted or gone; run it in another namespace: …",
        "Nothing: the run is deleted with its namespace. Start it in another one.",
    ),
    Reason.API_UNAVAILABLE: Remedy(
        "the API server could not create the Job: etcdserver: request timed out",
        "Nothing at first: the write is retried, and nothing is started twice. If it lasts, check the API server, the "
        "webhooks that it calls, and the network between it and the operator.",
    ),
    Reason.EVALUATOR_FAILED: Remedy(
        "the evaluator of expressions did not answer in time; retried",
        "Nothing at first: the expression may be valid. If it lasts, give the operator more CPU or memory, and check "
        "its log.",
    ),
}

STARTING = {
    Reason.IMAGE_PULL: Remedy(
        'Back-off pulling image "ghcr.io/acme/publish:1"',
        "Correct the image name or tag; for a private registry add a Secret to `pod.imagePullSecrets`.",
    ),
    Reason.MISSING_CONFIG: Remedy(
        'secret "orders-api" not found',
        "Create the Secret, the ConfigMap or the key, in the run's namespace; or set `optional: true` on the "
        "reference. Within startTimeoutSeconds the task starts by itself once it exists.",
    ),
    Reason.POD_REFUSED: Remedy(
        'pods "…" is forbidden: violates PodSecurity "restricted:latest": …',
        "Change the field of the task's `pod` that the message names; or ask the owner of the namespace about its "
        "admission "
        "policies.",
    ),
    Reason.START_TIMEOUT: Remedy(
        "the container did not start within startTimeoutSeconds (300): the pod is starting",
        "Check the pod and its node: `kubectl describe pod`. A large image may need a longer `startTimeoutSeconds`.",
    ),
    Reason.JOB_REFUSED: Remedy(
        'the API server refuses the Job: admission webhook "policy.example" denied the request: no root images; '
        "retried until 2026-11-23T09:05:00Z (startTimeoutSeconds)",
        "Read the end of the message: an admission webhook or policy of the cluster, or a value that Kubernetes does "
        "not accept. Change the field it names, or the policy. A refused start does not count as an attempt.",
    ),
    Reason.CHILD_REFUSED: Remedy(
        'the API server refuses the WorkflowRun: admission webhook "policy.example" denied the request: …; retried '
        "until 2026-11-23T09:05:00Z (startTimeoutSeconds)",
        "Read the end of the message: an admission webhook or policy of the cluster, or a value that Kubernetes does "
        "not accept. Change the params it names, or the policy. A refused start does not count as an attempt.",
    ),
}

FAILED = {
    Reason.TASK_ERROR: Remedy(
        "KeyError: 'quantity' (line 2)",
        "Read `nexus logs RUN TASK` and fix the task; set `retry` for transient failures.",
    ),
    Reason.COMMAND_NOT_FOUND: Remedy(
        "exit code 127",
        "Correct the command or the image. Exit code 126: the file is not executable by user 65532.",
    ),
    Reason.OUT_OF_MEMORY: Remedy(
        "the container exceeded its memory limit and was killed",
        "Raise `pod.resources.limits.memory`, or process the data in parts.",
    ),
    Reason.EVICTED: Remedy(
        "the pod was disrupted (drain or preemption)",
        "Nothing: the pod is replaced, and the attempt does not count unless `retry.disruptions` is Count. Evictions "
        "for "
        "memory or disk count: request what the task needs in `pod.resources`.",
    ),
    Reason.TIMEOUT: Remedy(
        "the attempt exceeded timeoutSeconds (300)",
        "Raise `timeoutSeconds` of the task, or reduce its work.",
    ),
    Reason.DEADLINE_EXCEEDED: Remedy(
        "the run exceeded deadlineSeconds (3600)",
        "Check what took the time (`nexus get RUN` has the critical path) before you raise `deadlineSeconds`.",
    ),
    Reason.RUNS_AS_ROOT: Remedy(
        "pod.runAsUser: 0 is root, and this operator keeps pods to Pod Security restricted: give another "
        "number, or leave it out (65532)",
        "Use an image that runs as a numeric user other than 0. If it must be root, the operator setting and the Pod "
        "Security label of the namespace must both allow it ([pods](pods.md)).",
    ),
    Reason.POD_FIELD_FORBIDDEN: Remedy(
        "pod.serviceAccountName: this operator forbids it (NEXUS_POD_FORBIDDEN): remove it from the task and from "
        "defaults.pod, or ask who runs the operator",
        "Remove the field from the task and from `defaults.pod`, or ask the administrator of the operator.",
    ),
    Reason.OUTPUT_TOO_LARGE: Remedy(
        "the output exceeds the limit (700,000 bytes of JSON, limit 524,288); return less, or write the data to an "
        "artifact (spec.outputStore)",
        "Return less, configure an [output store](outputs-and-artifacts.md), or write large data to an artifact. Use a "
        "bash task in place of a container task for more than 4 KiB.",
    ),
    Reason.INVALID_OUTPUT: Remedy(
        'line 3 of $NEXUS_OUTPUT must be key=value, key:=json or key<<DELIMITER, got "line two"; write a string of '
        "several lines with: nexus_output KEY VALUE",
        "Write the output in the form of the task type ([task code](task-code.md)): `output[...]`, "
        "`nexus_output KEY VALUE`, `key:=json`, a JSON object. In an artifact, replace links that lead out of it by "
        "copies of the files.",
    ),
    Reason.OUTPUT_LOST: Remedy(
        "the pod was removed before its output was recorded",
        "Nothing: the task runs again, and the attempt does not count. If it happens often, find out what deletes pods "
        "as soon as they have ended.",
    ),
    Reason.NO_OUTPUT_STORE: Remedy(
        "no output store for the artifacts; set outputStore in the workflow (the operator has no default store)",
        "Add [`outputStore`](outputs-and-artifacts.md) to the Workflow, or set `NEXUS_OUTPUT_STORE` in the operator.",
    ),
    Reason.STORE_FAILED: Remedy(
        "the artifact model could not be stored (default/train-x7k2p/…/artifacts/model): InvalidAccessKeyId: The "
        "access key ID you provided does not exist in our records.",
        "Read the error of the store in the message: address, credentials (the Secret `credentialsSecret`), bucket, or "
        "free space. Set `retry` on the task for temporary failures of the store.",
    ),
    Reason.ARTIFACT_MISSING: Remedy(
        "the artifact model was not written; write it to $ARTIFACT_MODEL, or make it optional",
        'Write the artifact to its path (`artifacts["model"]`, `$ARTIFACT_MODEL`), or set `optional: true`.',
    ),
    Reason.INPUT_TOO_LARGE: Remedy(
        "env.ORDERS is 200,000 bytes when rendered; Linux allows 131,072 for one argument or variable; "
        "use a python, bash or sql task, which gets its input as a file",
        "Do not render large outputs into fields: read them from `input` (python) or `$NEXUS_CONTEXT` (bash).",
    ),
    Reason.INVALID_ITEMS: Remedy(
        "forEach.items must be a list, got 3; write a list, or an expression that returns one",
        "Correct the expression; if there are more than 1,000 items, group several into one.",
    ),
    Reason.ITEMS_FAILED: Remedy(
        "2 of 100 items failed (17-18), which exceeds maxFailedItems (0); item 17: TaskError: exit code 1",
        "`nexus logs RUN TASK` shows the failed items. Allow some with `maxFailedItems`, or retry each with `retry`.",
    ),
    Reason.EXPRESSION_ERROR: Remedy(
        'when: missing key "total"; get(map, "total", default) gives a default instead',
        "Correct the expression; `get(map, key, default)` reads what may be missing. The limits are in "
        "[expressions](expressions.md).",
    ),
    Reason.REJECTED: Remedy(
        "rejected by ann at 2026-11-23T10:00:00Z: not on a Friday",
        "Ask the person who rejected it. After a timeout, or for another decision, start a new run.",
    ),
    Reason.INVALID_WAIT: Remedy(
        'wait.until: invalid time "tomorrow"; write it as 2026-11-23T10:00:00Z',
        "Set `seconds` to an integer, or `until` to a time with a UTC offset, at most a year away.",
    ),
    Reason.JOB_DELETED: Remedy(
        "the Job sales-x7k2p-price-1-hfr2mxb7vv was deleted",
        "Find out what deletes Jobs: the audit log of the API server has the user; often a person, a TTL or Argo CD's "
        "pruning. To stop a task, cancel its run.",
    ),
    Reason.POD_DELETED: Remedy(
        "the pod was deleted while the task ran",
        "Find out what deletes pods: the audit log of the API server has the user; often a person (`kubectl delete "
        "pod`), a node that was removed, or a cleanup job. Set `retry` to run the task again. To stop a task, cancel "
        "its run.",
    ),
    Reason.NAME_TAKEN: Remedy(
        "a Job sales-x7k2p-price-1-hfr2mxb7vv exists and belongs to another owner; delete or rename it",
        "Delete or rename the object in the message, and run again. The run of a tick is retried by itself, until the "
        "next tick is due or `startingDeadlineSeconds` is over.",
    ),
    Reason.CONTENT_CHANGED: Remedy(
        "ControllerRevision sales-84hm846rbm has another definition (its SHA-256 is not 9f86d081884c…); it was "
        "created or "
        "replaced by another client; start a new run",
        "Find out what writes ConfigMaps or ControllerRevisions in the namespace (the audit log of the API server has "
        "the user), delete the object in the message, and start a new run. The changed content was not used.",
    ),
    Reason.CHILD_FAILED: Remedy(
        "child run sales-x7k2p-eu-1-hfr2mxb7vv failed: task total failed",
        "Check the child run: `nexus why` with the name in the message.",
    ),
    Reason.CHILD_DELETED: Remedy(
        "the child run sales-x7k2p-eu-1-hfr2mxb7vv was deleted",
        "Find out what deletes WorkflowRuns: the audit log of the API server has the user. To stop a child run, "
        "cancel it.",
    ),
    Reason.TOO_DEEP: Remedy(
        "sales-x7k2p-eu-1-hfr2mxb7vv is at child run depth 5, the maximum, and calls sales; check for a cycle of "
        "workflow calls",
        "Remove the cycle; `nexus lint` finds it if you pass all the files.",
    ),
}

NOT_RUN = {
    Reason.REUSED: Remedy(
        "reused from run sales-x7k2p",
        "Nothing. `nexus rerun RUN --from-task TASK` runs it again. See [reruns](reruns.md).",
    ),
    Reason.WHEN_FALSE: Remedy("when is false: ${{ tasks.price.output.total > 1000 }}", "Nothing, if that is intended."),
    Reason.DEPENDENCY_SKIPPED: Remedy(
        "load was skipped", "Nothing, or set `triggerRule: NoneFailed` to run the task anyway."
    ),
    Reason.RULE_NOT_MET: Remedy(
        "triggerRule AnyFailed is not met: no dependency failed",
        "Nothing: the case that the task is for did not occur.",
    ),
    Reason.DEPENDENCY_FAILED: Remedy(
        "price failed or did not run",
        "Fix the task that the message names. [Conditions](conditions.md) has other rules than AllSucceeded.",
    ),
    Reason.FAIL_FAST: Remedy("task price failed and failurePolicy is FailFast", "Fix the task that the message names."),
    Reason.CANCELLED: Remedy(
        "the run was cancelled", "Nothing: it was requested. The audit log of the API server has the user."
    ),
}

RUN = {
    Reason.TASK_FAILED: Remedy(
        "task price (and 1 more): exit code 3", "Fix the failed tasks: `nexus get RUN` shows why each failed."
    ),
    Reason.WORKFLOW_NOT_FOUND: Remedy(
        'Workflow "sale" not found in namespace default; did you mean "sales"?',
        "Correct `workflowRef.name`, or create the Workflow in the namespace of the run; then start a new run.",
    ),
    Reason.WORKFLOW_INVALID: Remedy(
        'task load, dependsOn[0]: unknown task "extrct"; did you mean "extract"?',
        "Correct the Workflow; `nexus lint FILE` shows the same errors with line and column before it is applied.",
    ),
    Reason.PARAMS_INVALID: Remedy(
        "params.day: missing value, and no default; give one with --param day=... or in spec.params",
        "Start a new run with the params that the message asks for.",
    ),
    Reason.RERUN_REFUSED: Remedy(
        'rerunOf.tasks: unknown task "prise"; did you mean "price"?',
        "Follow the message, or start a new run of the workflow. See [reruns](reruns.md).",
    ),
    Reason.STATUS_TOO_LARGE: Remedy(
        "the run's status does not fit into its object beside its spec; start a new run with smaller params",
        "The API server limits an object to 1.5 MiB, spec and status together. Pass smaller `params` (a reference "
        "instead of the data), or move the definition from `workflowSpec` to a Workflow, and start a new run.",
    ),
    Reason.UNREADABLE: Remedy(
        "spec is nested deeper than 100 levels; flatten it",
        "Start a new run with params that are flatter or smaller; pass large data through a task's output. A run that "
        "had started before an upgrade does not continue: delete it, and its tasks with it, or let them end.",
    ),
    Reason.FORGED: Remedy(
        "Job shop/load-2 claims to belong to this run and is ignored: it does not have a name that the run generates",
        "Find out who created the object (the audit log of the API server has the user) and delete it. The run ignores "
        "it. See [security](security.md#which-objects-belong-to-a-run).",
    ),
}

WORKFLOW = {
    Reason.VALID: Remedy("", "Nothing."),
    Reason.ON_TIME: Remedy("", "Nothing."),
    Reason.TICK_MISSED: Remedy(
        "schedule nightly: 3 missed (3 later than startingDeadlineSeconds allows)",
        "Check if an operator was running at that time. `startingDeadlineSeconds` and `catchUp` control late ticks; "
        "`nexus backfill` creates the missed runs.",
    ),
    Reason.TICK_DROPPED: Remedy(
        "schedule nightly, tick 2026-11-23T01:30Z: run sales-x7k2p has not ended, and concurrency is Forbid",
        "Shorten the runs or the schedule, or queue the ticks: `concurrency: {policy: Queue}`.",
    ),
    Reason.RUN_REFUSED: Remedy(
        "run sales-nightly-29889690-… was not created: the API server refuses the WorkflowRun: …",
        "Read the end of the message: an object quota, or an admission webhook or policy. It is retried by itself.",
    ),
}

SECTIONS: dict[str, dict[Reason, Remedy]] = {
    "Waiting": WAITING,
    "Waiting to start; Failed after startTimeoutSeconds": STARTING,
    "Failed": FAILED,
    "Skipped, Omitted and Cancelled": NOT_RUN,
    "Of a run": RUN,
    "Of the conditions and Events of a Workflow": WORKFLOW,
}
"""Headings of the page, with the reasons below each."""


def remedy(reason: Reason) -> Remedy:
    """Return the entry of a reason."""
    return next(section[reason] for section in SECTIONS.values() if reason in section)


def without_remedy() -> list[Reason]:
    """Return the reasons that have no remedy yet."""
    there = {reason for section in SECTIONS.values() for reason in section}
    return [reason for reason in Reason if reason not in there]
