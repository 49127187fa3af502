"""Packages that only an extra of onemark installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from onemark.types import UserError


def import_extra(module: str, need: str, extra: str) -> Any:
    """The module of a package that not everybody has.

    Args:
        module: Its name.
        need: What needs which package, for the message: `Parquet needs pyarrow`.
        extra: The extra that installs it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UserError(f"{need}: pip install 'onemark[{extra}]'") from None
