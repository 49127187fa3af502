"""What the distribution promises: a valid manifest, a core without a window, a quick import."""

from __future__ import annotations

import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import onemark

PACKAGE = Path(onemark.__file__).parent
GUI_LIBRARIES = ("napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PySide6", "PyQt5", "PyQt6", "npe2")

BLOCKER = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {libraries}:
            raise ImportError(name + " may not be imported here")
sys.meta_path.insert(0, Blocker())
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def core_modules() -> list[str]:
    found = pkgutil.walk_packages([str(PACKAGE)], "onemark.")
    return sorted(m.name for m in found if not m.name.startswith("onemark.gui") and "__main__" not in m.name)


def test_the_core_imports_without_any_gui_library():
    modules = core_modules()
    assert {"onemark.pipeline.trainer", "onemark.cli", "onemark.data.cohort"} <= set(modules)
    code = (
        BLOCKER.format(libraries=set(GUI_LIBRARIES))
        + f"import importlib\nfor m in {modules!r}: importlib.import_module(m)"
    )
    python(code)


def test_the_blocker_of_the_test_above_blocks():
    with pytest.raises(AssertionError, match="napari may not be imported here"):
        python(BLOCKER.format(libraries=set(GUI_LIBRARIES)) + "import napari")


@pytest.mark.parametrize("module", ["onemark", "onemark.cli"])
def test_importing_is_quick(module: str):
    loaded = python(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert not {"torch", "napari", "pandas", "matplotlib", "skimage", "scipy", "timm"} & set(loaded)


def test_the_manifest_is_valid_and_names_the_package():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
    assert manifest.name == "onemark"
    manifest.validate_imports()


def test_the_installed_distribution_offers_the_manifest():
    npe2 = pytest.importorskip("npe2")
    assert npe2.PluginManifest.from_distribution("onemark").name == "onemark"


def test_the_package_ships_the_manifest_of_the_root():
    root = PACKAGE.parent.parent / "napari.yaml"
    if not root.exists():
        pytest.skip("installed without the source tree")
    assert (PACKAGE / "napari.yaml").read_bytes() == root.read_bytes()


def test_versions_and_commands_agree():
    distribution = importlib.metadata.distribution("onemark")
    assert distribution.version == onemark.__version__
    scripts = {
        point.name: point.value for point in distribution.entry_points if point.group == "console_scripts"
    }
    assert scripts == {"onemark": "onemark.cli:main"}
    assert (PACKAGE / "py.typed").exists()


def test_imports_point_one_way():
    """The contracts of `pyproject.toml`, which docs/architecture.md explains."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
