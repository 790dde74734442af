"""Settings of the operator, from the environment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from nexus.api.pod import POD_FIELDS, VOLUME_SOURCES
from nexus.core.lease import Terms


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what it takes."""


@dataclass(frozen=True)
class Settings:
    """How an operator runs. Each field is set by NEXUS_ and its name in capitals."""

    namespaces: tuple[str, ...] = ()
    """NEXUS_NAMESPACES: the namespaces to work in, separated by commas. Empty: all of them."""
    task_images: str = "nexus/task-{type}:dev"
    """NEXUS_TASK_IMAGES: images of tasks that name none; {type} becomes python, http, bash or sql."""
    workers: int = 8
    """NEXUS_WORKERS: runs that are worked on at once."""
    expression_workers: int = 2
    """NEXUS_EXPRESSION_WORKERS: processes that evaluate expressions."""
    sweep_seconds: int = 300
    """NEXUS_SWEEP_SECONDS: how often everything is listed anew, for what the watches have missed."""
    http_port: int = 0
    """NEXUS_HTTP_PORT: port of /healthz, /readyz and /metrics; 0 for none."""
    lease: str = ""
    """NEXUS_LEASE: name of the Lease that says which of several operators works; empty: this one always does."""
    lease_namespace: str = ""
    """NEXUS_LEASE_NAMESPACE: namespace of the Lease; empty: the operator's own."""
    lease_seconds: int = Terms().seconds
    """NEXUS_LEASE_SECONDS: after so much silence of the one that works, another one takes over."""
    pod_forbidden: frozenset[str] = frozenset()
    """NEXUS_POD_FORBIDDEN: fields of `pod` that no task may have, separated by commas; also sources of volumes, as
    volumes.csi."""
    pod_security: str = "restricted"
    """NEXUS_POD_SECURITY: restricted, or baseline, with which `pod.runAsUser: 0` gives root."""
    metrics_workflows: int = 100
    """NEXUS_METRICS_WORKFLOWS: Workflows (and namespaces) that metrics name; all further ones are `other`."""
    metrics_tasks: int = 500
    """NEXUS_METRICS_TASKS: tasks and schedules that metrics name, of all Workflows together."""
    log_level: str = "INFO"
    """NEXUS_LOG_LEVEL: DEBUG, INFO, WARNING or ERROR."""


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that the environment gives. Raises SettingsError."""
    base = Settings()
    images = environ.get("NEXUS_TASK_IMAGES", base.task_images)
    if "{type}" not in images:
        raise SettingsError(f"NEXUS_TASK_IMAGES={images!r}: it needs {{type}} where python, http, bash or sql goes")
    level = environ.get("NEXUS_LOG_LEVEL", base.log_level).upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError(f"NEXUS_LOG_LEVEL={level!r}: it takes DEBUG, INFO, WARNING or ERROR")
    security = environ.get("NEXUS_POD_SECURITY", base.pod_security).lower()
    if security not in ("restricted", "baseline"):
        raise SettingsError(f"NEXUS_POD_SECURITY={security!r}: it takes restricted or baseline")
    return Settings(
        namespaces=_names(environ, "NEXUS_NAMESPACES"),
        task_images=images,
        workers=_number(environ, "NEXUS_WORKERS", base.workers, 1, 256),
        expression_workers=_number(environ, "NEXUS_EXPRESSION_WORKERS", base.expression_workers, 1, 16),
        sweep_seconds=_number(environ, "NEXUS_SWEEP_SECONDS", base.sweep_seconds, 10, 86_400),
        http_port=_number(environ, "NEXUS_HTTP_PORT", base.http_port, 0, 65_535),
        lease=environ.get("NEXUS_LEASE", base.lease),
        lease_namespace=environ.get("NEXUS_LEASE_NAMESPACE", base.lease_namespace),
        lease_seconds=_number(environ, "NEXUS_LEASE_SECONDS", base.lease_seconds, 6, 600),
        pod_forbidden=_pod_fields(environ),
        pod_security=security,
        metrics_workflows=_number(environ, "NEXUS_METRICS_WORKFLOWS", base.metrics_workflows, 0, 10_000),
        metrics_tasks=_number(environ, "NEXUS_METRICS_TASKS", base.metrics_tasks, 0, 100_000),
        log_level=level,
    )


def _names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in environ.get(name, "").split(",") if word.strip())


def _pod_fields(environ: Mapping[str, str]) -> frozenset[str]:
    """What tasks may not ask of their pods. A name that is none would forbid nothing, without a word."""
    known = (*POD_FIELDS, *(f"volumes.{source}" for source in VOLUME_SOURCES.values()))
    names = _names(environ, "NEXUS_POD_FORBIDDEN")
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
            raise SettingsError(f"NEXUS_POD_FORBIDDEN: there is no field {name} of pod: {hint}")
    return frozenset(names)


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"{name}={text!r}: it takes a whole number from {low} to {high}")
    return int(text)
