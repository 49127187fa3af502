"""Import torchvision next to a CPU build of torch.

PyPI's Linux torchvision is built for CUDA. Next to a CPU torch its import fails with `operator torchvision::nms does
not exist` (pytorch/vision#9085), and so does timm, which imports it. Models and transforms need none of the missing
operators, so declaring the two names lets the import through. `torchvision.ops.nms` itself and `torchvision.io` stay
unusable.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_SYMPTOM = "operator torchvision::nms does not exist"
_DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a torch.library.Library takes its operators with it when it is collected


def import_torchvision() -> ModuleType:
    """Import torchvision; declare its missing operators if they are what makes the import fail.

    Call it before any import of `torchvision` or `timm`.

    Returns:
        The torchvision package.

    Raises:
        ImportError, RuntimeError: the import failed for any other reason; the error is torchvision's own.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise
    _forget_torchvision()
    _declare_operators()
    return importlib.import_module("torchvision")


def _forget_torchvision() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_operators() -> None:
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for declaration in _DECLARATIONS:
        library.define(declaration)  # type: ignore[no-untyped-call]
    _libraries.append(library)
