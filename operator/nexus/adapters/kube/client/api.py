"""The port to the Kubernetes API server: what the operator and the CLI may ask of it, and how it says no.

Objects are plain dicts, exactly as the API server's JSON gives them. This port has two adapters: `KubeClient`
(aiohttp, `client.py`) and `FakeCluster` (in memory, `nexus.adapters.fake`). One contract test holds both to the same
answers.

The errors (all carry `status`, `reason`, `message`, `kind`, `name`):

    ApiError
    ├── BadRequest           400  the server could not make sense of the call (logs of a container that has not started)
    ├── Unauthorized         401  the credentials are missing, wrong or expired
    ├── Forbidden            403  RBAC, an admission policy, or an exhausted quota: the message tells them apart
    ├── NotFound             404  the object, its namespace or the whole resource (CRD) is not there
    ├── Conflict             409  another resourceVersion or UID than the one named: read again, decide again
    │   └── AlreadyExists    409  a create found its name taken
    ├── Expired              410  a list's continue token or a watch's resourceVersion is too old: list again
    ├── TooLarge             413  the object does not fit (etcd keeps 1.5 MiB an object, the server reads 3 MiB)
    ├── Invalid              422  validation refused the object; the message names the fields
    ├── Throttled            429  asked to come back after `retry_after` seconds, and the time of this call is up
    ├── ServerError          5xx  the server's own trouble
    ├── Unreachable           -   no answer: `outcome_unknown` says whether the call may have taken effect all the same
    └── NotLeading            -   never sent: another operator may be leading by now

What is repeated, and what is not. A call is repeated where that cannot do anything twice: reads; deletes that name a
UID; anything the server refused before looking at it (429, an expired token) and anything that never left (connection
refused). A create or patch whose answer was lost is NOT repeated: it raises `Unreachable(outcome_unknown=True)`. That
loses nothing, because every name we create is deterministic (the second create meets `AlreadyExists`, and the owner's
UID tells ours from another's) and every status write carries the resourceVersion it was decided on (the second meets
`Conflict`). All tries of one call together are capped in seconds, never minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]
"""One Kubernetes object as JSON gives it. One that nests deeper than is read is a stub with its reason
(nexus.adapters.kube.client.brief.unreadable)."""

LOG_BYTES = 2 * 1024 * 1024
"""How much of the end of a log is kept. A framed output is at most 1 MiB before base64, and near the end."""
LOG_READ = 64 * 1024 * 1024
"""Bytes of a log that are read at most; the kubelet begins a new file after 10 MiB, and serves the newest one."""

Counter = Callable[[str, "Kind", int, float], None]
"""Called once per HTTP exchange with (verb, kind, HTTP code or 0 where no answer came, seconds)."""

Gate = Callable[[str, "Kind"], Awaitable[None]]
"""Asked before each call with (verb, kind): it may wait, or refuse with an ApiError."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API server: where it lives in the URL and what it is called."""

    group: str
    """API group, empty for the core group."""
    version: str
    plural: str
    """Lower-case plural, as in URLs and RBAC rules."""
    kind: str
    """CamelCase singular, as in `kind:`."""
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion:` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL path; a `namespace` of None or "" means all of them (lists) or none (cluster-scoped kinds)."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


WORKFLOWS = Kind("nexus.dev", "v1alpha1", "workflows", "Workflow")
WORKFLOW_RUNS = Kind("nexus.dev", "v1alpha1", "workflowruns", "WorkflowRun")
JOBS = Kind("batch", "v1", "jobs", "Job")
PODS = Kind("", "v1", "pods", "Pod")
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
SECRETS = Kind("", "v1", "secrets", "Secret")
EVENTS = Kind("", "v1", "events", "Event")
SELF_SUBJECT_REVIEWS = Kind("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
"""Nothing is stored: the answer to a creation says who the client is (Kubernetes 1.28)."""
SELF_SUBJECT_ACCESS_REVIEWS = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
"""Nothing is stored: the answer to a creation says whether the client has a right."""
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
CONTROLLER_REVISIONS = Kind("apps", "v1", "controllerrevisions", "ControllerRevision")


@dataclass(frozen=True, slots=True)
class Call:
    """A call in the words of RBAC."""

    verb: str
    kind: Kind
    namespace: str
    """Empty for all of them."""
    subresource: str = ""


class Listing(list[Object]):
    """The objects of a LIST, and the resourceVersion that a watch continues after. Items carry apiVersion and kind."""

    def __init__(self, items: list[Object], resource_version: str) -> None:
        super().__init__(items)
        self.resource_version = resource_version


class ApiError(Exception):
    """A call to the API server that was refused or got no answer. See the module's docstring for the tree."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        kind: str = "",
        name: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.kind = kind
        self.name = name
        self.retry_after = retry_after
        """Seconds the server asked us to wait; 0 where it did not say."""
        self.call: Call | None = None
        """What this is the answer to, where that was noted (see AttributedApi)."""

    def __str__(self) -> str:
        subject = f"{self.kind} {self.name}".strip()
        code = f"{self.status} {self.reason}".strip() if self.status else self.reason
        return f"{subject}: {self.message} ({code})" if subject else f"{self.message} ({code})"


class BadRequest(ApiError):
    """400."""


class Unauthorized(ApiError):
    """401."""


class Forbidden(ApiError):
    """403."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: the resourceVersion or UID named is not the object's."""


class AlreadyExists(Conflict):
    """409, reason AlreadyExists."""


class Expired(ApiError):
    """410."""


class TooLarge(ApiError):
    """413, or etcd's own refusal of an object that is too big."""


class Invalid(ApiError):
    """422."""


class Throttled(ApiError):
    """429, for as long as the call may take."""


class ServerError(ApiError):
    """5xx."""


class Unreachable(ApiError):
    """No answer from the server."""

    def __init__(self, message: str, *, kind: str = "", name: str = "", outcome_unknown: bool = False) -> None:
        super().__init__(message, reason="Unreachable", kind=kind, name=name)
        self.outcome_unknown = outcome_unknown
        """True where the call may have taken effect although its answer never came."""


class NotLeading(ApiError):
    """A write that was not sent: another operator may be leading by now, and it is the other one's to do."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: TooLarge,
    422: Invalid,
    429: Throttled,
}

# etcd's limits reach the client as a plain 500 with one of these texts (etcd server/v3 and grpc-go), not as a 413.
_TOO_LARGE_TEXTS = ("etcdserver: request is too large", "trying to send message larger than max")


def error_from(
    status: int, reason: str, message: str, *, kind: str = "", name: str = "", retry_after: float = 0.0
) -> ApiError:
    """Return the exception for an answer with this HTTP code and the `reason` and `message` of its Status body."""
    family = _BY_CODE.get(status, ServerError if status >= 500 else ApiError)
    if status == 409 and reason == "AlreadyExists":
        family = AlreadyExists
    elif status >= 500 and any(text in message for text in _TOO_LARGE_TEXTS):
        family = TooLarge
    return family(message, status=status, reason=reason, kind=kind, name=name, retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch: `type` is ADDED, MODIFIED or DELETED, `object` the object as of then."""

    type: str
    object: Object


class KubeApi(Protocol):
    """The API server. Every method raises `ApiError` and its kin; objects handed in are never changed.

    The answer to a write of a large run or Workflow may be in brief form (nexus.adapters.kube.client.brief).
    """

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object, from the server and not a cache."""
        ...

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        in_brief: bool = False,
    ) -> Listing:
        """Read all objects of a kind in a namespace (None: in all), in pages; `in_brief` without what is large in them
        (nexus.adapters.kube.client.brief): for whoever does not need it, and for many objects that may each be 1.5 MiB.

        The selectors are kubectl's `-l` and `--field-selector`. By field, a kind can be selected only by the few the
        server has chosen: any by metadata.name, Events by their involvedObject, too.
        """
        ...

    async def uids(self, kind: Kind, namespace: str | None, label_selector: str = "") -> set[str]:
        """Return which objects of a kind there are, by their UIDs. Of thousands neither the network nor the memory
        holds more than a page of their metadata."""
        ...

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create; `AlreadyExists` where the name is taken. `metadata.generateName` is honoured."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch (RFC 7386) all but the status; a `metadata.resourceVersion` inside makes it conditional."""
        ...

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch the status alone; `patch` is `{"metadata": {"resourceVersion": …}, "status": {…}}`."""
        ...

    async def replace_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Put a custom resource's status in place of the old one; `body` is as for `patch_status`.

        For values that users choose: a merge patch drops each null in them, within lists too. `metadata` must hold
        the resourceVersion; `Conflict` where it, or the UID that is named, is not the object's.
        """
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        """Delete, propagationPolicy Background; with `uid`, `Conflict` where the object of that name is another one.

        `NotFound` may also mean that an earlier try of this very call did it and its answer was lost.
        """
        ...

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "task",
        tail_lines: int | None = None,
        keep_bytes: int = LOG_BYTES,
    ) -> bytes:
        """Return the end of what a container has written so far, stdout and stderr: the last `tail_lines` (None: all),
        of them the last `keep_bytes`.

        Never more than `keep_bytes` is in memory. Of a log that is longer than LOG_READ, or that grows faster than it
        can be read, it is the end of what was read.
        """
        ...

    def stream_logs(
        self, namespace: str, pod: str, *, container: str = "task", tail_lines: int | None = None, follow: bool = True
    ) -> AsyncIterator[bytes]:
        """Yield what a container writes, in chunks as they come, until it ends; without `follow` what it has written so
        far. Chunks need not end with a line.

        Whoever leaves it early closes it (`contextlib.aclosing`); so with `watch`.
        """
        ...

    def watch(
        self, kind: Kind, namespace: str | None, label_selector: str = "", resource_version: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Yield the changes after `resource_version` (of a `Listing`) until the server closes; `Expired` means list
        again."""
        ...
