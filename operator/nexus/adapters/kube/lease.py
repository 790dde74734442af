"""The Lease (coordination.k8s.io/v1) of an election: every write is conditional on what was read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from nexus.adapters.kube.client.api import LEASES, ApiError, Conflict, KubeApi, NotFound, Object
from nexus.adapters.kube.client.attributed import AttributedApi
from nexus.core.lease import LeaseRecord
from nexus.runtime.election import Held, LeaseStore, LeaseUnavailable, Taken


class KubeLease(LeaseStore):
    """One Lease object. It is made by the first candidate, and never deleted."""

    def __init__(self, api: KubeApi, namespace: str, name: str, clock: Callable[[], datetime]) -> None:
        self._api = AttributedApi(api)
        self._namespace = namespace
        self._name = name
        self._clock = clock

    async def read(self) -> Held | None:
        """See LeaseStore."""
        try:
            return _held(await self._api.get(LEASES, self._namespace, self._name))
        except NotFound:
            return None
        except ApiError as error:
            raise LeaseUnavailable(str(error)) from error

    async def create(self, holder: str, seconds: int) -> Held:
        """See LeaseStore."""
        body = {"metadata": {"name": self._name}, "spec": self._spec(holder, seconds, 0, taken=True)}
        try:
            return _held(await self._api.create(LEASES, self._namespace, body))
        except Conflict as error:
            raise Taken from error
        except ApiError as error:
            raise LeaseUnavailable(str(error)) from error

    async def replace(self, held: Held, holder: str, seconds: int) -> Held:
        """See LeaseStore."""
        taken = bool(holder) and holder != held.record.holder
        spec = self._spec(holder, seconds, held.record.transitions + taken, taken=taken)
        patch = {"metadata": {"resourceVersion": held.version}, "spec": spec}
        try:
            return _held(await self._api.patch(LEASES, self._namespace, self._name, patch))
        except (Conflict, NotFound) as error:
            raise Taken from error
        except ApiError as error:
            raise LeaseUnavailable(str(error)) from error

    def _spec(self, holder: str, seconds: int, transitions: int, *, taken: bool) -> Object:
        # MicroTime; for people who look at it, no decision depends on it.
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Object = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": now}
        return spec | {"leaseTransitions": transitions} | ({"acquireTime": now} if taken else {})


def _held(body: Object) -> Held:
    """Return what the object says; all its fields may be missing."""
    spec = body.get("spec") or {}
    record = LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        seconds=int(spec.get("leaseDurationSeconds") or 1),
        renewed=spec.get("renewTime") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
    )
    return Held(record, body["metadata"]["resourceVersion"])
