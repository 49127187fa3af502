"""The real import runs in a fresh interpreter; the two branches are driven by a stand-in for torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """
import torch
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
import torchvision.extra
"""


def run(code: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    setup = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    return subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=120)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A torchvision that fails as the real one does wherever its operators are missing."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE)
    (package / "extra.py").write_text("")
    return tmp_path


def test_the_installed_torchvision_and_timm_work():
    done = run(
        "from onemark.nn.torchvision_fix import import_torchvision\n"
        "tv = import_torchvision()\n"
        "import timm, torchvision, torch\n"
        "from torchvision.transforms import v2\n"
        "assert tv is torchvision\n"
        "net = torchvision.models.vgg19(weights=None).features[:5].eval()\n"
        "print(tuple(net(torch.zeros(1, 3, 8, 8)).shape), v2.__name__, hasattr(timm, 'create_model'))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(1, 64, 4, 4) torchvision.transforms.v2 True"


def test_missing_operators_are_declared(stand_in: Path):
    broken = run("import torchvision", path=stand_in)
    assert "operator torchvision::nms does not exist" in broken.stderr  # the stand-in is true to life
    mended = run(
        "import gc\n"
        "from onemark.nn.torchvision_fix import import_torchvision\n"
        "print(import_torchvision().extra.__name__)\n"
        "gc.collect()\n"
        "import torch; print(torch.ops.torchvision.nms, torch.ops.torchvision.qnms)",
        path=stand_in,
    )
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.split("\n")[:2] == ["torchvision.extra", "torchvision.nms torchvision.qnms"]


def test_any_other_failure_passes_through(tmp_path: Path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('out of luck')")
    done = run(
        "from onemark.nn.torchvision_fix import import_torchvision; import_torchvision()", path=tmp_path
    )
    assert done.returncode == 1
    assert "RuntimeError: out of luck" in done.stderr
