"""Refusals: what an error of the API server means for a run, in words that say what to do.

Of a 403 only the API server can tell whether a right is missing (RBAC) or an admission rule refused the object: it is
asked, by a SelfSubjectAccessReview, which anybody may create (system:basic-user). The answer is kept for some seconds.
Where a right came back before it was asked, the words of the authorizer, which no admission rule speaks in, say it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from nexus.adapters.kube.client.api import (
    SELF_SUBJECT_ACCESS_REVIEWS,
    WORKFLOW_RUNS,
    ApiError,
    BadRequest,
    Call,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    KubeApi,
    NotFound,
    NotLeading,
    Object,
    TooLarge,
    Unreachable,
)
from nexus.api.reasons import Reason
from nexus.core.model.refusal import Code, Refusal
from nexus.core.model.status_limits import cut
from nexus.runtime.ports import Refused

KEPT = timedelta(seconds=10)
"""How long an answer about a right counts: so long it may take until one that was given is made use of."""
WORDS_LIMIT = 700
"""Bytes of the API server's own words in a message."""

# kubernetes/plugin/pkg/admission/resourcequota, and lifecycle's NamespaceTerminating.
_QUOTA = "exceeded quota"
_TERMINATING = "because it is being terminated"
# apiserver/pkg/endpoints/handlers/responsewriters: what an authorizer's "no" begins with. That of an admission rule
# begins with the rule's name, or has it where this has the user.
_NO_RIGHT = re.compile(r'^\S+( "[^"]*")? is forbidden: User "[^"]*" cannot \w+ resource "')
_DONE = {"get": "read", "patch": "change", "update": "change"}
_NO_CALL = Call("call", Kind("", "", "objects", "object"), "")
# What startTimeoutSeconds bounds, and its reason: the payload's ConfigMap is part of the Job.
_STARTS = {WORKFLOW_RUNS: Reason.CHILD_REFUSED}


