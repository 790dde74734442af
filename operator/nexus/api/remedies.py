"""What each reason looks like in a status, and what to do about it: docs/reasons.md is made from this.

The reasons themselves (nexus.api.reasons) say what they mean. Every one of them has an entry here, under the heading
that the page has it under.
"""

from __future__ import annotations

from dataclasses import dataclass

from nexus.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Remedy:
    """An example of the message that comes with a reason, and what to do."""

    looks: str
    """A message as `nexus get` and the status have it; empty where the reason comes without one."""
    todo: str
    """What to do, in Markdown."""


NOTHING = "Nothing: it goes on by itself."

WAITING = {
    Reason.DEPENDENCIES: Remedy("waits for extract, price", NOTHING),
    Reason.PARALLELISM: Remedy(
        "10 tasks of the run are running (maxParallelTasks)",
        "Nothing, or raise `maxParallelTasks` of the workflow where the cluster has room.",
    ),
    Reason.RETRY_DELAY: Remedy(
        "the next attempt is due at 2026-11-23T09:00:40Z; the last failed: exit code 1",
        "Nothing yet. `nexus logs RUN TASK` shows what the last attempt wrote; `nexus cancel RUN` where it is "
        "hopeless.",
    ),
    Reason.SUSPENDED: Remedy(
        "the run is suspended: nothing new is started until spec.suspend is false (nexus resume sales-x7k2p)",
        "`nexus resume RUN`; where the message names the Workflow, set its `spec.suspend` to false.",
    ),
    Reason.AWAITING_APPROVAL: Remedy(
        "waiting for approval: nexus approve release-7dk2x go-ahead [--reject]: Release 1.4.2?",
        "Decide: `nexus approve RUN TASK`, or the same with `--reject`.",
    ),
    Reason.WAITING: Remedy("waits until 2026-11-23T10:00:00Z", NOTHING),
    Reason.CONCURRENCY: Remedy(
        "waits for run sales-x7k2p, which is under way; concurrency of Workflow sales is Queue",
        "Nothing, or look why the named run takes so long (`nexus get sales-x7k2p`), and cancel it if it is stuck.",
    ),
    Reason.POOL: Remedy(
        "pool warehouse has 2 slots, 2 are held: by sales-x7k2p/load, stock-9dk2x/load; number 1 in line",
        "Nothing, or look why the named runs take so long. `kubectl get configmap nexus-pool-POOL -o yaml` shows all "
        "who hold and all who wait; the pool's size stands in the ConfigMap `nexus-pools`. See [pools](pools.md).",
    ),
    Reason.POOL_MISSING: Remedy(
        'the ConfigMap nexus-pools has no pool warehouse: add warehouse: "5", or how many it is',
        "Write the size of the pool into the ConfigMap that the message names, or correct the name in the task.",
    ),
    Reason.CAPACITY: Remedy(
        "200 task pods are live, as many as this operator lets be (NEXUS_MAX_TASK_PODS)",
        "Nothing, or ask who runs the operator for more: `NEXUS_MAX_TASK_PODS` is its [setting](settings.md).",
    ),
    Reason.NAMESPACE_FULL: Remedy(
        "runs have about 50,100 objects in namespace shop, and new ones begin up to 50,000",
        "Delete ended runs that nobody needs, or give their Workflows a shorter `history` or "
        "`ttlSecondsAfterFinished`; what is over its stay goes by itself. The limit is `NEXUS_MAX_NAMESPACE_OBJECTS` "
        "in the [settings](settings.md) of the operator.",
    ),
    Reason.STARTING: Remedy(
        "the pod is being started",
        "Nothing for a while. If it lasts: `kubectl describe pod -l nexus.dev/run=RUN,nexus.dev/task=TASK`.",
    ),
    Reason.UNSCHEDULABLE: Remedy(
        "0/3 nodes are available: 3 Insufficient memory.",
        "Ask for less in `pod.resources`, loosen `pod.nodeSelector`, `affinity` or `tolerations`, or add nodes. "
        "`deadlineSeconds` ends "
        "the wait.",
    ),
    Reason.QUOTA_EXCEEDED: Remedy(
        'pods "…" is forbidden: exceeded quota: team, requested: requests.cpu=1, used: requests.cpu=4, limited: '
        "requests.cpu=4",
        "Wait until others have ended, lower `maxParallelTasks` or `pod.resources`, or have the ResourceQuota raised.",
    ),
    Reason.QUEUED: Remedy(
        "the Job is suspended, as by Kueue until there is room for it",
        "See whom it waits for: `kubectl get workloads` with Kueue. Without a queue, somebody suspended the Job "
        "by hand.",
    ),
    Reason.MISSING_RIGHTS: Remedy(
        "the operator lacks the right to create jobs.batch in namespace shop (RBAC); check the operator's Role and "
        "RoleBinding: jobs.batch is forbidden: …",
        "Compare the operator's Role or ClusterRole, and its binding, with the chart's; `kubectl auth can-i create "
        "jobs -n shop --as=system:serviceaccount:NAMESPACE:ACCOUNT` asks the same. It goes on within a minute of "
        "getting the right, and no attempt is lost.",
    ),
    Reason.WRITE_REFUSED: Remedy(
        'the API server refuses the ConfigMap: admission webhook "policy.example" denied the request: …',
        "Read what follows: an admission webhook or policy of the cluster refuses the object. Have it accept what the "
        "operator's account writes. The run then goes on within a minute.",
    ),
    Reason.NAMESPACE_TERMINATING: Remedy(
        "namespace shop is being deleted or gone; run it in another namespace: …",
        "Nothing, the run goes with its namespace. Start it in another one.",
    ),
    Reason.API_UNAVAILABLE: Remedy(
        "the API server could not create the Job: etcdserver: request timed out",
        "Nothing for a while: it is retried, and nothing is started twice. If it lasts, check the API server, the "
        "webhooks that it calls, and the network between it and the operator.",
    ),
    Reason.EVALUATOR_FAILED: Remedy(
        "the evaluator of expressions did not answer in time; retried",
        "Nothing for a while: this says nothing about the expression. If it lasts, give the operator more CPU or "
        "memory, and look at its log.",
    ),
}

