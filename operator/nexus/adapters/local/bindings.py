"""Bindings: the Secrets and ConfigMaps that a local run gets instead of a cluster's."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus.api.codes import Code
from nexus.api.tasks import EnvFrom, EnvVar, KeyRef, ObjectRef
from nexus.core.manifest.problem import Problem
from nexus.core.model.definition import Definition, Node

Entries = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Bindings:
    """Secrets and ConfigMaps by name, each a mapping of keys to text."""

    secrets: Entries = field(default_factory=dict)
    config_maps: Entries = field(default_factory=dict)

    def environment(self, sources: tuple[EnvFrom, ...]) -> dict[str, str]:
        """Return what `envFrom` puts into the environment; later sources win, as in Kubernetes."""
        found: dict[str, str] = {}
        for source in sources:
            entries = self.secrets if source.secret_ref else self.config_maps
            reference = source.secret_ref or source.config_map_ref
            assert reference is not None
            prefix = source.prefix or ""
            found |= {f"{prefix}{key}": value for key, value in entries.get(reference.name, {}).items()}
        return found

    def value(self, variable: EnvVar) -> str | None:
        """Return what `valueFrom` of a variable gives; None where it is optional and missing."""
        source = variable.value_from
        assert source is not None
        entries = self.secrets if source.secret_key_ref else self.config_maps
        reference = source.secret_key_ref or source.config_map_key_ref
        assert reference is not None
        return entries.get(reference.name, {}).get(reference.key)

    def missing(self, definition: Definition) -> list[Problem]:
        """Return what the tasks need and cannot have, each with the task and the way to give it."""
        places = {task.name: place for place, task in definition.spec.every_task()}
        found: dict[tuple[str, str], Problem] = {}
        for node in definition.nodes.values():
            for kind, entries, reference in _references(node):
                name = f"{reference.name}/{reference.key}" if isinstance(reference, KeyRef) else reference.name
                if _has_nul(entries, self, reference):
                    message = (
                        f"{kind} {name} contains a NUL byte, which an environment variable cannot hold; read it from "
                        "a volume"
                    )
                elif reference.optional or _holds(entries, self, reference):
                    continue
                else:
                    message = f"{kind} {name} is missing: {_hint(kind, name, reference)}"
                found[node.name, name] = Problem(places[node.name], Code.MISSING_BINDING, message, node.name)
        return list(found.values())


def _hint(kind: str, name: str, reference: KeyRef | ObjectRef) -> str:
    if kind == "ConfigMap":
        return "put the ConfigMap into the file"
    if isinstance(reference, ObjectRef):
        return f"give each key with --secret {name}/KEY=env:VARIABLE (or =file:PATH), or put the Secret into the file"
    return f"give it with --secret {name}=env:VARIABLE (or =file:PATH), or put the Secret into the file"


def _references(node: Node) -> Iterator[tuple[str, str, KeyRef | ObjectRef]]:
    for variable in node.task.env or ():
        source = variable.value_from
        if source is not None and source.secret_key_ref is not None:
            yield "Secret", "secrets", source.secret_key_ref
        if source is not None and source.config_map_key_ref is not None:
            yield "ConfigMap", "config_maps", source.config_map_key_ref
    for entry in node.task.env_from or ():
        if entry.secret_ref is not None:
            yield "Secret", "secrets", entry.secret_ref
        if entry.config_map_ref is not None:
            yield "ConfigMap", "config_maps", entry.config_map_ref
    for reference in node.record.secrets(node.record.of(node.task)):
        yield "Secret", "secrets", reference


def _holds(entries: str, bindings: Bindings, reference: KeyRef | ObjectRef) -> bool:
    known: Entries = getattr(bindings, entries)
    if reference.name not in known:
        return False
    return isinstance(reference, ObjectRef) or reference.key in known[reference.name]


def _has_nul(entries: str, bindings: Bindings, reference: KeyRef | ObjectRef) -> bool:
    known: Entries = getattr(bindings, entries)
    values = known.get(reference.name, {})
    used = [values.get(reference.key, "")] if isinstance(reference, KeyRef) else list(values.values())
    return any("\0" in value for value in used)


def of_manifest(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a Secret or ConfigMap object with their values, as environment variables hold bytes: what is
    not UTF-8 is kept by surrogates (PEP 383).

    Raises ValueError where a value is not a string, or in `data` of a Secret or `binaryData` not base64.
    """
    found: dict[str, str] = {}
    for key, value in (body.get("data") or {}).items():
        if not isinstance(value, str):
            raise ValueError(f"data.{key} must be a string; quote it")
        found[key] = _decoded(f"data.{key}", value) if body.get("kind") == "Secret" else value
    for key, value in (body.get("binaryData") or {}).items() if body.get("kind") == "ConfigMap" else ():
        if not isinstance(value, str):
            raise ValueError(f"binaryData.{key} must be a string; quote it")
        found[key] = _decoded(f"binaryData.{key}", value)
    for key, value in (body.get("stringData") or {}).items():
        if not isinstance(value, str):
            raise ValueError(f"stringData.{key} must be a string; quote it")
        found[key] = value
    return found


def _decoded(where: str, value: str) -> str:
    """Go's decoder, which the API server has, passes over line ends and nothing else."""
    try:
        return os.fsdecode(base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where} is not base64; use stringData for plain text") from error
