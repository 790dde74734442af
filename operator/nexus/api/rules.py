"""The CEL rules that the API server holds against Workflows and WorkflowRuns: what to refuse, what to tell the user.

Each rule is here once, with its message; the CRDs take it from here, and offline checks may repeat the message.

Two limits of Kubernetes shape the expressions (apiserver `pkg/apis/cel/limits.go`, v1.34):
- the cost of a rule is estimated from the bounds of the schema when the CRD is installed, at most 10,000,000 each and
  100,000,000 together;
- all rules together may cost 10,000,000 on one object. `sets.contains` passes the first and fails the second on real
  objects; maps made with `transformMapEntry` hold both at 500 tasks with 100 dependencies each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from nexus.api.run import WorkflowRunSpec
from nexus.api.tasks import FIELDS_OF_PODS, MODELS, PODLESS, TASK_TYPES

NAME_LIMIT = 63
"""Characters in the name of a Workflow or WorkflowRun: the length of a label's value, which both become."""

RuleReason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


@dataclass(frozen=True)
class Rule:
    """One entry of `x-kubernetes-validations`."""

    expression: str
    """CEL over `self` (and, for a rule on changes, `oldSelf`); false refuses the object."""
    message: str
    """What is wrong and what to do. Also printed where the expression itself fails."""
    naming: str | None = None
    """CEL that gives a more exact message, with names of the culprits; the API server falls back to `message`."""
    field: str | None = None
    """The field that the error points at, as `.dependsOn`; by default the place of the rule."""
    reason: RuleReason = "FieldValueInvalid"
    """The machine-readable cause in the API server's answer."""

    def to_json(self) -> dict[str, Any]:
        """Return the rule as a CRD's schema has it."""
        entry: dict[str, Any] = {"rule": self.expression, "message": self.message, "reason": self.reason}
        if self.naming is not None:
            entry["messageExpression"] = self.naming
        if self.field is not None:
            entry["fieldPath"] = self.field
        return entry


def _exactly_one(fields: tuple[str, ...], naming: str | None = None) -> Rule:
    present = ", ".join(f"has(self.{field})" for field in fields)
    return Rule(f"[{present}].exists_one(x, x)", f"set exactly one of {_words(fields)}", naming)


