"""What the chart tells Argo CD about our kinds, run by the Lua that it has: 5.1, with the base library and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lupa.lua51 import LuaRuntime, lua_type

REPOSITORY = Path(__file__).parents[1]
FILES = REPOSITORY / "charts" / "nexus" / "files" / "argo-cd"
"""Each file is named after the key of argocd-cm that it is the value of."""
NOT_THERE = ("io", "string", "math", "debug", "coroutine", "python", "loadfile", "dofile")
Object = dict[str, Any]


def health(kind: str, obj: Object) -> tuple[str, str]:
    """Status and message."""
    told = _lua((FILES / f"resource.customizations.health.nexus.dev_{kind}").read_text("utf-8"), obj)
    return told["status"], told["message"]


def offered(workflow: Object) -> dict[str, Any]:
    """The actions on a Workflow."""
    return dict(_lua(_actions()["discovery.lua"], workflow))


def acted(workflow: Object, action: str) -> list[Object]:
    """What an action wants done: operations with their objects."""
    (script,) = [one["action.lua"] for one in _actions()["definitions"] if one["name"] == action]
    return list(_lua(script, workflow))


def _actions() -> dict[str, Any]:
    return dict(yaml.safe_load((FILES / "resource.customizations.actions.nexus.dev_Workflow").read_text("utf-8")))


def _lua(script: str, obj: Object) -> Any:
    runtime = LuaRuntime(unpack_returned_tuples=True)
    names = runtime.globals()
    # The methods of text belong to the library that Argo CD does not load.
    runtime.execute("getmetatable('').__index = nil")
    for name in NOT_THERE:
        names[name] = None
    names.obj = runtime.table_from(obj, recursive=True)
    return _plain(runtime.execute(script))


def _plain(value: Any) -> Any:
    """As JSON has it; an empty table is a list, as it is to Argo CD."""
    if lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys == list(range(1, len(keys) + 1)):
        return [_plain(one) for one in value.values()]
    return {key: _plain(one) for key, one in value.items()}