STARTING = {
    Reason.IMAGE_PULL: Remedy(
        'Back-off pulling image "ghcr.io/acme/publish:1"',
        "Correct the image's name or tag; for a private registry name a Secret in `pod.imagePullSecrets`.",
    ),
    Reason.MISSING_CONFIG: Remedy(
        'secret "orders-api" not found',
        "Create the Secret, the ConfigMap or the key, in the run's namespace; or set `optional: true` on the "
        "reference. Within "
        "startTimeoutSeconds the task starts by itself once it is there.",
    ),
    Reason.POD_REFUSED: Remedy(
        'pods "…" is forbidden: violates PodSecurity "restricted:latest": …',
        "Change what the message names in the task's `pod`; or ask who runs the namespace about its admission rules.",
    ),
    Reason.START_TIMEOUT: Remedy(
        "not started within startTimeoutSeconds (300): the pod is being started",
        "Look at the node: `kubectl describe pod`. A large image may need a longer `startTimeoutSeconds`.",
    ),
    Reason.JOB_REFUSED: Remedy(
        'the API server refuses the Job: admission webhook "policy.example" denied the request: no root images; '
        "retried until 2026-11-23T09:05:00Z (startTimeoutSeconds)",
        "Read what follows: an admission rule of the cluster, or a value that Kubernetes does not take. Change the "
        "field it names, or the rule. A refused start does not count as an attempt.",
    ),
    Reason.CHILD_REFUSED: Remedy("the API server refuses the child run: …", "As with JobRefused."),
}

