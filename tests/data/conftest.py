from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def ramp() -> NDArray[np.uint8]:
    """`[40, 60]`, grey grows to the right, a little downwards."""
    y, x = np.mgrid[:40, :60]
    return (x * 4 + y // 4).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, ramp: NDArray[np.uint8]) -> Callable[..., Path]:
    """Makes a folder of radiographs of 60 x 40 px with these names."""

    def make(*names: str, where: str = "xrays") -> Path:
        for name in names:
            path = tmp_path / where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(ramp).save(path)
        return tmp_path / where

    return make
