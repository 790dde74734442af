"""`nexus operator`: the operator in this process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nexus.adapters.kube.client.access import AccessError, find_access
from nexus.app.logs import configure
from nexus.app.serve import StartRefused, main
from nexus.app.setting import SettingsError
from nexus.app.settings import from_environment, strangers
from nexus.cli.ending import Exit, UsageError
from nexus.runtime.election import LeaseLost

log = logging.getLogger("nexus")


def serve(
    namespaces: Sequence[str], *, context: str | None, kubeconfig: str | None, environ: Mapping[str, str]
) -> Exit:
    """Run until a signal comes or the lead is lost. Namespaces of the command line win over the environment's."""
    try:
        settings = from_environment(environ)
        access = find_access(kubeconfig, context=context, environ=environ)
        main(replace(settings, namespaces=tuple(namespaces)) if namespaces else settings, access, strangers(environ))
    except LeaseLost:
        return Exit.FAILED  # said in the log, as all that an operator says
    except (AccessError, SettingsError, StartRefused) as error:
        if environ.get("NEXUS_LOG_FORMAT", "").strip().lower() != "json":
            raise UsageError(str(error)) from error
        configure("INFO", "json")
        log.critical("not started: %s", error)
        return Exit.REFUSED
    return Exit.SUCCEEDED