FAILED = {
    Reason.TASK_ERROR: Remedy(
        "KeyError: 'quantity' (line 2)",
        "Read `nexus logs RUN TASK`, fix the task, run again. For failures that pass by themselves set `retry`.",
    ),
    Reason.COMMAND_NOT_FOUND: Remedy(
        "exit code 127",
        "Name a command that the image has, or another image. Exit code 126 is a file that may not be executed "
        "by user 65532.",
    ),
    Reason.OUT_OF_MEMORY: Remedy(
        "the container was killed at its memory limit",
        "Raise `pod.resources.limits.memory`, or handle the data in parts.",
    ),
    Reason.EVICTED: Remedy(
        "the pod was disrupted (drain or preemption)",
        "Nothing: it is replaced and does not count, unless the task says `disruptions: Count`. Evictions for "
        "memory or disk count: "
        "request what the task needs in `pod.resources`.",
    ),
    Reason.TIMEOUT: Remedy(
        "the attempt took longer than timeoutSeconds (300)",
        "Raise the task's `timeoutSeconds`, or give it less to do.",
    ),
    Reason.DEADLINE_EXCEEDED: Remedy(
        "the run took longer than its deadlineSeconds (3600)",
        "See what took the time (`nexus get RUN` has the critical path) before you raise `deadlineSeconds`.",
    ),
    Reason.RUNS_AS_ROOT: Remedy(
        "pod.runAsUser: 0 is root, and this operator keeps pods to Pod Security restricted: give another "
        "number, or leave it out (65532)",
        "Use an image that runs as a numeric user other than 0. Where root it must be, the operator's setting "
        "and the namespace's Pod "
        "Security label both have to allow it ([pods](pods.md)).",
    ),
    Reason.POD_FIELD_FORBIDDEN: Remedy(
        "pod.serviceAccountName: this operator forbids it (NEXUS_POD_FORBIDDEN): remove it from the task and from "
        "defaults.pod, or ask who runs the operator",
        "Take the field out of the task and of `defaults.pod`, or ask who runs the operator.",
    ),
    Reason.OUTPUT_TOO_LARGE: Remedy(
        "the output is 700,000 bytes of JSON, the limit is 524,288: return less, or leave the data as an artifact "
        "(spec.outputStore)",
        "Return less, give the workflow an [output store](outputs-and-artifacts.md), or leave large data as an "
        "artifact. A container task with more than 4 KiB can be a bash task.",
    ),
    Reason.INVALID_OUTPUT: Remedy(
        'line 3 of $NEXUS_OUTPUT must be key=value, key:=json or key<<DELIMITER, got "line two"; write a string of '
        "several lines with: nexus_output KEY VALUE",
        "Write what [task code](task-code.md) says of the task's type: `output[...]`, `nexus_output KEY VALUE`, "
        "`key:=json`, a JSON object. In an artifact, copy files in place of links that lead out of it.",
    ),
    Reason.OUTPUT_LOST: Remedy(
        "the pod was gone before its output was recorded",
        "Nothing: the task runs again, free of charge. If it happens often, something deletes pods as soon as "
        "they have ended.",
    ),
    Reason.NO_OUTPUT_STORE: Remedy(
        "say in outputStore of the workflow where its artifacts are kept; the operator has no store for all",
        "Add [`outputStore`](outputs-and-artifacts.md) to the Workflow, or have the operator started with "
        "`NEXUS_OUTPUT_STORE`.",
    ),
    Reason.STORE_FAILED: Remedy(
        "the artifact model could not be stored (default/train-x7k2p/…/artifacts/model): InvalidAccessKeyId: The "
        "access key ID you provided does not exist in our records.",
        "Read the store's own words in the message: an address, credentials (the Secret `credentialsSecret`), a "
        "bucket, or room. `retry` on the task rides out a store that is down for a while.",
    ),
    Reason.ARTIFACT_MISSING: Remedy(
        "the artifact model was not written: write it to $ARTIFACT_MODEL, or make it optional",
        'Have the code write to the place it is told (`artifacts["model"]`, `$ARTIFACT_MODEL`), or say '
        "`optional: true` where it may be left out.",
    ),
    Reason.INPUT_TOO_LARGE: Remedy(
        "env.ORDERS is 200,000 bytes when rendered; Linux takes 131,072 for one argument or variable: "
        "use a python, bash or sql task, which gets its input as a file",
        "Do not render large outputs into fields: python and bash tasks have them in `input` and `$NEXUS_CONTEXT`.",
    ),
    Reason.INVALID_ITEMS: Remedy(
        "forEach.items is 3, which is no list: give a list, or an expression for one",
        "Correct the expression, or give each item several things to do where there are more than 1,000.",
    ),
    Reason.ITEMS_FAILED: Remedy(
        "2 of 100 items failed (17-18), at most 0 may (maxFailedItems); item 17: TaskError: exit code 1",
        "`nexus logs RUN TASK` shows the failed items. Allow some with `maxFailedItems`, or retry each with `retry`.",
    ),
    Reason.EXPRESSION_ERROR: Remedy(
        'when: there is no key "total": get(map, "total", default) gives a default instead',
        "Correct the expression; `get(map, key, default)` reads what may be missing. The limits are in "
        "[expressions](expressions.md).",
    ),
    Reason.REJECTED: Remedy(
        "rejected by ann at 2026-11-23T10:00:00Z: not on a Friday",
        "Ask who rejected it. Another decision is another run.",
    ),
    Reason.INVALID_WAIT: Remedy(
        'wait.until: invalid time "tomorrow"; write it as 2026-11-23T10:00:00Z',
        "Give `seconds` as a whole number, or `until` as a time with an offset, within a year.",
    ),
    Reason.JOB_DELETED: Remedy(
        "the Job sales-x7k2p-price-1-hfr2mxb7vv was deleted",
        "Find out who deletes Jobs (the audit log knows): people, a TTL, Argo CD's pruning. To stop a task, "
        "cancel its run.",
    ),
    Reason.POD_DELETED: Remedy("the pod was deleted while the task ran", "As with JobDeleted."),
    Reason.NAME_TAKEN: Remedy(
        "a Job sales-x7k2p-price-1-hfr2mxb7vv exists and belongs to another owner; delete or rename it",
        "Delete or rename the object in the message, and run again. The run of a tick is tried again by itself, until "
        "the next tick is due or `startingDeadlineSeconds` is over.",
    ),
    Reason.CONTENT_CHANGED: Remedy(
        "the ControllerRevision sales-84hm846rbm holds another definition: its SHA-256 is not 9f86d081884c…, somebody "
        "made or replaced it: start a new run",
        "Find out who writes ConfigMaps or ControllerRevisions in the namespace (the audit log knows), delete the "
        "object in the message, and start a new run. What was there was not used.",
    ),
    Reason.CHILD_FAILED: Remedy(
        "child run sales-x7k2p-eu-1-hfr2mxb7vv failed: task total failed",
        "Look into the child: `nexus get` with the name in the message.",
    ),
    Reason.CHILD_DELETED: Remedy("the child run … was deleted", "As with JobDeleted; to stop a child run, cancel it."),
    Reason.TOO_DEEP: Remedy(
        "this run is a child run 5 deep, and sales would be one more: do workflows call each other in a circle?",
        "Take the circle apart; `nexus lint` finds it where all the files are given.",
    ),
}

