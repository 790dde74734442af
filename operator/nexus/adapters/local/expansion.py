"""`$(NAME)` in the values of environment variables and arguments, as the kubelet resolves it."""

from __future__ import annotations

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with each `$(NAME)` replaced by its value; unknown names stay as written, `$$` is one dollar.

    The rules are Kubernetes' own (third_party/forked/golang/expansion): one pass from left to right, nothing that
    was put in is looked at again.
    """
    parts: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "(" and (end := text.find(")", dollar)) > 0:
            name = text[dollar + 2 : end]
            parts.append(variables.get(name, text[dollar : end + 1]))
            position = end + 1
        else:
            parts.append("$")
            position = dollar + 1
    parts.append(text[position:])
    return "".join(parts)
