"""Settings of the operator, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    liveness_port: int = 0
    """NEXUS_LIVENESS_PORT: port of /healthz; 0 for none."""
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
    names = environ.get("NEXUS_NAMESPACES", "").split(",")
    return Settings(
        namespaces=tuple(name.strip() for name in names if name.strip()),
        task_images=images,
        workers=_number(environ, "NEXUS_WORKERS", base.workers, 1, 256),
        expression_workers=_number(environ, "NEXUS_EXPRESSION_WORKERS", base.expression_workers, 1, 16),
        sweep_seconds=_number(environ, "NEXUS_SWEEP_SECONDS", base.sweep_seconds, 10, 86_400),
        liveness_port=_number(environ, "NEXUS_LIVENESS_PORT", base.liveness_port, 0, 65_535),
        log_level=level,
    )


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"{name}={text!r}: it takes a whole number from {low} to {high}")
    return int(text)
