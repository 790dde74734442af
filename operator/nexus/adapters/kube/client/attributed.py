"""An API server whose errors say which call they are the answer to: by verb, kind and namespace.

An answer that is not the API server's, such as the page of a proxy with code 200, counts as none: it is Unreachable,
and what it was to say is not known. Nothing behind this has to expect a body without its metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from nexus.adapters.kube.client.api import (
    LOG_BYTES,
    PODS,
    ApiError,
    Call,
    Kind,
    KubeApi,
    Listing,
    Object,
    Unreachable,
    WatchEvent,
)


class AttributedApi(KubeApi):
    """Passes every call on, and notes it on the error that comes of it."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See KubeApi."""
        with _noted("get", kind, namespace):
            return _checked(kind, await self._api.get(kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        in_brief: bool = False,
    ) -> Listing:
        """See KubeApi."""
        with _noted("list", kind, namespace):
            found = await self._api.list(
                kind, namespace, label_selector, field_selector=field_selector, in_brief=in_brief
            )
            for body in found:
                _checked(kind, body)
            return found

    async def uids(self, kind: Kind, namespace: str | None, label_selector: str = "") -> set[str]:
        """See KubeApi."""
        with _noted("list", kind, namespace):
            return await self._api.uids(kind, namespace, label_selector)

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """See KubeApi."""
        with _noted("create", kind, namespace):
            return _checked(kind, await self._api.create(kind, namespace, body))

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """See KubeApi."""
        with _noted("patch", kind, namespace):
            return _checked(kind, await self._api.patch(kind, namespace, name, patch))

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """See KubeApi."""
        with _noted("patch", kind, namespace, "status"):
            return _checked(kind, await self._api.patch_status(kind, namespace, name, patch))

    async def replace_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """See KubeApi."""
        with _noted("update", kind, namespace, "status"):
            return _checked(kind, await self._api.replace_status(kind, namespace, name, body))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        """See KubeApi."""
        with _noted("delete", kind, namespace):
            await self._api.delete(kind, namespace, name, uid)

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "task",
        tail_lines: int | None = None,
        keep_bytes: int = LOG_BYTES,
    ) -> bytes:
        """See KubeApi."""
        with _noted("get", PODS, namespace, "log"):
            return await self._api.logs(
                namespace, pod, container=container, tail_lines=tail_lines, keep_bytes=keep_bytes
            )

    def stream_logs(
        self, namespace: str, pod: str, *, container: str = "task", tail_lines: int | None = None, follow: bool = True
    ) -> AsyncIterator[bytes]:
        """See KubeApi."""
        return self._api.stream_logs(namespace, pod, container=container, tail_lines=tail_lines, follow=follow)

    def watch(
        self, kind: Kind, namespace: str | None, label_selector: str = "", resource_version: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See KubeApi."""
        return self._api.watch(kind, namespace, label_selector, resource_version)


@contextmanager
def _noted(verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> Iterator[None]:
    call = Call(verb, kind, namespace or "", subresource)
    try:
        yield
    except ApiError as error:
        error.call = call
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        unread = _unread(kind)
        unread.call = call
        raise unread from error


def _unread(kind: Kind) -> Unreachable:
    words = "the response does not come from an API server; check the proxies between the operator and the API server"
    return Unreachable(words, kind=kind.kind, outcome_unknown=True)


def _checked(kind: Kind, body: Any) -> Object:
    """Return the body, where it has what every stored object has. Raises Unreachable."""
    metadata = body.get("metadata", {}) if isinstance(body, dict) else None
    needed = ("name", "uid", "resourceVersion") if kind.namespaced else ()
    if not isinstance(metadata, dict) or not all(metadata.get(name) for name in needed):
        raise _unread(kind)
    found: Object = body
    return found