def _words(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _no_expression(what: str, instead: str) -> Rule:
    return Rule(
        "!self.contains('${{')",
        f"${{{{ }}}} is not allowed in {what}, a value would become code; {instead}",
        reason="FieldValueForbidden",
    )


def _one_whole_expression(field: str, example: str) -> Rule:
    # A second ${{ after a }} is a second expression, unless a quote between them makes it text: `${{ x == "${{" }}`.
    # CEL's grammar is beyond a rule; what slips through is found by Ready and `nexus lint`.
    return Rule(
        r"""self.startsWith('${{') && self.endsWith('}}') && !self.matches('}}[^"\']*[$][{][{]')""",
        f"{field} must be one whole expression; for instance ${{{{ {example} }}}}",
    )


def unique(what: str, value: str) -> Rule:
    """Return the rule on a list that no two entries are the same in `value`, a CEL expression over the entry `x`.

    A second insert of a key fails the expression, and then the API server prints the key and the message.
    """
    return Rule(
        f"[self.transformMapEntry(i, x, {{{value}: true}})].all(m, m.size() == self.size())",
        f"duplicate name in {what}",
        reason="FieldValueDuplicate",
    )


ONE_TASK_TYPE = _exactly_one(
    TASK_TYPES,
    naming=f"'task \"' + self.name + '\": set exactly one of {_words(TASK_TYPES)}'",
)
NO_SELF_DEPENDENCY = Rule(
    "!has(self.dependsOn) || !(self.name in self.dependsOn)",
    "a task cannot depend on itself",
    naming="'task \"' + self.name + '\": a task cannot depend on itself'",
    field=".dependsOn",
)
TRIGGER_RULE_NEEDS_DEPENDENCIES = Rule(
    "!has(self.triggerRule) || (has(self.dependsOn) && self.dependsOn.size() > 0)",
    "triggerRule has no effect without dependsOn; remove it",
    field=".triggerRule",
    reason="FieldValueForbidden",
)
_NAMES = "[self.transformMapEntry(i, x, {x.name: true})]"
# Without naming the culprit: that expression is over the budget by a factor of 100. `nexus lint` and Ready name it.
KNOWN_DEPENDENCIES = Rule(
    f"{_NAMES}.all(n, self.all(t, !has(t.dependsOn) || t.dependsOn.all(d, d in n)))",
    "unknown task in dependsOn; use names of tasks in this list",
)
FINALLY_NAMES = Rule(
    "!has(self.finally) || [self.tasks.transformMapEntry(i, x, {x.name: true})]"
    ".all(n, self.finally.all(t, !(t.name in n)))",
    "duplicate task name; names in tasks and finally must be unique together",
    field=".finally",
)
TASKS_TOGETHER = Rule(
    "!has(self.finally) || self.tasks.size() + self.finally.size() <= 500",
    "tasks and finally must have at most 500 tasks together",
    field=".finally",
)
UNIQUE_DEPENDENCIES = unique("dependsOn", "x")
UNIQUE_TAGS = unique("tags", "x")
NO_POD = Rule(
    f"!({' || '.join(f'has(self.{kind})' for kind in PODLESS)}) || "
    f"!({' || '.join(f'has(self.{field})' for field in (*FIELDS_OF_PODS, 'forEach'))})",
    f"{_words(PODLESS)} tasks have no pod; remove {_words((*FIELDS_OF_PODS, 'forEach'))}",
    reason="FieldValueForbidden",
)
WAIT_WITHOUT_LIMITS = Rule(
    "!has(self.wait) || !(has(self.timeoutSeconds) || has(self.deadlineSeconds))",
    "timeoutSeconds and deadlineSeconds are not supported for wait tasks; remove them",
    reason="FieldValueForbidden",
)
SECONDS_OR_UNTIL = _exactly_one(("seconds", "until"))
TIME_WITH_OFFSET = Rule(
    r"self.contains('${{') || "
    r"self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{5,8}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$')",
    "until must be a time with an offset; write it as 2026-11-23T10:00:00Z or 2026-11-23T11:00:00+01:00",
)
CODE_OR_CALL = _exactly_one(("code", "call"))
# By way of dyn(): CEL knows no type for a field that may have any, and hides it; has() finds it all the same.
ITEMS_OR_MATRIX = Rule(
    "has(dyn(self).items) != has(dyn(self).matrix)",
    "set exactly one of items and matrix",
)
JSON_OR_BODY = Rule(
    "!(has(dyn(self).json) && has(self.body))",
    "set at most one of json and body",
)
WITH_NEEDS_CALL = Rule(
    "!has(self.with) || has(self.call)",
    "with has no effect without call; code gets its values from params and input",
    field=".with",
    reason="FieldValueForbidden",
)
VALUE_OR_SOURCE = Rule(
    "!(has(self.value) && has(self.valueFrom))",
    "set exactly one of value and valueFrom",
)
ONE_VALUE_SOURCE = _exactly_one(("secretKeyRef", "configMapKeyRef"))
ONE_ENV_SOURCE = _exactly_one(("secretRef", "configMapRef"))
RESERVED_ENV_NAME = Rule(
    "!self.startsWith('NEXUS_')",
    "names that begin with NEXUS_ are reserved",
    reason="FieldValueForbidden",
)
RESERVED_VOLUME = Rule(
    "!(self in ['tmp', 'nexus', 'artifacts', 'store'])",
    "volume names tmp, nexus, artifacts and store are reserved; choose another name",
    reason="FieldValueForbidden",
)
MOUNT_PATH = Rule(
    "self.startsWith('/') && !(self in ['/', '/tmp', '/tmp/', '/nexus', '/artifacts']) && "
    "!self.startsWith('/nexus/') && !self.startsWith('/artifacts/')",
    "a mount path must be absolute; /, /tmp, and paths in /nexus and /artifacts are reserved",
)
_WITH_FILES = tuple(name for name, model in MODELS.items() if model.has_files)
ARTIFACTS_NEED_FILES = Rule(
    f"!has(self.artifacts) || {' || '.join(f'has(self.{name})' for name in _WITH_FILES)}",
    f"artifacts are supported for {_words(_WITH_FILES)} tasks only; move the data in a task of these types",
    reason="FieldValueForbidden",
)
NO_ARTIFACTS_OF_ITEMS = Rule(
    "!has(self.forEach) || !has(self.artifacts) || !has(self.artifacts.outputs)",
    "artifacts.outputs is not supported with forEach; return a value from each item, or write one task each",
    reason="FieldValueForbidden",
)
UNIQUE_INPUTS = unique("artifacts.inputs", "x.name")
UNIQUE_OUTPUTS = unique("artifacts.outputs", "x.name")
INPUTS_APART = Rule(
    "!has(self.inputs) || !has(self.outputs) || !self.inputs.exists(i, self.outputs.exists(o, o.name == i.name))",
    "an input and an output must not have the same name; rename one of them",
)
FILE_NEEDS_CLAIM = Rule(
    "(has(self.url) && self.url.startsWith('file://')) == has(self.volumeClaim)",
    "file:/// is a folder of the volume of volumeClaim; set both, or neither",
)
ENDPOINT_IS_FOR_S3 = Rule(
    "!(has(self.endpoint) || has(self.region)) || (has(self.url) && self.url.startsWith('s3://'))",
    "endpoint and region are supported for s3:// only; remove them, or set url to s3://BUCKET/PREFIX",
)
NO_PARENTS_IN_URL = Rule("!self.contains('..')", "the url of a store must not contain ..")
CREDENTIALS_NEED_URL = Rule(
    "!has(self.credentialsSecret) || (has(self.url) && !self.url.startsWith('file://'))",
    "credentialsSecret is supported for s3://, gs:// and az:// only; set one of these as url, or remove it",
)
LABEL_KEYS = Rule(
    "self.all(k, !format.qualifiedName().validate(k).hasValue())",
    "invalid label key; use a name of at most 63 characters, or prefix/name with a DNS name as prefix",
)
RESERVED_LABELS = Rule(
    "!self.exists(k, k.startsWith('nexus.dev/') || k.startsWith('batch.kubernetes.io/'))",
    "label prefixes nexus.dev/ and batch.kubernetes.io/ are reserved; choose another prefix",
    reason="FieldValueForbidden",
)
PATTERN_IS_FOR_TEXT = Rule(
    "!has(self.pattern) || !has(self.type) || self.type == 'string'",
    "pattern is supported for strings only; remove pattern or type",
    field=".pattern",
    reason="FieldValueForbidden",
)
BOUNDS_ARE_FOR_NUMBERS = Rule(
    "!(has(self.minimum) || has(self.maximum)) || (has(self.type) && self.type in ['integer', 'number'])",
    "minimum and maximum are supported for integers and numbers only; change type, or remove them",
    reason="FieldValueForbidden",
)
MINIMUM_UP_TO_MAXIMUM = Rule(
    "!(has(self.minimum) && has(self.maximum)) || self.minimum <= self.maximum",
    "minimum exceeds maximum; swap them",
    field=".minimum",
)
OUTPUT_NAMES = Rule(
    "self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_]{0,62}$'))",
    "invalid output name; use at most 63 letters, digits and _, no digit first",
)
_WITH_RETRY_ON = tuple(name for name, model in MODELS.items() if model.has_retry_on)
RETRY_ON_IS_FOR_HTTP = Rule(
    f"!has(self.retry) || !has(self.retry.retryOn) || {' || '.join(f'has(self.{name})' for name in _WITH_RETRY_ON)}",
    "retryOn lists failures of http requests; remove it, or use failOnExitCodes",
    field=".retry.retryOn",
    reason="FieldValueForbidden",
)
NO_POD_FIELDS = Rule(
    "!has(self.workflow) || "
    "!(has(self.env) || has(self.envFrom) || has(self.pod) || has(self.pool) || has(self.startTimeoutSeconds))",
    "env, envFrom, pod, pool and startTimeoutSeconds are not supported for workflow tasks, which have no pod; "
    "give values in workflow.params, and write the rest in that Workflow",
    reason="FieldValueForbidden",
)
REF_OR_SPEC = _exactly_one(("workflowRef", "workflowSpec"))
RUN_CONTROLS = ("suspend", "cancel", "approvals")
"""What may be changed of a run's spec; each has a rule of its own, or none."""


def _same(field: str) -> str:
    # By way of dyn(): CEL knows no type for a map of values of any kind, as params are, and hides the field; its value
    # is there all the same, and == compares it to its depth, the names of its keys too.
    new, old = f"dyn(self).{field}", f"dyn(oldSelf).{field}"
    return f"(has({new}) ? has({old}) && {new} == {old} : !has({old}))"


NO_ZONE_IN_CRON = Rule(
    "!self.contains('TZ=')",
    "unsupported time zone in cron; set timeZone: Europe/Berlin",
    reason="FieldValueForbidden",
)
RUN_NEVER_CHANGES = Rule(
    " && ".join(
        _same(field.alias or name)
        for name, field in WorkflowRunSpec.model_fields.items()
        if (field.alias or name) not in RUN_CONTROLS
    ),
    "the spec of a run is immutable, except suspend, cancel and approvals; create a new WorkflowRun",
    reason="FieldValueForbidden",
)
FROM_OR_TASKS = Rule(
    "!(has(self.from) && has(self.tasks))",
    "set at most one of from and tasks",
)
CANCEL_STAYS = Rule(
    "!has(oldSelf.cancel) || (has(self.cancel) && self.cancel in [oldSelf.cancel, 'Immediate'])",
    "cancel cannot be removed or changed, except from Graceful to Immediate",
    reason="FieldValueForbidden",
)
APPROVALS_STAY = Rule(
    "!has(oldSelf.approvals) || (has(self.approvals) && oldSelf.approvals.size() <= self.approvals.size() && "
    "oldSelf.approvals.all(i, a, self.approvals[i] == a))",
    "approvals cannot be changed or removed; add one at the end of the list",
    reason="FieldValueForbidden",
)
ONE_APPROVAL_A_TASK = unique("approvals", "x.task")
SHORT_NAME = Rule(
    f"self.metadata.name.size() <= {NAME_LIMIT}",
    f"metadata.name must have at most {NAME_LIMIT} characters",
)

RULES: dict[tuple[str, str | None], tuple[Rule, ...]] = {
    ("Workflow", None): (SHORT_NAME,),
    ("WorkflowRun", None): (SHORT_NAME,),
    ("WorkflowRunSpec", None): (REF_OR_SPEC, RUN_NEVER_CHANGES, CANCEL_STAYS, APPROVALS_STAY),
    ("RerunOf", None): (FROM_OR_TASKS,),
    ("WorkflowRunSpec", "approvals"): (ONE_APPROVAL_A_TASK,),
    ("WorkflowSpec", None): (FINALLY_NAMES, TASKS_TOGETHER),
    ("WorkflowSpec", "labels"): (LABEL_KEYS, RESERVED_LABELS),
    ("WorkflowSpec", "tags"): (UNIQUE_TAGS,),
    ("WorkflowSpec", "tasks"): (KNOWN_DEPENDENCIES,),
    ("WorkflowSpec", "finally"): (KNOWN_DEPENDENCIES,),
    ("WorkflowSpec", "outputs"): (OUTPUT_NAMES,),
    ("Schedule", "cron"): (NO_ZONE_IN_CRON,),
    ("Task", None): (
        *(ONE_TASK_TYPE, NO_SELF_DEPENDENCY, TRIGGER_RULE_NEEDS_DEPENDENCIES),
        *(
            NO_POD_FIELDS,
            NO_POD,
            WAIT_WITHOUT_LIMITS,
            RETRY_ON_IS_FOR_HTTP,
            ARTIFACTS_NEED_FILES,
            NO_ARTIFACTS_OF_ITEMS,
        ),
    ),
    ("Task", "dependsOn"): (UNIQUE_DEPENDENCIES,),
    ("Task", "when"): (_one_whole_expression("when", "tasks.load.output.rows > 0"),),
    ("Param", None): (PATTERN_IS_FOR_TEXT, BOUNDS_ARE_FOR_NUMBERS, MINIMUM_UP_TO_MAXIMUM),
    ("Python", None): (CODE_OR_CALL, WITH_NEEDS_CALL),
    ("Python", "code"): (_no_expression("python code", "read it from `params` or `input`"),),
    ("Http", None): (JSON_OR_BODY,),
    ("ForEach", None): (ITEMS_OR_MATRIX,),
    ("Http", "result"): (_one_whole_expression("result", "response.json.total"),),
    ("Wait", None): (SECONDS_OR_UNTIL,),
    ("Wait", "until"): (TIME_WITH_OFFSET,),
    ("Bash", "command"): (_no_expression("a bash command", "read it from $PARAM_NAME, $NEXUS_CONTEXT or env"),),
    ("Sql", "query"): (_no_expression("a query", "write :name, and give the value in parameters"),),
    ("OutputStore", None): (FILE_NEEDS_CLAIM, ENDPOINT_IS_FOR_S3, CREDENTIALS_NEED_URL),
    ("OutputStore", "url"): (NO_PARENTS_IN_URL,),
    ("Artifacts", None): (INPUTS_APART,),
    ("Artifacts", "inputs"): (UNIQUE_INPUTS,),
    ("Artifacts", "outputs"): (UNIQUE_OUTPUTS,),
    ("EnvVar", None): (VALUE_OR_SOURCE,),
    ("EnvVar", "name"): (RESERVED_ENV_NAME,),
    ("EnvValueFrom", None): (ONE_VALUE_SOURCE,),
    ("EnvFrom", None): (ONE_ENV_SOURCE,),
    ("Volume", "name"): (RESERVED_VOLUME,),
    ("VolumeMount", "mountPath"): (MOUNT_PATH,),
    ("EnvFrom", "prefix"): (RESERVED_ENV_NAME,),
}
"""Where each rule holds: the model, and the field of it (as written in manifests) or None for the model as a whole."""
