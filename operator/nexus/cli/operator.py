"""`nexus operator`: the operator in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nexus.adapters.kube.access import AccessError, find_access
from nexus.app.operator import StartRefused, main
from nexus.app.settings import SettingsError, from_environment
from nexus.cli.ending import Exit, Refused


def serve(
    namespaces: Sequence[str], *, context: str | None, kubeconfig: str | None, environ: Mapping[str, str]
) -> Exit:
    """Run until a signal comes. Namespaces of the command line win over those of the environment."""
    try:
        settings = from_environment(environ)
        access = find_access(kubeconfig, context=context, environ=environ)
        main(replace(settings, namespaces=tuple(namespaces)) if namespaces else settings, access)
    except (AccessError, SettingsError, StartRefused) as error:
        raise Refused(str(error)) from error
    return Exit.SUCCEEDED
