"""The public names: all of them load, come from one place, and are typed."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import onemark
from onemark.types import UserError


def test_every_public_name_loads_and_is_documented():
    for name in onemark.__all__:
        value = getattr(onemark, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
            assert value.__name__ == name


def test_dir_lists_the_public_names():
    assert dir(onemark) == sorted(onemark.__all__)


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    tree = ast.parse(Path(onemark.__file__).read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: statement.module
        for statement in checked.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert sorted([*typed, "__version__"]) == sorted(onemark.__all__)
    for name, module in typed.items():
        assert getattr(onemark, name) is getattr(importlib.import_module(str(module)), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        onemark.fitt  # noqa: B018


def test_there_is_one_user_error():
    assert onemark.UserError is UserError
