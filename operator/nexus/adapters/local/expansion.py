"""`$(NAME)` in the values of environment variables and arguments, as the kubelet resolves it."""

from __future__ import annotations

from collections.abc import Mapping

from nexus.core.expressions.kubelet_variables import Kind, dollars


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with each `$(NAME)` replaced by its value; unknown names stay as written, `$$` is one dollar.

    The rules are Kubernetes' own (third_party/forked/golang/expansion): one pass from left to right, nothing that
    was put in is looked at again.
    """
    parts: list[str] = []
    position = 0
    for dollar in dollars(text):
        parts.append(text[position : dollar.start])
        position = dollar.end
        written = text[dollar.start : dollar.end]
        if dollar.kind is Kind.REFERENCE:
            parts.append(variables.get(written[2:-1], written))
        else:
            parts.append("$" if dollar.kind is Kind.PAIR else written)
    parts.append(text[position:])
    return "".join(parts)
