"""All landmark formats: every module below that holds a `FORMAT`, in the order in which they are asked."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from onemark.data.landmarks.formats.base import Format


@cache
def all_formats() -> tuple[Format, ...]:
    """Every format, the pickiest about what it recognises first."""
    found: list[Format] = []
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        loaded = import_module(module.name)
        found += [loaded.FORMAT] if hasattr(loaded, "FORMAT") else getattr(loaded, "FORMATS", ())
    return tuple(sorted(found, key=lambda one: (one.rank, one.key)))


def readers() -> tuple[Format, ...]:
    """Those that are read."""
    return tuple(one for one in all_formats() if one.read is not None)


def writers() -> tuple[Format, ...]:
    """Those that are written, in alphabetical order of their keys."""
    return tuple(sorted((one for one in all_formats() if one.render is not None), key=lambda one: one.key))
