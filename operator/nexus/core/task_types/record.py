"""TaskType: all that is known of one type of task, for every module that treats types differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nexus.api.codes import Code
from nexus.api.reasons import Mechanism
from nexus.api.tasks import EnvVar, KeyRef, TypeSpec
from nexus.core.task_types.exit_codes import OUTPUT_REFUSED
from nexus.core.task_types.texts import Path

if TYPE_CHECKING:
    from nexus.core.expressions.render import Renderer

Text = tuple[Path, str]
"""A string of the manifest with its path below the field of the type."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a warning in the fields of a task. `path` begins below the field of the type."""

    path: Path
    code: Code
    message: str
    offset: int | None = None
    """Characters from the start of the field's text."""


@dataclass(frozen=True, slots=True)
class CodeField:
    """A field that is a program, or a name: a value that became part of it would be code, so none is rendered."""

    name: str
    instead: str = "write the name itself"
    """How values get there."""
    syntax: Literal["python", "bash"] | None = None
    """The language whose compiler `nexus lint` asks."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The CEL types of a field whose value is one whole expression, the same in words, and how to get one."""

    types: Sequence[str]
    words: str
    advice: str


@dataclass(frozen=True, slots=True)
class OwnExpression:
    """A field that is one whole expression over variables of its own, and is evaluated where the task runs."""

    name: str
    variables: Mapping[str, str]
    """Names to CEL types."""
    example: str


@dataclass(frozen=True, slots=True)
class Shorthand:
    """The suggestion for a bare value in place of the type's object, such as `bash: echo hello`."""

    field: str
    """The field that a string is meant for."""
    example: str
    """A value for it, as YAML, for when what was written is not a string."""
    choose: Callable[[Any], tuple[str, str]] | None = None
    """Field and value as YAML, where it takes more than that to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """The script that the container runs in place of the task: nexus/bootstrap/NAME.py, or bash.sh."""

    name: str
    interpreter: Literal["python3", "bash"] = "python3"
    joined: tuple[tuple[str, str], ...] = ()
    """Modules (package, name) whose text is put before the script's own."""
    carried: tuple[tuple[str, str], ...] = ()
    """Modules that the script imports while it runs, put into its constant CARRIED."""
    keeps_output: bool
    """Whether it writes its output as JSON, so that one that is too big for a ConfigMap can go to the output store."""
    final_exit_codes: tuple[int, ...] = ()
    """Exit codes, besides that of a refused output, with which it ends what no retry can help."""
    tells_attempt: bool = False
    """Whether it tells the user's code the number of its attempt."""
    runs_python: bool = False
    """Whether the user's Python runs in its process: locally it finds the modules beside the manifest."""


class SeenItem(Protocol):
    """One item of a fan-out."""

    @property
    def index(self) -> int:
        """Its place in the list, from 0."""

    @property
    def value(self) -> Any:
        """The item."""


class Seen(Protocol):
    """What task code sees."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Params of the run."""

    @property
    def run(self) -> Mapping[str, Any]:
        """The run: name, times, of a task of `finally` the phase."""

    @property
    def item(self) -> SeenItem | None:
        """The item, of a fan-out with a Job for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a type adds to its container. Texts in `command`, `args` and `env` are in Kubernetes' syntax."""

    image: str | None = None
    """The image that the task names; None for the default of its type."""
    script: str | None = None
    """The user's script, an argument of the bootstrap."""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables whose values nothing expands."""
    env: tuple[EnvVar, ...] = ()


def _nothing(*_: Any) -> Iterator[Any]:
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """One type of task. Fields without a default are required of every type.

    Every function is given the fields of the type, an instance of `model`; their paths begin below the field.
    """

    name: str
    """The field of a task."""
    model: type[TypeSpec]
    mechanism: Mechanism
    """Of an attempt of one task; NONE where the operator itself carries it out, as nexus.core.tasks.registry says."""
    bootstrap: Bootstrap | None
    """None for an image that speaks for itself, and where nothing is executed."""
    image: str | None
    """task-images/IMAGE, its default image; None where a task must name its own, or has none."""
    shorthand: Shorthand
    templated: Callable[[Any], Iterator[Text]]
    """The texts that are rendered before the task starts."""
    code: tuple[CodeField, ...]
    values: Callable[[Any, Renderer], dict[str, Any]] | None
    """The rendered fields that the bootstrap is handed as JSON; None where it is handed none."""
    container: Callable[[Any, Renderer, Seen], Container] | None
    """None where there is no container. Raises ExpressionError, TemplateError and PayloadError."""
    expanded: frozenset[str] = frozenset()
    """Fields among those in which `$(NAME)` is resolved in the pod."""
    urls: frozenset[str] = frozenset()
    """Fields among those that are rendered as a URL."""
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    """Fields whose value must be of a certain type."""
    stand_ins: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    """What `nexus plan` takes for a value of this kind while it is unknown, by the time that it plans for (RFC
    3339)."""
    own_expressions: tuple[OwnExpression, ...] = ()
    problems: Callable[[Any, datetime | None], Iterator[Finding]] = _nothing
    """What is wrong with the fields, beyond what their types say. With the time, it tells what is too far away."""
    warnings: Callable[[Any], Iterator[Finding]] = _nothing
    secrets: Callable[[Any], Iterator[KeyRef]] = _nothing
    """Keys of Secrets that it needs."""
    asks_person: bool = False
    """Whether a user decides: a rerun asks again if what was decided on has changed."""

    @property
    def is_bare(self) -> bool:
        """Whether its container runs an image as it is: without a bootstrap, `input` or context."""
        return self.mechanism is Mechanism.JOB and self.bootstrap is None

    @property
    def final_exit_codes(self) -> tuple[int, ...]:
        """Exit codes that are never retried, whoever exits with them; an image's own mean what its author says."""
        return () if self.bootstrap is None else (OUTPUT_REFUSED, *self.bootstrap.final_exit_codes)

    def of(self, task: Any) -> Any:
        """Return the fields of this type in a task, None where it has none of them."""
        return getattr(task, self.name)
