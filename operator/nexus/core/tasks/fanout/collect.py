"""Collect: the outputs of finished items into one object, at most every ten seconds while others run and at the end.

What is stored cannot be lost any more, whatever becomes of the pods. Small outputs are stored in the status, with the
numbers, in one write; others in a ConfigMap, which in the end is the task's output. It is read before it is written,
and written only in place of what was read: an operator that died between that write and the status left more in it
than the status knows, and none of it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from nexus.api.fanout import FAILURES_SHOWN, ItemFailure, ItemsStatus
from nexus.api.numbers import as_stored
from nexus.api.packed import unpacked
from nexus.api.reasons import Mechanism, Reason, TaskPhase
from nexus.api.run import TaskStatus
from nexus.core.data import outputs
from nexus.core.data.limits import OUTPUT_LIMIT
from nexus.core.model import indexes
from nexus.core.model.definition import Node
from nexus.core.model.facts import Changed, ChildFact, PodFact
from nexus.core.model.plan import ListPods, LoadItems, LoadOutput, Read, ReadFrame, RunEvent, StoreItems
from nexus.core.tasks.child_run import lost_outputs
from nexus.core.tasks.draft import PlanDraft, Unread
from nexus.core.tasks.evidence import Failed
from nexus.core.tasks.fanout.checkpoint import Items, config_map, is_spoiled, proven, stored_indexes
from nexus.core.tasks.fanout.children import take as take_children
from nexus.core.tasks.item_tally import Tally, TallyInput, take
from nexus.core.tasks.mechanism import mechanism_of
from nexus.core.text import json_text
from nexus.core.text.sha256 import reference, sha256

CHECKPOINT_EVERY = timedelta(seconds=10)

# What the fan-outs of a run may take of its status together: a run of 500 of them is still one object.
INDEXES_TOTAL = 32 * 1024
FAILURES_TOTAL = 100


def tally_of(draft: PlanDraft, node: Node) -> Tally | None:
    """Return the tally of the items; None if something must be read first."""
    status = draft.tasks[node.name]
    jobs = draft.facts.jobs.get(node.name, ())
    total = status.items.total if status.items else 0
    if mechanism_of(node, status) is Mechanism.CHILD_RUN:
        try:
            draft.tallies[node.name] = take_children(draft, node, total, _on_record(status.items))
        except Unread:
            return None
        return draft.tallies[node.name]
    if must_know_stored(draft, node):
        return None
    known = TallyInput(
        node=node,
        total=total,
        jobs=jobs,
        recorded=status.job.name if status.job else None,
        stored=stored(draft, node),
        listed=draft.facts.listed,
        frames=draft.facts.frames,
        whose=draft.whose(node.name),
        refused=_on_record(status.items),
    )
    tally = take(known)
    draft.tallies[node.name] = tally
    if tally.unproven:
        # Before an output counts as lost: it may be stored, or the watches of Jobs and pods are not in step.
        looked = node.name in draft.facts.checkpoints
        draft.reads.append(LoadItems(node.name, config_map(draft, node), fresh=looked))
        if looked:
            draft.reads += [ListPods(node.name, uid) for uid in sorted(tally.unproven)]
        return None
    return tally


def must_know_stored(draft: PlanDraft, node: Node) -> bool:
    """Return whether it has to be read first which items have outputs: of those of an earlier run no Job tells. They
    lie in a ConfigMap of their own until others are stored with them."""
    status = draft.tasks[node.name]
    if not _has_reused(status) or status.output_ref is None:
        return False
    if status.output_ref.config_map == config_map(draft, node):
        if node.name in draft.facts.checkpoints:
            return False
        draft.reads.append(LoadItems(node.name, status.output_ref.config_map))
    else:
        if node.name in draft.facts.outputs:
            return False
        draft.reads.append(LoadOutput(node.name, status.output_ref.config_map, status.output_ref.sha256))
    return True


def _has_reused(status: TaskStatus) -> bool:
    return status.items is not None and status.items.reused is not None


def _on_record(items: ItemsStatus | None) -> dict[int, Failed]:
    """Return the failed items that the status names, and why where it tells."""
    if items is None or items.failed_indexes is None:
        return {}
    told = {
        failure.index: Failed(failure.reason, failure.message or "", failure.exit_code, final=True)
        for failure in items.failures or ()
    }
    unknown = Failed(Reason.EXPRESSION_ERROR, "the values of the item cannot be rendered", final=True)
    return {index: told.get(index, unknown) for index in indexes.shown(items.failed_indexes, items.total)}


def stored(draft: PlanDraft, node: Node) -> Items | None:
    """Return the outputs that are stored, as far as they are known: in the ConfigMap, and in the status of a running
    task."""
    inline = draft.tasks[node.name].output
    items: Items = list(unpacked(inline)["items"]) if inline is not None else []
    reused = draft.facts.outputs.get(node.name) if _has_reused(draft.tasks[node.name]) else None
    if reused is not None and not isinstance(reused, Changed):
        items = [one if one is not None else other for one, other in zip_longest(reused["items"], items)]
    items = [one if one is not None else other for one, other in zip_longest(proven(draft, node), items)]
    return items or None


def checkpoint(draft: PlanDraft, node: Node, tally: Tally) -> None:
    """Store what has finished since the last time, where it is time for that."""
    status = draft.tasks[node.name]
    assert status.items is not None
    assert status.start_time is not None
    if len(tally.done) + len(tally.failed) <= status.items.succeeded + status.items.failed:
        return
    due = (status.items.checkpoint_time or status.start_time) + CHECKPOINT_EVERY
    if draft.now < due:
        draft.wakes.append(due)
        return
    items = gather(draft, node, tally)
    if items is None:
        return
    text = json_text.dump({"items": items})
    size = len(text.encode())
    if size > OUTPUT_LIMIT:
        refuse_size(draft, node, tally, size)
        return
    if _is_refused(draft, node):
        return
    placed = _placed(draft, node, items, text, size) if any(item is not None for item in items) else {}
    if placed is not None:
        numbers = _numbers(draft, node, tally, draft.now)
        if "output_ref" in placed:
            numbers = numbers.model_copy(update={"stored_indexes": stored_indexes(draft, items)})
        draft.move(node.name, items=numbers, **placed)


def close(
    draft: PlanDraft,
    node: Node,
    phase: TaskPhase,
    reason: Reason | None = None,
    message: str = "",
    items: Items | None = None,
    *,
    broken_off: bool = False,
) -> None:
    """End a fan-out, with the outputs of what has finished; `items` where they are gathered already. One whose outputs
    cannot be stored now does not end before they are; unless it is `broken_off`, for what it runs is to be stopped."""
    refusal = draft.facts.refusals.get(config_map(draft, node))
    if refusal is not None and broken_off:
        _end_unstored(draft, node, phase, reason, f"{message}; {_UNSTORED}: {refusal.message}")
        return
    if _is_refused(draft, node):
        return
    tally = draft.tallies[node.name]
    items = gather(draft, node, tally) if items is None else items
    if items is None:
        return
    output = {"items": items}
    text = json_text.dump(output)
    size = len(text.encode())
    if size > OUTPUT_LIMIT:
        refuse_size(draft, node, tally, size)
        return
    placed = _placed(draft, node, items, text, size)
    if placed is None:
        return
    draft.keep(node.name, output)
    draft.end(node.name, phase, reason, message, items=_numbers(draft, node, tally), **placed)


_UNSTORED = "the outputs of its finished items cannot be stored"


def _is_refused(draft: PlanDraft, node: Node) -> bool:
    """Return whether the ConfigMap of the outputs is refused, which the task says; what has finished stays to be
    stored."""
    refusal = draft.facts.refusals.get(config_map(draft, node))
    if refusal is None:
        return False
    if not draft.tallies[node.name].running:
        draft.unstored.add(node.name)
    draft.refuse(node.name, refusal, f"{_UNSTORED}: {refusal.message}")
    return True


def _end_unstored(draft: PlanDraft, node: Node, phase: TaskPhase, reason: Reason | None, message: str) -> None:
    """End a fan-out that is broken off while its outputs cannot be stored; those stored before stay readable."""
    draft.end(node.name, phase, reason, message, items=_numbers(draft, node, draft.tallies[node.name]))


def refuse_size(draft: PlanDraft, node: Node, tally: Tally, size: int) -> None:
    """End a fan-out whose outputs are too large together; what is stored of them stays readable."""
    message = (
        f"the outputs of {len(tally.done)} items exceed the limit ({size:,} bytes of JSON together, limit "
        f"{OUTPUT_LIMIT:,}); return less, or store the data elsewhere and return its location"
    )
    items = _numbers(draft, node, tally)
    draft.end(node.name, TaskPhase.FAILED, Reason.OUTPUT_TOO_LARGE, message, items=items)


def gather(draft: PlanDraft, node: Node, tally: Tally) -> Items | None:
    """Return the outputs in the order of the items, None for each that has none; or None where something must be read
    first.

    An item whose output is none is moved to the failed ones; one whose output the log has lost has none here.
    """
    if draft.tasks[node.name].output_ref is not None and node.name not in draft.facts.checkpoints:
        draft.reads.append(LoadItems(node.name, config_map(draft, node)))
        return None
    items: Items = stored(draft, node) or [None] * tally.total
    reads: dict[Read, int] = {}
    for index, proof in list(tally.done.items()):
        if proof is None or items[index] is not None:
            continue
        if isinstance(proof, ChildFact):
            read = _of_child(draft, proof, reads)
        else:
            read = _of_pod(draft, node, proof, reads)
        if isinstance(read, outputs.Output):
            items[index] = read.value
        elif isinstance(read, outputs.Rejected):
            del tally.done[index]
            tally.failed[index] = Failed(read.reason, read.message, exit_code=0, final=True)
    if sum(reads.values()) > outputs.FRAME_LIMIT:
        refuse_size(draft, node, tally, sum(reads.values()))
        return None
    draft.reads += reads
    return None if reads else items


def _of_child(draft: PlanDraft, child: ChildFact, reads: dict[Read, int]) -> outputs.Output | outputs.Rejected | None:
    """Return the outputs of a child run; `reads` takes the bytes that have to be read for it first."""
    if child.outputs_ref is None:
        return outputs.Output(as_stored(unpacked(child.outputs)))
    if child.name not in draft.facts.outputs:
        reference = child.outputs_ref
        reads[LoadOutput(child.name, reference.config_map, reference.sha256)] = reference.size
        return None
    value = draft.facts.outputs[child.name]
    if value is None or isinstance(value, Changed):
        lost = lost_outputs(child, value)
        return outputs.Rejected(lost.reason, lost.message)
    return outputs.Output(value)


def _of_pod(
    draft: PlanDraft, node: Node, pod: PodFact, reads: dict[Read, int]
) -> outputs.Output | outputs.Rejected | None:
    assert pod.terminated is not None
    message = pod.terminated.message
    read = outputs.of_container(message) if node.record.is_bare else outputs.of_bootstrap(message)
    if isinstance(read, outputs.Kept):  # no item is asked to
        return outputs.Rejected(Reason.INVALID_OUTPUT, "the output of an item cannot be in the output store")
    if not isinstance(read, outputs.Frame):
        return read
    if pod.uid not in draft.facts.frames:
        reads[ReadFrame(node.name, pod.name, pod.uid, read.size, read.sha256)] = read.size
        return None
    text = draft.facts.frames[pod.uid]
    return outputs.of_frame(read, text) if text is not None else None


def _placed(draft: PlanDraft, node: Node, items: Items, text: str, size: int) -> dict[str, Any] | None:
    """Return what the status says of where the outputs are; None where it must be read first what is there."""
    status = draft.tasks[node.name]
    if status.output is not None:
        draft.inline_size -= len(json_text.dump(unpacked(status.output)).encode())
    if status.output_ref is None and draft.fits_inline(size):
        return {"output": {"items": items}}
    if node.name not in draft.facts.checkpoints:
        draft.reads.append(LoadItems(node.name, config_map(draft, node)))
        return None
    stored, name = draft.facts.checkpoints[node.name], config_map(draft, node)
    # By the hash: to Python 1 is True.
    if stored is None or stored.sha256 != sha256(text):
        version = stored.version if stored is not None else None
        draft.stores.append(StoreItems(node.name, name, text, version))
    reused = draft.facts.outputs.get(node.name)
    if isinstance(reused, Changed) and status.output_ref is not None and status.output_ref.config_map != name:
        words = f"task {node.name}: {reused}; the items of the earlier run that were in it run again"
        draft.events.append(RunEvent(Reason.CONTENT_CHANGED.value, words, warning=True, task=node.name))
    if is_spoiled(draft, node):
        words = f"task {node.name}: {Changed(name)}; it is rewritten, and items whose pods are gone run again"
        draft.events.append(RunEvent(Reason.CONTENT_CHANGED.value, words, warning=True, task=node.name))
    return {"output": None, "output_ref": reference(name, text)}


def note_failed(draft: PlanDraft, node: Node, tally: Tally) -> bool:
    """Put items that failed before they were started on record; returns whether there was room for all of them."""
    before = draft.tasks[node.name].items
    assert before is not None
    # Of the others what is stored counts: they are to be stored in their time.
    kept = {"succeeded": before.succeeded, "stored_indexes": before.stored_indexes}
    noted = _numbers(draft, node, tally).model_copy(update=kept)
    draft.move(node.name, items=noted)
    return not (noted.failed_indexes or "").endswith(indexes.CUT)


def _numbers(draft: PlanDraft, node: Node, tally: Tally, checkpoint_time: datetime | None = None) -> ItemsStatus:
    before = draft.tasks[node.name].items
    fan_outs = sum(node.task.for_each is not None for node in draft.definition.nodes.values())
    shown = min(FAILURES_SHOWN, FAILURES_TOTAL // fan_outs)
    failed = sorted(tally.failed)
    return ItemsStatus(
        total=tally.total,
        succeeded=len(tally.done),
        failed=len(failed),
        failed_indexes=indexes.text(failed, min(1_000, INDEXES_TOTAL // fan_outs)) or None,
        failures=[_failure(index, tally.failed[index]) for index in failed[:shown]] or None,
        reused=before.reused if before else None,
        checkpoint_time=checkpoint_time or (before.checkpoint_time if before else None),
    )


def _failure(index: int, failure: Failed) -> ItemFailure:
    message = failure.message if len(failure.message) <= 200 else f"{failure.message[:199]}…"
    return ItemFailure(index=index, reason=failure.reason, message=message, exit_code=failure.exit_code)


def first_failure(failed: Iterable[tuple[int, Failed]]) -> str:
    """Return the first failed item, in words."""
    index, failure = min(failed, key=lambda entry: entry[0])
    return f"item {index}: {failure.reason.value}: {failure.message}"
