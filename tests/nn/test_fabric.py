"""triton beside a graphics driver's LLVM: bound to its own, or not loaded at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import onemark
from onemark.nn import fabric

pytestmark = pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="only glibc binds deeply")


@pytest.fixture
def triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A triton that notes how it is loaded; what is mapped is in the file `maps`."""
    (tmp_path / "triton.py").write_text("import sys\nflags = sys.getdlopenflags()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fabric, "MAPPED", tmp_path / "maps")
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    yield tmp_path / "maps"
    sys.modules.pop("triton", None)


def test_it_is_bound_to_its_own_llvm_where_a_driver_has_brought_another(triton: Path):
    before = sys.getdlopenflags()
    triton.write_text("7f00 r-xp /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n")
    fabric.load_triton_apart()
    assert sys.modules["triton"].flags & os.RTLD_DEEPBIND
    assert sys.getdlopenflags() == before


def test_it_is_left_to_torch_where_there_is_no_other_llvm(triton: Path):
    triton.write_text("7f00 r-xp /usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.0\n")
    fabric.load_triton_apart()
    assert "triton" not in sys.modules
    triton.unlink()
    fabric.load_triton_apart()
    assert "triton" not in sys.modules


def test_a_triton_that_cannot_be_loaded_is_left_alone(triton: Path):
    triton.write_text("libLLVM.so.20.1")
    (triton.parent / "triton.py").write_text("raise ImportError\n")
    fabric.load_triton_apart()
    assert "triton" not in sys.modules


def test_nothing_else_imports_lightning_fabric():
    source = Path(onemark.__file__).parent
    found = [path for path in source.rglob("*.py") if "lightning_fabric" in path.read_text("utf-8")]
    assert {path.relative_to(source).as_posix() for path in found} == {"nn/fabric.py", "nn/device.py"}
