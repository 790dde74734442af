"""`python -m nexus.app.settings_page [--check] docs/`: docs/settings.md, made from the list of settings."""

from __future__ import annotations

import sys
from dataclasses import Field
from typing import Any

from nexus.api.reference import write
from nexus.app.settings import FIELDS

_INTRO = """# Settings of the operator

<!-- Made by `make crds` from operator/nexus/app/settings.py. -->

    NEXUS_NAMESPACES=team-a,team-b NEXUS_LOG_FORMAT=json nexus operator

Every setting is an environment variable; the chart sets them from its values. An empty variable counts as not set. An
operator does not start with an invalid value, or with a variable whose name is close to that of a setting: it prints
the variable and what is allowed, and exits with status 2. Other variables that begin with `NEXUS_` are listed in its
log. Those that Kubernetes sets for a Service (`NEXUS_..._SERVICE_HOST`, `NEXUS_..._PORT=tcp://...`) are ignored.

| variable | default | allowed values | description |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the text of docs/settings.md."""
    return _INTRO + "".join(_row(name, field) for name, field in FIELDS.items())


def _row(name: str, field: Field[Any]) -> str:
    default = str(field.default) if field.default or field.default == 0 else ""
    shown = f"`{default}`" if default else ""
    return f"| `{name}` | {shown} | {field.metadata['reader'].takes} | {field.metadata['about']} |\n"


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:], {"settings.md": page()}))