NOT_RUN = {
    Reason.REUSED: Remedy(
        "as in run sales-x7k2p",
        "Nothing. `nexus rerun RUN --from-task TASK` runs it again. See [reruns](reruns.md).",
    ),
    Reason.WHEN_FALSE: Remedy("when is false: ${{ tasks.price.output.total > 1000 }}", "Nothing, it was meant so."),
    Reason.DEPENDENCY_SKIPPED: Remedy(
        "load was skipped", "Nothing, or `triggerRule: NoneFailed` where the task shall run nevertheless."
    ),
    Reason.RULE_NOT_MET: Remedy(
        "triggerRule AnyFailed is not met: no dependency failed", "Nothing: what the task is there for did not happen."
    ),
    Reason.DEPENDENCY_FAILED: Remedy(
        "price failed or did not run",
        "See to the named task. [Conditions](conditions.md) has other rules than AllSucceeded.",
    ),
    Reason.FAIL_FAST: Remedy("task price failed and failurePolicy is FailFast", "See to the named task."),
    Reason.CANCELLED: Remedy("the run was cancelled", "Nothing: somebody wanted it. The audit log knows who."),
}

RUN = {
    Reason.TASK_FAILED: Remedy(
        "task price (and 1 more): exit code 3", "See to the named tasks: `nexus get RUN` says why each failed."
    ),
    Reason.WORKFLOW_NOT_FOUND: Remedy(
        "there is no Workflow sale in namespace default: did you mean sales?",
        "Correct `workflowRef.name`, or create the Workflow in the run's namespace; then make a new run.",
    ),
    Reason.WORKFLOW_INVALID: Remedy(
        "task load, dependsOn[0]: there is no task extrct: did you mean extract?",
        "Correct the Workflow; `nexus lint FILE` says the same with line and column, before it is applied.",
    ),
    Reason.PARAMS_INVALID: Remedy(
        "params.day: no value and no default: give one with --param day=... or in spec.params",
        "Make a new run with the params that the message asks for.",
    ),
    Reason.RERUN_REFUSED: Remedy(
        "rerunOf.tasks: there is no task prise: did you mean price?",
        "Do what the message says, or start a new run of the workflow. See [reruns](reruns.md).",
    ),
    Reason.STATUS_TOO_LARGE: Remedy(
        "the run's status does not fit into its object beside its spec; start a new run with smaller params",
        "An object of the API server holds 1.5 MiB, spec and status together. Pass smaller `params` (a reference "
        "instead of the data), or put the definition into a Workflow instead of `workflowSpec`, and start a new run.",
    ),
    Reason.UNREADABLE: Remedy(
        "spec is nested deeper than 100 levels; flatten it",
        "Make a new run with params that are flatter or smaller; hand large data over as a task's output. A run that "
        "had begun, before an upgrade, goes no further: delete it, and its tasks with it, or let them end.",
    ),
    Reason.FORGED: Remedy(
        "Job shop/load-2 claims to belong to this run and does not count: it has no name that the run gives",
        "Find out who made the object (the audit log of the API server) and delete it. The run goes on as if it were "
        "not there. See [security](security.md#which-objects-belong-to-a-run).",
    ),
}

WORKFLOW = {
    Reason.VALID: Remedy("", "Nothing."),
    Reason.ON_TIME: Remedy("", "Nothing."),
    Reason.TICK_MISSED: Remedy(
        "schedule nightly: 3 missed (3 later than startingDeadlineSeconds allows)",
        "Was an operator running then? `startingDeadlineSeconds` and `catchUp` say what becomes of late ticks; "
        "`nexus backfill` makes up "
        "for them.",
    ),
    Reason.TICK_DROPPED: Remedy(
        "schedule nightly, tick 2026-11-23T01:30Z: run sales-x7k2p has not ended, and concurrency is Forbid",
        "Make runs shorter or rarer, or let ticks wait: `concurrency: {policy: Queue}`.",
    ),
    Reason.RUN_REFUSED: Remedy(
        "run sales-nightly-29889690-… was not made: the API server refuses the WorkflowRun: …",
        "Read what follows: a quota for objects, an admission rule. It is tried again by itself.",
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
    """Return the reasons that have no entry here."""
    there = {reason for section in SECTIONS.values() for reason in section}
    return [reason for reason in Reason if reason not in there]
