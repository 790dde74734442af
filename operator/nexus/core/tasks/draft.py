"""The draft: what one decision knows so far, while the policies take their turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from nexus.api.numbers import as_stored
from nexus.api.packed import unpacked
from nexus.api.reasons import Reason, RunPhase, TaskPhase
from nexus.api.run import RerunStatus, TaskStatus
from nexus.core.data import scope
from nexus.core.data.limits import INLINE_LIMIT
from nexus.core.data.params import ParamsInvalid, resolve
from nexus.core.data.scope import Item
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Evaluator, ExpressionError, task_identifier
from nexus.core.model.allow_failure import counted
from nexus.core.model.definition import Definition, Node
from nexus.core.model.facts import Changed, ChildFact, Facts, Forged, JobFact
from nexus.core.model.outcome import STOP_REASONS, Stopped, outcome
from nexus.core.model.plan import LoadOutput, RaiseParallelism, Read, RunEvent, Start, Store, StoreOutput
from nexus.core.model.refusal import REASONS, Code, Refusal, again_at
from nexus.core.model.status_limits import LEAST_MESSAGE_LIMIT, cut, inline_outputs_limit, message_limit
from nexus.core.names import output_name
from nexus.core.tasks.item_tally import Tally
from nexus.core.text.json_text import dump
from nexus.core.text.sha256 import reference, sha256


class Unread(Exception):
    """A value is needed that has to be read first; the draft has noted the read."""


@dataclass
class PlanDraft:
    """Starts from the recorded status; policies move tasks on it and note what is to be done."""

    definition: Definition
    facts: Facts
    now: datetime
    evaluator: Evaluator
    may_start: bool = True
    tasks: dict[str, TaskStatus] = field(init=False)
    reads: list[Read] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    raises: list[RaiseParallelism] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)
    wakes: list[datetime] = field(default_factory=list)
    abandoned: set[str] = field(default_factory=set)
    """Names of child runs whose item is past them: its attempt took too long."""
    vouched: list[str] = field(default_factory=list)
    """UIDs of child runs that were found to be what their tasks start."""
    forged: dict[str, Forged] = field(default_factory=dict)
    """Child runs that were found not to be, by UID."""
    planned: dict[str, TaskStatus] = field(default_factory=dict)
    """What was known of the tasks in `starts` before their start was planned."""
    stopped: Stopped | None = None
    """Why everything that had not ended was ended, in this decision or before."""
    rerun: RerunStatus | None = None
    """What is reused of an earlier run."""
    refused: set[str] = field(default_factory=set)
    """Tasks of which this decision has said that a write is refused, or will be where that lasts."""
    unstored: set[str] = field(default_factory=set)
    """Tasks whose code has ended, and whose output cannot be stored yet: they hold no slot."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """The tallies of the fan-outs that are running, by task."""
    _fresh: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recorded = self.facts.status.tasks if self.facts.status else None
        known = {task.name: task for task in recorded or ()}
        # In the order of the definition, which is the order users read.
        self.tasks = {
            task.name: known.get(task.name) or TaskStatus(name=task.name)
            for _, task in self.definition.spec.every_task()
        }
        status = self.facts.status
        if status is not None and status.reason in STOP_REASONS:
            # Of an earlier decision: tasks of `finally` run since.
            self.stopped = (status.reason, status.message or "")

    @cached_property
    def params(self) -> dict[str, Any]:
        """The run's params. Raises ParamsInvalid, of a run that has begun ExpressionError."""
        status, run = self.facts.status, self.facts.run
        begun = status is not None and status.start_time is not None
        try:
            return resolve(self.definition.spec.params or (), run.params, run, self.evaluator, begun=begun)
        except ParamsInvalid as error:
            if begun:  # a default that another version could render
                raise ExpressionError(str(error), None) from error
            raise

    @cached_property
    def message_limit(self) -> int:
        """Bytes of a task's message."""
        return LEAST_MESSAGE_LIMIT if self.facts.tight else message_limit(len(self.tasks))

    @cached_property
    def main_on_record(self) -> bool:
        """Whether the recorded status says of every task outside `finally` that it has ended."""
        recorded = self.facts.status.tasks if self.facts.status else None
        ended = {task.name for task in recorded or () if task.phase.ended}
        return all(task.name in ended for task in self.definition.spec.tasks)

    @cached_property
    def inline_size(self) -> int:
        """Bytes of the outputs that the status holds."""
        return sum(len(dump(unpacked(status.output)).encode()) for status in self.tasks.values() if status.output)

    @cached_property
    def records_size(self) -> int:
        """Bytes of the attempt records that the status holds."""
        records = (record for status in self.tasks.values() for record in status.attempt_records or ())
        return sum(len(dump(record.to_json()).encode()) for record in records)

    def is_due(self, task: str) -> bool:
        """Return whether another attempt of a task follows: it has had none, or the one before has ended."""
        status = self.tasks[task]
        return not status.phase.ended and (status.start_time is None or status.next_attempt_time is not None)

    def whose(self, task: str) -> str:
        """Return what tells a task from all others of all runs, for the jitter of its delays."""
        return f"{self.facts.run.uid}/{task}"

    def job(self, task: str, numbers: Iterable[int]) -> JobFact | None:
        """Return the Job of the first of these attempts that has one."""
        found = {job.attempt_number: job for job in self.facts.jobs.get(task, ()) if job.index is None}
        return next((found[attempt_number] for attempt_number in numbers if attempt_number in found), None)

    def child(self, task: str, attempt_number: int) -> ChildFact | None:
        """Return the child run of an attempt."""
        children = self.facts.children.get(task, ())
        return next(
            (child for child in children if child.attempt_number == attempt_number and child.index is None), None
        )

    def is_made(self, task: str) -> bool:
        """Return whether objects of a task are there of which this reconcile knows that they are its own."""
        made: tuple[JobFact | ChildFact, ...] = (*self.facts.jobs.get(task, ()), *self.facts.children.get(task, ()))
        return any(one.uid in self.facts.vouched for one in made)

    def disown(self, child: ChildFact) -> None:
        """Note a child run that has the name of one that a task is to start, and is another."""
        why = f"is not the child run that task {child.task} starts: its workflowRef, triggeredBy or params differ"
        self.forged[child.uid] = Forged("WorkflowRun", child.namespace, child.name, child.uid, why)

    def move(self, task: str, **changes: Any) -> None:
        """Change fields of a task's status."""
        status = self.tasks[task]
        if any(getattr(status, name) != value for name, value in changes.items()):
            self.tasks[task] = status.model_copy(update=changes)

    def wait(self, task: str, reason: Reason, message: str) -> None:
        """Say why a task that has not ended is not further."""
        none_asked = {} if reason is Reason.AWAITING_APPROVAL else {"approval": None}
        self.move(task, reason=reason, message=cut(message, self.message_limit), **none_asked)

    def refuse(self, task: str, refusal: Refusal, words: str = "") -> None:
        """Say of a task that has not ended that a write it needs is refused, and since when."""
        self.wakes.append(again_at(refusal, self.now))
        self.refused.add(task)
        if refusal.told:
            status = self.tasks[task]
            # Another reason that came between them (a slot, a suspension) does not count as a new beginning; another
            # refusal does.
            same = status.reason is refusal.reason or status.reason not in REASONS
            goes_on = same and status.refused_time is not None
            self.move(task, refused_time=status.refused_time if goes_on else self.now)
            self.wait(task, refusal.reason, words or refusal.message)

    def end(self, task: str, phase: TaskPhase, reason: Reason | None = None, message: str = "", **changes: Any) -> None:
        """End a task, once; its ending is an Event."""
        text = cut(message, self.message_limit) or None
        self.move(
            task,
            phase=phase,
            reason=reason,
            message=text,
            completion_time=self.now,
            next_attempt_time=None,
            refused_time=None,
            **{"approval": None, **changes},
        )
        words = f"task {task} {phase.value.lower()}" + (f" ({reason.value}): {text}" if reason and text else "")
        self.events.append(RunEvent(f"Task{phase.value}", words, warning=phase is TaskPhase.FAILED, task=task))

    def free_name(self, name: str, text: str) -> str:
        """Return the name of the ConfigMap for a string: `name`, or if that one holds something else (any client may
        have made it beforehand), one with the string's SHA-256 in it."""
        refusal = self.facts.refusals.get(name)
        taken = refusal is not None and refusal.code is Code.NAME_TAKEN
        return f"{name}-{sha256(text)}" if taken else name

    def cannot_store(self, task: str, attempt: str, text: str | None = None) -> bool:
        """Return whether the ConfigMap for the output of an attempt is refused: its task goes on, and says so, until
        that is over. Its code has ended: it holds no slot, and its own deadline does not count any more. Without the
        text it may be possible all the same, under another name."""
        name = output_name(attempt)
        refusal = self.facts.refusals.get(name if text is None else self.free_name(name, text))
        if refusal is None or (text is None and refusal.code is Code.NAME_TAKEN):
            return False
        self.unstored.add(task)
        self.move(task, phase=TaskPhase.RUNNING)
        self.refuse(task, refusal, f"its output cannot be stored: {refusal.message}")
        return True

    def succeed(self, task: str, attempt: str, output: Mapping[str, Any], **changes: Any) -> None:
        """End a task Succeeded and keep its output: small ones in the status, others in a ConfigMap of the run.
        `attempt` is the name of the Job, or of the child run, that it comes from."""
        text = dump(output)
        size = len(text.encode())
        fits = not output or self.fits_inline(size)
        if not fits and self.cannot_store(task, attempt, text):
            return
        self._fresh[task] = output
        if not output:
            kept: dict[str, Any] = {}
        elif fits:
            kept = {"output": dict(output)}
        else:
            name = self.free_name(output_name(attempt), text)
            self.stores.append(StoreOutput(task, name, text))
            kept = {"output_ref": reference(name, text)}
        self.end(task, TaskPhase.SUCCEEDED, **kept, **changes)

    def fits_inline(self, size: int) -> bool:
        """Return whether an output of `size` bytes fits into the status, and reserve its room if so."""
        room = 0 if self.facts.tight else inline_outputs_limit(len(self.tasks))
        fits = size <= INLINE_LIMIT and self.inline_size + size <= room
        self.inline_size += size if fits else 0
        return fits

    def keep(self, task: str, output: Mapping[str, Any]) -> None:
        """Have an output that is stored otherwise at hand for expressions of this decision."""
        self._fresh[task] = output

    def is_readable(self, task: str) -> bool:
        """Return whether a task has an output: it succeeded, or it is a fan-out, whose finished items stay readable
        however it ended."""
        status = self.tasks[task]
        if status.phase is TaskPhase.SUCCEEDED:
            return True
        return status.items is not None and status.phase.ended and (status.output or status.output_ref) is not None

    def output(self, task: str) -> Mapping[str, Any] | None:
        """Return a task's output, None where it has none to read. Raises Unread."""
        status = self.tasks[task]
        if not self.is_readable(task):
            return {} if self.counted(task) is TaskPhase.SUCCEEDED else None
        if status.stored_output is not None:
            size = f"{status.stored_output.size:,}"
            words = f"the output of task {task} ({size} bytes) is in the output store, which only tasks can read"
            raise ExpressionError(f"{words}; output what is needed here in a task in between", None)
        if task in self._fresh:
            return self._fresh[task]
        if status.output_ref is None:
            output: Mapping[str, Any] = as_stored(unpacked(status.output))
            return output
        if task in self.facts.outputs:
            stored = self.facts.outputs[task]
            if stored is None:
                raise ExpressionError(f"the output of task {task} is gone: its ConfigMap was deleted", None)
            if isinstance(stored, Changed):
                raise ExpressionError(f"the output of task {task} cannot be used: {stored}", None)
            return stored
        self.reads.append(LoadOutput(task, status.output_ref.config_map, status.output_ref.sha256))
        raise Unread

    def counted(self, task: str) -> TaskPhase:
        """Return the phase that an ended task counts as for its dependents and for the run."""
        return counted(self.definition.nodes[task].task, self.tasks[task].phase)

    def run_phase(self, node: Node) -> str:
        """Return what run.phase is for one task."""
        phase = outcome(self.definition, self.tasks, self.stopped)[0] if node.final else RunPhase.RUNNING
        return phase.value

    def renderer(self, node: Node, item: Item | None = None) -> Renderer:
        """Render the fields of one task: it sees params, run, and the tasks before it; those of a fan-out its item
        too."""
        variables = scope.node_variables(self.definition, node, with_item=item is not None)
        return self.renderer_over(node.ancestors, variables, self.run_phase(node), item)

    def renderer_over(
        self, tasks: Iterable[str], variables: Mapping[str, str], phase: str, item: Item | None = None
    ) -> Renderer:
        """Render texts that see params, run and these tasks; `phase` is what run.phase is in them."""
        run = scope.run_values(self.facts.run, phase)
        by_identifier = {task_identifier(name): name for name in tasks}

        def lookup(variable: str) -> Any:
            root, _, rest = variable.partition(".")
            if root == "params":
                return self.params[rest] if rest else self.params
            if root == "run":
                return run[rest]
            if item is not None and root in scope.ITEM_VARIABLES:
                return item.value if root == "item" else item.index
            name, _, attribute = rest.partition(".")
            task = by_identifier[name]
            return self.tasks[task].phase.value if attribute == "phase" else self.output(task)

        return Renderer(self.evaluator, variables, lookup, self.facts.run.time_zone)
