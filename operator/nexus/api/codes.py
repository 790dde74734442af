"""The codes of the problems that `nexus lint` and its kin report: tools and tests read these, people read the words.

`make crds` writes docs/messages.md from them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """What kind of problem a message reports. A public contract: a code is never renamed."""

    meaning: str
    """What is wrong, as a noun phrase or a sentence."""
    example: str
    """The manifest, or a part of it, that has the problem."""
    fix: str
    """What to do about it."""

    def __new__(cls, code: str, meaning: str, example: str, fix: str) -> Self:
        """Return the member whose value is the code itself."""
        self = str.__new__(cls, code)
        self._value_ = code
        self.meaning, self.example, self.fix = meaning, example, fix
        return self

    # The file as YAML or JSON.
    INVALID_YAML = "invalid-yaml", "The file is not valid YAML.", "name: 'x", "Fix the syntax at the reported place."
    INVALID_JSON = "invalid-json", "The file looks like JSON and is not valid.", '{"a": 1,}', "Fix the JSON syntax."
    UNSUPPORTED_TAG = (
        "unsupported-tag",
        "A YAML tag that has no meaning here, or does not fit its value.",
        "when: !params.dry",
        "Quote text that begins with `!`; write an expression as `${{ }}`.",
    )
    INVALID_ALIAS = (
        "invalid-alias",
        "A YAML alias or merge that cannot be resolved.",
        "a: *b",
        "Define the anchor first.",
    )
    DUPLICATE_KEY = "duplicate-key", "One object has a key twice.", "{name: a, name: b}", "Remove one of the two."
    INVALID_KEY = (
        "invalid-key",
        "The key of an object is not a string.",
        "matrix: {n: [1, 2]}",
        "Quote the key, and an expression too.",
    )
    NOT_AN_OBJECT = (
        "not-an-object",
        "A document of the file is a list or a single value.",
        "- one",
        "Write an object with `apiVersion` and `kind`.",
    )
    TOO_LARGE = (
        "too-large",
        "The file, its aliases or its nesting exceed what is read.",
        "json: [[[...]]], 101 levels deep",
        "Split the file up.",
    )
    # Fields and their values.
    UNKNOWN_KIND = (
        "unknown-kind",
        "An unknown `apiVersion` or `kind` of the API group nexus.dev.",
        "kind: Workflw",
        "Write the kind or version that the message names.",
    )
    UNKNOWN_FIELD = (
        "unknown-field",
        "A field that does not exist at this place.",
        "needs: [load]",
        "Use the name or the place that the message suggests.",
    )
    MISSING_FIELD = "missing-field", "A required field is not there.", "container: {args: [a]}", "Add the field."
    WRONG_TYPE = (
        "wrong-type",
        "A value of another JSON type than the field's.",
        "env: [{name: A, value: 5}]",
        "Write the value as the message shows; quote what is meant as a string.",
    )
    UNSUPPORTED_VALUE = (
        "unsupported-value",
        "A value that is not among those that the field accepts.",
        "triggerRule: all_done",
        "Use one of the values that the message lists.",
    )
    OUT_OF_RANGE = (
        "out-of-range",
        "A number, a size or a time outside its limits, or a minimum above its maximum.",
        "retry: {limit: -1}",
        "Keep within the limits that the message names.",
    )
    WRONG_LENGTH = "wrong-length", "Too many or too few characters or entries.", "tasks: []", "Shorten or fill it."
    INVALID_VALUE = (
        "invalid-value",
        "A value in another form than its field has.",
        "python: {call: reports.daily}",
        "Write it in the form that the message shows.",
    )
    INVALID_NAME = "invalid-name", "A name with characters that are not allowed.", "name: Load_Data", "Rename it."
    DUPLICATE_NAME = (
        "duplicate-name",
        "Two entries of one list have the same name.",
        "params: [{name: day}, {name: day}]",
        "Rename or remove one.",
    )
    RESERVED_NAME = (
        "reserved-name",
        "A name that NEXUS or Kubernetes sets itself.",
        "env: [{name: NEXUS_RUN, value: x}]",
        "Choose another name.",
    )
    EXCLUSIVE_FIELDS = (
        "exclusive-fields",
        "None, or more than one, of fields of which exactly one must be set.",
        "forEach: {parallelism: 3}",
        "Set exactly one of the fields that the message names.",
    )
    NO_EFFECT = (
        "no-effect",
        "A field that has no effect together with the others.",
        "triggerRule: AllDone   # without dependsOn",
        "Remove the field, or add what it needs.",
    )
    TOO_MANY = (
        "too-many",
        "More tasks, items or artifacts than a workflow can have.",
        "matrix: {a: &v [1, 2, 3, 4, 5], b: *v, c: *v, d: *v, e: *v}",
        "Split the workflow up.",
    )
    # The graph of tasks and workflows.
    UNKNOWN_TASK = "unknown-task", "A reference to a task that does not exist.", "dependsOn: [laod]", "Fix the name."
    DEPENDENCY_CYCLE = (
        "dependency-cycle",
        "Tasks that depend on each other, or on themselves.",
        "{name: a, dependsOn: [a]}",
        "Remove one of the `dependsOn` entries that the message names.",
    )
    INVALID_DEPENDENCY = (
        "invalid-dependency",
        "A dependency between `tasks` and `finally`.",
        "dependsOn: [cleanup]   # a task of finally",
        "Remove it: tasks of `finally` run after all others.",
    )
    DUPLICATE_DEPENDENCY = "duplicate-dependency", "A dependency is listed twice.", "dependsOn: [a, a]", "Remove one."
    REDUNDANT_DEPENDENCY = (
        "redundant-dependency",
        "A dependency that another one implies (`nexus lint --hints`).",
        "dependsOn: [a, b]   # and b depends on a",
        "Remove it.",
    )
    CALL_CYCLE = (
        "call-cycle",
        "Workflows that call each other, or themselves.",
        "{metadata: {name: sales}, spec: {tasks: [{name: a, workflow: {name: sales}}]}}",
        "Remove one of the calls.",
    )
    UNKNOWN_WORKFLOW = (
        "unknown-workflow",
        "A reference to a Workflow that is not in the file.",
        "workflow: {name: laod}",
        "Fix the name, or add the Workflow to the file.",
    )
    UNKNOWN_ARTIFACT = (
        "unknown-artifact",
        "An artifact input whose source does not exist or is not upstream.",
        "from: train.modl",
        "Fix the name, or add the task to `dependsOn`.",
    )
    UNKNOWN_VOLUME = (
        "unknown-volume",
        "A mount of a volume that does not exist.",
        "pod: {volumeMounts: [{name: data, mountPath: /data}]}",
        "Add it to `pod.volumes`.",
    )
    # Params.
    UNKNOWN_PARAM = "unknown-param", "A value for a param that does not exist.", "params: {dya: x}", "Fix the name."
    MISSING_PARAM = (
        "missing-param",
        "A param without a value and without a default.",
        "params: [{name: day}], and no --param day=...",
        "Set it in `params`.",
    )
    INVALID_PARAM = (
        "invalid-param",
        "A value that does not fit the type, the bounds, the enum or the pattern of its param.",
        "{name: count, type: integer, default: '3'}",
        "Write a value that fits.",
    )
    # Expressions.
    INVALID_EXPRESSION = (
        "invalid-expression",
        "An expression that does not compile.",
        "when: ${{ params.count == '3' }}",
        "Fix it as the message says; see [expressions](expressions.md).",
    )
    UNKNOWN_REFERENCE = (
        "unknown-reference",
        "An expression reads a name that does not exist there.",
        "${{ params.dya }}",
        "Fix the name, or add the task to `dependsOn`.",
    )
    IMPOSSIBLE_VALUE = (
        "impossible-value",
        "An expression compares with a value that never occurs.",
        "${{ tasks.load.phase == 'Suceeded' }}",
        "Fix the value.",
    )
    INVALID_TIME_FORMAT = "invalid-time-format", "A format of strftime() is unsupported.", "%-d", "Use another code."
    EXPRESSION_TYPE = (
        "expression-type",
        "The result of an expression has another type than its field.",
        "when: ${{ params.day }}",
        "Convert or compare the value.",
    )
    NOT_AN_EXPRESSION = (
        "not-an-expression",
        "A field that must be one whole expression is something else.",
        "when: params.dry",
        "Write `${{ }}` around all of it.",
    )
    EXPRESSION_NOT_ALLOWED = (
        "expression-not-allowed",
        "An expression in a field that is never rendered.",
        "bash: {command: 'echo ${{ params.day }}'}",
        "Read the value from a variable, or write it out.",
    )
    FOREIGN_EXPRESSION = (
        "foreign-expression",
        "An expression in the syntax of another engine, which would be plain text.",
        "value: '{{ params.day }}'",
        "Write `${{ params.day }}`.",
    )
    OPEN_REFERENCE = (
        "open-reference",
        "A `$` or `$(` before an expression, whose value could complete a reference.",
        'value: "it costs $${{ params.count }}"',
        'Write `"$$"` for a dollar sign.',
    )
    MIXED_NUMBERS = (
        "mixed-numbers",
        "Arithmetic with a number that may be an integer or have a fraction (warning).",
        "${{ params.factor / 2 }}",
        "Write `double(params.factor)`, and constants with a point.",
    )
    # Pods, code and requests.
    INVALID_LABEL = (
        "invalid-label",
        "An invalid key or value of a label or annotation.",
        "labels: {my team: sales}",
        "Follow Kubernetes' rules.",
    )
    INVALID_QUANTITY = "invalid-quantity", "An invalid quantity of a resource.", "cpu: lots", "Write 500m, 2 or 64Mi."
    INVALID_MOUNT = "invalid-mount", "A mount path that is invalid or taken.", "mountPath: /tmp", "Mount it elsewhere."
    CODE_SYNTAX = "code-syntax", "A syntax error in the code of a task.", "bash: {command: 'if'}", "Fix the code."
    CODE_UNCHECKED = (
        "code-unchecked",
        "Code whose syntax could not be checked (warning).",
        "bash: {command: echo $($($(...)))}, 3,000 levels deep",
        "Simplify the code.",
    )
    FIXED_DELIMITER = (
        "fixed-delimiter",
        "A fixed end mark of an output, which a value could contain (warning).",
        'echo "notes<<EOF" >> "$NEXUS_OUTPUT"',
        "Use `$NEXUS_EOF` or `nexus_output`.",
    )
    INVALID_URL = "invalid-url", "An invalid URL, or an invalid port in it.", "url: example.com", "Fix the URL."
    INVALID_HEADER = "invalid-header", "An invalid name of an HTTP header.", "name: 'X-A:'", "Fix the name."
    HOST_NOT_LISTED = (
        "host-not-listed",
        "A value reaches the host of a URL while the task uses a secret.",
        'url: "https://${{ params.stage }}.example.com/"',
        "List the hosts in `http.hosts`.",
    )
    NO_JSON_RESPONSE = (
        "no-json-response",
        "An expression reads JSON of a response of another type.",
        "responseType: base64",
        "Read the field that the message names.",
    )
    SQL_PLACEHOLDER = "sql-placeholder", "A placeholder and `sql.parameters` differ.", "select :a", "Add the parameter."
    # Schedules and times.
    INVALID_CRON = "invalid-cron", "An invalid cron expression, or one that never ticks.", "60 2 * * *", "Fix it."
    EITHER_DAY = (
        "either-day",
        "A cron with a day of the month and of the week, of which either is enough (warning).",
        "0 6 1-7 * MON",
        'Set one of the two to `"*"`, and check the other in `when`.',
    )
    UNKNOWN_TIME_ZONE = "unknown-time-zone", "An unknown time zone.", "timeZone: GMT+2", "Write an IANA name."
    UNKNOWN_HOLIDAYS = "unknown-holidays", "An unknown country or region of holidays.", "country: XX", "Fix the code."
    INVALID_TIME = "invalid-time", "An invalid date or time.", "until: '10:00'", "Write it as 2026-11-23T10:00:00Z."
    # What a local run needs, and limits of the check itself.
    INVALID_POOL = "invalid-pool", "A pool that does not exist, or an invalid size.", "pool: db", "Fix `nexus-pools`."
    MISSING_BINDING = (
        "missing-binding",
        "A local run lacks a Secret or ConfigMap that a task reads.",
        "env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: password}}}]",
        "Pass it with `--secret`, or add it to the file.",
    )
    UNANSWERED_APPROVAL = (
        "unanswered-approval",
        "A local run without a terminal needs an approval.",
        "{name: release, approval: {}}",
        "Pass `--approve TASK` or `--reject TASK`.",
    )
    CLUSTER_ONLY = (
        "cluster-only",
        "A local run cannot do what the file asks for.",
        "suspend: true",
        "Remove it, or run in a cluster.",
    )
    MORE_PROBLEMS = (
        "more-problems",
        "The definition has more problems than are listed.",
        "when: '${{ oops }}', dependsOn: [oops], in each of 300 tasks",
        "Fix those that are.",
    )
