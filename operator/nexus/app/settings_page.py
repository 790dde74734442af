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

Every setting is an environment variable; the chart's values become these. What is empty counts as not set. An operator
does not start with a value that it cannot use, or with a variable that is nearly the name of a setting: it says which,
and what it takes, and ends with status 2. Other variables that begin with `NEXUS_` are named in its log. Those that
Kubernetes makes of a Service (`NEXUS_..._SERVICE_HOST`, `NEXUS_..._PORT=tcp://...`) are let be.

| variable | default | takes | what it is for |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The text of docs/settings.md."""
    return _INTRO + "".join(_row(name, field) for name, field in FIELDS.items())


def _row(name: str, field: Field[Any]) -> str:
    default = str(field.default) if field.default or field.default == 0 else ""
    shown = f"`{default}`" if default else ""
    return f"| `{name}` | {shown} | {field.metadata['reader'].takes} | {field.metadata['about']} |\n"


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:], {"settings.md": page()}))
