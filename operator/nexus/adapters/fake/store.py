"""The API server of the fake cluster: objects, versions, validation, watches, graceful deletion and garbage collection.

Everything here is synchronous; `FakeCluster` puts the asynchronous port in front of it, the simulated controllers use
it directly. Objects go in and come out as deep copies.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from nexus.adapters.fake import admission
from nexus.adapters.fake.clock import Clock
from nexus.adapters.fake.objects import copied, duplicate, merged, owners, timestamp
from nexus.adapters.fake.selectors import fields, selector
from nexus.adapters.kube.client.api import PODS, Kind, Object, WatchEvent, error_from

GARBAGE_DELAY = 0.1
"""Seconds from an owner's end to that of what it owned; settle() does not wait for it."""
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery util/rand: no vowels, no look-alikes

HISTORY = 10_000
"""Changes a watch may still ask for by default; before them it gets 410 Expired."""

Objects = list[Object]
Callback = Callable[[str, Object], None]


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    kind: Kind
    type: str
    old: Object | None
    new: Object


@dataclass
class Subscription:
    """A watch on one kind. Queued ones hold their events back in `pending` until `deliver()`: a stale cache.

    `pending` is a plain list: a test reorders, doubles or drops events in it as networks and reconnecting watches do.
    """

    kind: Kind
    callback: Callback
    namespace: str | None
    matches: Callable[[dict[str, str]], bool]
    queued: bool
    store: Store
    pending: list[WatchEvent] = field(default_factory=list)

    def offer(self, type_: str, old: Object | None, new: Object | None) -> None:
        """Turn one change into what this watch sees of it (nothing, where neither side matches the selector)."""
        was, is_ = self._sees(old), self._sees(new)
        if not was and not is_:
            return
        if type_ == "MODIFIED" and was != is_:
            type_ = "ADDED" if is_ else "DELETED"
        self._send(WatchEvent(type_, duplicate(new if new is not None else old)))

    def deliver(self, count: int | None = None) -> int:
        """Hand over the first `count` pending events (all of them without); returns how many."""
        batch, self.pending = self.pending[:count], self.pending[count:] if count is not None else []
        for event in batch:
            self.callback(event.type, event.object)
        return len(batch)

    def replay(self) -> None:
        """Send ADDED for all that is there now, as on start-up and after every 410. What is gone is not reported."""
        for body in self.store.bodies(self.kind, self.namespace):
            if self._sees(body):
                self._send(WatchEvent("ADDED", duplicate(body)))

    def close(self) -> None:
        """End the watch."""
        self.store.subscriptions.remove(self)

    def _sees(self, body: Object | None) -> bool:
        if body is None or (self.namespace and body["metadata"]["namespace"] != self.namespace):
            return False
        return self.matches(body["metadata"].get("labels") or {})

    def _send(self, event: WatchEvent) -> None:
        if self.queued:
            self.pending.append(event)
        else:
            self.callback(event.type, event.object)


