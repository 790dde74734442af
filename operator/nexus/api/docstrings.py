"""The descriptions of a model's fields: the string below each of them in the source.

pydantic reads them itself (`use_attribute_docstrings`), but at every import: it parses the source of each class, a
third of the time that the models take to load. Only what is made from the models, CRDs and reference, needs them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel


@cache
def of_fields(model: type) -> dict[str, str]:
    """Return the description of each field by its name in Python, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _of_class(base)
    return found


def _of_class(model: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[field.target.id] = inspect.cleandoc(below.value.value)
    return found