class Refusals:
    """Turns errors into refusals."""

    def __init__(self, api: KubeApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._rights: dict[Call, tuple[datetime, bool]] = {}
        """When it was asked, and whether the right is missing."""

    async def of(self, error: ApiError, *, start: bool = False) -> Refusal:
        """Return what an error means; `start` where a task waits for what was to be made."""
        call = error.call or _NO_CALL
        lacks = False
        if isinstance(error, Forbidden) and _QUOTA not in error.message and _TERMINATING not in error.message:
            lacks = await self._lacks(call, error)
        refusal = refusal_of(error, call, lacks=lacks)
        if start and call.verb == "create" and refusal.code is Code.ADMISSION:
            return replace(refusal, reason=_STARTS.get(call.kind, Reason.JOB_REFUSED), limited=True)
        return refusal

    async def _lacks(self, call: Call, error: ApiError) -> bool:
        """Return whether the right for a call is missing. Where that cannot be asked, it may be: nothing is given up
        then."""
        if _NO_RIGHT.match(error.message):
            return True
        now = self._clock()
        asked_at, lacks = self._rights.get(call, (None, False))
        if asked_at is not None and now - asked_at < KEPT:
            return lacks
        try:
            answer = await self._api.create(SELF_SUBJECT_ACCESS_REVIEWS, "", _review(call))
        except NotLeading:
            raise
        except ApiError:
            return True
        lacks = (answer.get("status") or {}).get("allowed") is not True
        self._rights = {known: entry for known, entry in self._rights.items() if now - entry[0] < KEPT}
        self._rights[call] = now, lacks
        return lacks


def _review(call: Call) -> Object:
    asked = {
        "namespace": call.namespace,
        "verb": call.verb,
        "group": call.kind.group,
        "version": call.kind.version,
        "resource": call.kind.plural,
        **({"subresource": call.subresource} if call.subresource else {}),
    }
    return {"spec": {"resourceAttributes": asked}}


def refusal_of(error: ApiError, call: Call, *, lacks: bool = False) -> Refusal:
    """Return the refusal of an error; `lacks` where it is known that the right for the call is missing."""
    code = _code(error, lacks=lacks)
    reason, words = _told(code, error, call)
    return Refusal(
        reason,
        words,
        final=False,
        code=code,
        write=call.verb,
        resource="/".join(part for part in (call.kind.plural, call.subresource) if part),
    )


def name_taken(kind: Kind, words: str) -> Refusal:
    """Return the refusal of an object whose name another one has."""
    return Refusal(Reason.NAME_TAKEN, words, code=Code.NAME_TAKEN, resource=kind.plural)


def _code(error: ApiError, *, lacks: bool) -> Code:
    match error:
        case Forbidden() if _QUOTA in error.message:
            return Code.QUOTA
        case Forbidden() if _TERMINATING in error.message:
            return Code.NAMESPACE
        case Forbidden():
            return Code.RIGHTS if lacks else Code.ADMISSION
        case TooLarge():
            return Code.TOO_LARGE
        case NotFound():
            return Code.NAMESPACE
        case Conflict():
            return Code.CONFLICT
        case BadRequest() | Invalid():
            return Code.ADMISSION
        case Unreachable() if error.outcome_unknown:
            return Code.UNKNOWN
        case _ if 400 <= error.status < 500 and error.status not in (401, 410, 429):
            return Code.ADMISSION
    return Code.UNAVAILABLE


def _told(code: Code, error: ApiError, call: Call) -> tuple[Reason, str]:
    words = cut(error.message, WORDS_LIMIT)
    kind, verb, subresource = call.kind, call.verb, call.subresource
    what = f"the {f'{subresource} of the ' if subresource else ''}{kind.kind}"
    match code:
        case Code.RIGHTS:
            resource = (
                f"{kind.plural}{f'/{subresource}' if subresource else ''}{f'.{kind.group}' if kind.group else ''}"
            )
            lacks = f"the operator is not allowed to {verb} {resource} in namespace {call.namespace} (RBAC)"
            return Reason.MISSING_RIGHTS, f"{lacks}; check the operator's Role and RoleBinding: {words}"
        case Code.QUOTA:
            return Reason.QUOTA_EXCEEDED, f"{words}; raise the ResourceQuota or delete what is not needed"
        case Code.NAMESPACE:
            gone = f"namespace {call.namespace} is being deleted or gone; run it in another namespace"
            return Reason.NAMESPACE_TERMINATING, f"{gone}: {words}"
        case Code.TOO_LARGE:
            fix = "make it smaller, or raise the limit of the proxy in front of the API server"
            return Reason.WRITE_REFUSED, f"the API server refuses {what} as too large; {fix}: {words}"
        case Code.ADMISSION:
            return Reason.WRITE_REFUSED, f"the API server refuses {what}: {words}"
        case Code.CONFLICT:
            return Reason.API_UNAVAILABLE, f"the API server reports a conflict about {what}: {words}"
        case Code.UNKNOWN:
            unknown = (
                f"the API server did not answer the request to {_DONE.get(verb, verb)} {what}, which may have been "
                "carried out"
            )
            return Reason.API_UNAVAILABLE, f"{unknown}: {words}"
    return Reason.API_UNAVAILABLE, f"the API server could not {_DONE.get(verb, verb)} {what}: {words}"


class _Refuser(Protocol):
    @property
    def refusals(self) -> Refusals: ...


RefusingBackend = TypeVar("RefusingBackend", bound=_Refuser)
Given = ParamSpec("Given")
Result = TypeVar("Result")


def refusing(
    method: Callable[Concatenate[RefusingBackend, Given], Awaitable[Result]], *, start: bool = False
) -> Callable[Concatenate[RefusingBackend, Given], Coroutine[Any, Any, Result]]:
    """Return a method of a port that raises Refused in place of any ApiError; `start` where a task waits for what it
    makes.

    NotLeading goes through: the write is another operator's to make.
    """

    @wraps(method)
    async def call(backend: RefusingBackend, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return await method(backend, *args, **kwargs)
        except NotLeading:
            raise
        except ApiError as error:
            raise Refused(await backend.refusals.of(error, start=start)) from error

    return call


def refusing_start(
    method: Callable[Concatenate[RefusingBackend, Given], Awaitable[Result]],
) -> Callable[Concatenate[RefusingBackend, Given], Coroutine[Any, Any, Result]]:
    """As `refusing`, for what starts an attempt."""
    return refusing(method, start=True)
