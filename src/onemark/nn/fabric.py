"""Lightning Fabric, imported in one place, because what it imports may not be loaded in any way."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from pathlib import Path

MAPPED = Path("/proc/self/maps")
"""On Linux: what is loaded in this process."""


def load_triton_apart() -> None:
    """Load triton bound to its own LLVM, where a driver of Mesa has loaded `libLLVM.so` and triton is installed.

    Windows that Mesa draws on the processor bring that library, for example. triton's has an LLVM inside; loaded
    later, it takes the functions of the other, and the process dies: napari would close without a word. Lightning
    Fabric imports torch's compiler, and this imports triton, which the CUDA builds of torch bring, although onemark uses
    neither. Which of both comes first is not known before: a driver is loaded when the first window is drawn.
    """
    if "triton" in sys.modules or not hasattr(os, "RTLD_DEEPBIND") or not _has_llvm():
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        with contextlib.suppress(ImportError):  # not installed: then torch does without
            import_module("triton")
    finally:
        sys.setdlopenflags(flags)


def _has_llvm() -> bool:
    try:
        return "libLLVM" in MAPPED.read_text(errors="replace")
    except OSError:
        return False


load_triton_apart()

from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.strategies import DDPStrategy  # noqa: E402

__all__ = ["DDPStrategy", "Fabric"]
