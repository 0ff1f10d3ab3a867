"""What a field means, in the words of its own docstring.

pydantic can gather these while it makes a class, but reads and parses the source to do so, which would double the time
that `netspec check` takes to start; so they are read when a schema or a hint asks for them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel


def field_docs(owner: type) -> dict[str, str]:
    """The docstring under each annotated attribute of a class and of the classes it comes from, on one line."""
    found: dict[str, str] = {}
    for cls in reversed(owner.__mro__):
        if cls.__module__.startswith("netspec"):
            found |= _own_docs(cls)
    return found


def _own_docs(cls: type) -> dict[str, str]:
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):
        return {}  # made at run time, so there is no source
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def describe(model: type[BaseModel], owner: type | None = None) -> type[BaseModel]:
    """The model, and every model among its fields, with the fields' docstrings as their descriptions.

    `owner` is the class that holds the docstrings, when it is not the model itself.
    """
    docs = field_docs(owner or model)
    for name, info in model.model_fields.items():
        for member in (info.annotation, *get_args(info.annotation)):
            if isinstance(member, type) and hasattr(member, "model_fields"):
                describe(member)
        info.description = info.description or docs.get(name)
    model.model_rebuild(force=True)
    return model