class Store:
    """Objects by kind, namespace and name, with the API server's rules about changing them."""

    def __init__(self, clock: Clock, seed: int = 0, history: int = HISTORY) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.subscriptions: list[Subscription] = []
        self.listeners: list[Callable[[], object]] = []
        """Called after every change of anything."""
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._version = 1000
        self._garbage_due = False
        self._history: deque[_Change] = deque(maxlen=history)

    @property
    def version(self) -> str:
        """The resourceVersion of the last change to anything."""
        return str(self._version)

    def bodies(self, kind: Kind, namespace: str | None = None) -> Iterator[Object]:
        """Yield the stored objects themselves, by name, to read only."""
        for (space, _), body in sorted(self._objects.get(kind, {}).items(), key=lambda entry: entry[0]):
            if not namespace or space == namespace:
                yield body

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; raises NotFound."""
        return _read(self._stored(kind, namespace, name))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return one object, or None."""
        body = self._objects.get(kind, {}).get((namespace, name))
        return None if body is None else _read(body)

    def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> Objects:
        """Return all objects that match, by name; raises BadRequest for a selector that makes no sense."""
        try:
            has_labels, has_fields = selector(label_selector), fields(kind, field_selector)
        except ValueError as error:
            raise error_from(400, "BadRequest", str(error), kind=kind.kind) from None
        return [
            _read(body)
            for body in self.bodies(kind, namespace)
            if has_labels(body["metadata"].get("labels") or {}) and has_fields(body)
        ]

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create; raises AlreadyExists, Invalid, TooLarge, BadRequest."""
        body = copied(body)
        metadata = body.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + "".join(self.random.choices(_NAME_LETTERS, k=5))
        name = metadata.get("name") or ""
        if metadata.setdefault("namespace", namespace) != namespace:
            message = "the namespace of the provided object does not match the namespace sent on the request"
            raise error_from(400, "BadRequest", message, kind=kind.kind, name=name)
        if (namespace, name) in self._objects.get(kind, {}):
            message = f'{_resource(kind)} "{name}" already exists'
            raise error_from(409, "AlreadyExists", message, kind=kind.kind, name=name)
        body.update(apiVersion=kind.api_version, kind=kind.kind)
        metadata["name"] = name
        metadata["uid"] = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = timestamp(self.clock.now())
        for field_ in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field_, None)
        if kind in admission.WITH_STATUS:
            body.pop("status", None)
        if kind in admission.WITH_GENERATION:
            metadata["generation"] = 1
        body = admission.defaulted(kind, body)
        admission.validate(kind, body)
        self._commit(kind, "ADDED", None, body)
        if owners(body):
            self._garbage_possible()  # the owner may be gone already: the garbage collector finds out
        return _read(body)

    def restore(self, kind: Kind, body: Object) -> None:
        """Put an object as a backup has it: with its UID, times and status, and a resourceVersion of now."""
        self._commit(kind, "ADDED", None, copied(body))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch everything but the status (of kinds that keep it apart)."""

        def change(body: Object) -> Object:
            result: Object = merged(body, patch)
            if kind in admission.WITH_STATUS:
                result.pop("status", None)
                if "status" in body:
                    result["status"] = body["status"]
            return result

        return self._update(kind, namespace, name, patch, change)

    def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch the status alone."""
        if kind not in admission.WITH_STATUS:
            raise error_from(
                404, "NotFound", "the server could not find the requested resource", kind=kind.kind, name=name
            )

        def change(body: Object) -> Object:
            status = merged(body, {"status": patch["status"]} if "status" in patch else {}).get("status")
            return (
                {**body, "status": status} if status is not None else {k: v for k, v in body.items() if k != "status"}
            )

        return self._update(kind, namespace, name, patch, change)

    def replace_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Put the status of a custom resource in place of the old one; unlike a merge patch it keeps nulls."""
        asked, old = body["metadata"], self._stored(kind, namespace, name)
        if not asked.get("resourceVersion"):
            message = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise error_from(422, "Invalid", message, kind=kind.kind, name=name)
        if asked.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            message = (
                f'Operation cannot be fulfilled on {_resource(kind)} "{name}": Precondition failed: UID in precondition'
            )
            raise error_from(409, "Conflict", message, kind=kind.kind, name=name)
        return self._update(kind, namespace, name, body, lambda current: {**current, "status": copied(body["status"])})

    def change(self, kind: Kind, namespace: str, name: str, edit: Callable[[Object], None]) -> Object:
        """Write as a controller does: `edit` alters a copy in place, status and all; stored only where it
        differs."""

        def change(body: Object) -> Object:
            body = duplicate(body)
            edit(body)
            return body

        return self._update(kind, namespace, name, {}, change)

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete; pods go gracefully, finalizers hold. `propagation` is Background or Orphan."""
        body = self._stored(kind, namespace, name)
        metadata = body["metadata"]
        if uid is not None and uid != metadata["uid"]:
            message = (
                f'Operation cannot be fulfilled on {kind.kind} "{name}": the UID in the precondition ({uid}) does not '
                f"match the UID in record ({metadata['uid']}). The object might have been deleted and then recreated"
            )
            raise error_from(409, "Conflict", message, kind=kind.kind, name=name)
        if propagation == "Orphan":
            self._orphan(metadata["uid"])
        grace = _grace(kind, body, grace_seconds)
        if grace == 0 and not metadata.get("finalizers"):
            self._remove(kind, body)
            return
        if metadata.get("deletionGracePeriodSeconds", grace + 1) <= grace:
            return  # it is going already, and no later than this

        def edit(new: Object) -> None:
            if "deletionTimestamp" not in new["metadata"] and "generation" in new["metadata"]:
                new["metadata"]["generation"] += 1
            new["metadata"]["deletionTimestamp"] = timestamp(self.clock.now() + timedelta(seconds=grace))
            new["metadata"]["deletionGracePeriodSeconds"] = grace

        self.change(kind, namespace, name, edit)

    def subscribe(
        self,
        kind: Kind,
        callback: Callback,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        queued: bool = False,
    ) -> Subscription:
        """Watch changes from now on; `callback(type, object)` is called at once, or by deliver() when queued."""
        watch = Subscription(kind, callback, namespace, selector(label_selector), queued, self)
        self.subscriptions.append(watch)
        return watch

    def catch_up(self, watch: Subscription, resource_version: str) -> None:
        """Send a watch all changes after a resourceVersion; raises Expired where they are no longer known."""
        after = int(resource_version)
        if self._history and len(self._history) == self._history.maxlen and after < self._history[0].version - 1:
            message = f"too old resource version: {after} ({self._history[0].version})"
            raise error_from(410, "Expired", message, kind=watch.kind.kind)
        for change in self._history:
            if change.version > after and change.kind == watch.kind:
                watch.offer(change.type, change.old, change.new)

    def collect_garbage(self) -> None:
        """Delete what has owners none of which is there any more, and what those owned, and so on."""
        self._garbage_due = False
        found = True
        while found:
            alive = {body["metadata"]["uid"] for objects in self._objects.values() for body in objects.values()}
            found = False
            for kind, objects in list(self._objects.items()):
                for body in list(objects.values()):
                    held = owners(body)
                    if held and not any(owner["uid"] in alive for owner in held) and not _going(body):
                        found = True
                        self.delete(kind, body["metadata"]["namespace"], body["metadata"]["name"])

    def _stored(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            return self._objects[kind][namespace, name]
        except KeyError:
            message = f'{_resource(kind)} "{name}" not found'
            raise error_from(404, "NotFound", message, kind=kind.kind, name=name) from None

    def _update(
        self, kind: Kind, namespace: str, name: str, patch: Object, change: Callable[[Object], Object]
    ) -> Object:
        old = self._stored(kind, namespace, name)
        asked = patch.get("metadata") or {}
        _check_preconditions(kind, old, asked)
        new = _restored(change(old), old)
        if new == old:
            return _read(old)  # etcd3 store: an update that changes nothing is not written, and no watch shows it
        parts = [{key: part for key, part in body.items() if key not in ("metadata", "status")} for body in (old, new)]
        if kind in admission.WITH_GENERATION and parts[0] != parts[1]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        admission.validate(kind, new, old)
        if _going(new) and not new["metadata"].get("finalizers") and not new["metadata"]["deletionGracePeriodSeconds"]:
            self._remove(kind, new)
        else:
            self._commit(kind, "MODIFIED", old, new)
        return _read(new)

    def _commit(self, kind: Kind, type_: str, old: Object | None, new: Object) -> None:
        self._version += 1
        metadata = new["metadata"]
        metadata["resourceVersion"] = str(self._version)
        self._objects.setdefault(kind, {})[metadata["namespace"], metadata["name"]] = new
        self._announce(kind, type_, old, new)

    def _remove(self, kind: Kind, body: Object) -> None:
        metadata = body["metadata"]
        old = self._objects[kind].pop((metadata["namespace"], metadata["name"]))
        self._version += 1
        last = duplicate(body)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._announce(kind, "DELETED", old, last)
        self._garbage_possible()

    def _announce(self, kind: Kind, type_: str, old: Object | None, new: Object) -> None:
        self._history.append(_Change(self._version, kind, type_, old, new))
        for watch in list(self.subscriptions):
            if watch.kind == kind:
                watch.offer(type_, old, new)
        for listener in list(self.listeners):
            listener()

    def _orphan(self, uid: str) -> None:
        def edit(body: Object) -> None:
            body["metadata"]["ownerReferences"] = [owner for owner in owners(body) if owner["uid"] != uid]

        for kind, objects in self._objects.items():
            for namespace, name in list(objects):
                if any(owner["uid"] == uid for owner in owners(objects[namespace, name])):
                    self.change(kind, namespace, name, edit)

    def _garbage_possible(self) -> None:
        if not self._garbage_due:
            self._garbage_due = True
            self.clock.after(GARBAGE_DELAY, self.collect_garbage)


def _read(body: Object) -> Object:
    result: Object = duplicate(body)
    return result


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _going(body: Object) -> bool:
    return "deletionTimestamp" in body["metadata"]


def _grace(kind: Kind, body: Object, asked: int | None) -> int:
    """Return the grace period in seconds: pods that a kubelet may be running get one (podStrategy.CheckGracefulDelete),
    all else goes at once."""
    if (
        kind != PODS
        or not body["spec"].get("nodeName")
        or body.get("status", {}).get("phase") in ("Succeeded", "Failed")
    ):
        return 0
    return asked if asked is not None else int(body["spec"]["terminationGracePeriodSeconds"])


def _check_preconditions(kind: Kind, old: Object, asked: Object) -> None:
    """Another UID is invalid in a patch (only a DELETE takes it as a precondition), another version a conflict."""
    name = old["metadata"]["name"]
    if asked.get("uid") and asked["uid"] != old["metadata"]["uid"]:
        message = f'{kind.kind} "{name}" is invalid: metadata.uid: Invalid value: "{asked["uid"]}": field is immutable'
        raise error_from(422, "Invalid", message, kind=kind.kind, name=name)
    if asked.get("resourceVersion") and asked["resourceVersion"] != old["metadata"]["resourceVersion"]:
        message = (
            f'Operation cannot be fulfilled on {_resource(kind)} "{name}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        raise error_from(409, "Conflict", message, kind=kind.kind, name=name)


def _restored(new: Object, old: Object) -> Object:
    """Put back what no client can change."""
    metadata = new["metadata"] = dict(new.get("metadata") or {})
    for key in ("name", "namespace", "uid", "creationTimestamp", "resourceVersion"):
        metadata[key] = old["metadata"][key]
    new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
    return new
