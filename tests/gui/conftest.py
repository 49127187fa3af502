from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari import Viewer
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable

from .desktop import Desktop, close_viewer, open_viewer
from .fake_backend import FakeBackend, folder_of_phantoms

TINY = {"steps": 3, "area": 4096, "batch": 2}


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recent folders, caches and data of the tests stay theirs."""
    for name in (
        "controllers.opening.user_config_path",
        "controllers.opening.user_cache_path",
        "state.autosave.user_data_path",
    ):
        monkeypatch.setattr(f"onemark.gui.{name}", lambda app, name=name: tmp_path / name)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LandmarkTable]:
    folder = tmp_path_factory.mktemp("phantoms") / "xrays"
    return folder, folder_of_phantoms(folder)


@pytest.fixture
def xrays(phantoms: tuple[Path, LandmarkTable], tmp_path: Path) -> Path:
    """A fresh copy, because sessions and runs lie beside the folder."""
    shutil.copytree(phantoms[0], tmp_path / "xrays")
    return tmp_path / "xrays"


@pytest.fixture
def truth(phantoms: tuple[Path, LandmarkTable]) -> LandmarkTable:
    return phantoms[1]


@pytest.fixture
def backend(truth: LandmarkTable) -> FakeBackend:
    return FakeBackend(truth)


@pytest.fixture(scope="session")
def shared_viewer(qapp: QApplication) -> Iterator[Viewer]:
    """One window for the tests of a process: opening it takes longer than most tests."""
    viewer = open_viewer()
    yield viewer
    close_viewer(viewer)


@pytest.fixture
def viewer(shared_viewer: Viewer) -> Iterator[Viewer]:
    """The window without layers and with the settings that napari comes with."""
    get_settings().reset()
    before = _list_listeners(shared_viewer)
    yield shared_viewer
    shared_viewer.layers.clear()
    assert _list_listeners(shared_viewer) == before, "the panel still listens to the viewer"
    get_settings().reset()


def _list_listeners(viewer: Viewer) -> list[object]:
    """What a key or the mouse calls."""
    return [dict(viewer.keymap), *viewer.mouse_drag_callbacks, *viewer.mouse_move_callbacks]


@pytest.fixture
def make_viewer(qapp: QApplication) -> Iterator[Callable[[], Viewer]]:
    """Opens windows of a test's own, for what happens when one closes."""
    opened: list[Viewer] = []

    def make() -> Viewer:
        opened.append(open_viewer())
        return opened[-1]

    yield make
    for viewer in opened:
        close_viewer(viewer)


@pytest.fixture
def desktop(viewer: Viewer, backend: FakeBackend) -> Iterator[Desktop]:
    made = Desktop(viewer, backend)
    yield made
    made.remove()


@pytest.fixture
def annotated(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> Desktop:
    """The first radiograph is annotated."""
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.session.import_annotations(LandmarkTable.from_sets([truth[truth.images[0]]]))
    desktop.settle()
    return desktop


@pytest.fixture(scope="session")
def tiny() -> dict[str, object]:
    """Settings of the recipe `onemark` for three steps of each stage."""
    stages = {
        f"{stage}.{key}": value for stage in ("match", "detect", "refine") for key, value in TINY.items()
    }
    quick = {"register.area": TINY["area"], "register.references": 2}
    quick |= {"register.affine_steps": 2, "register.field_steps": 2}
    return stages | {"match.anchors": 16, "refine.crop": 32} | quick
