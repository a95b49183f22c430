"""What the fields of a model mean, in the words that stand under them: for the pages and the schema drawn from models.

It reads the source of a class; without its source a class means nothing here.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The texts under the fields, from the source: pydantic keeps them only where it is asked to."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or each is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = str(text.value.value)
    return found
