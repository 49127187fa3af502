from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.schema import schema_from_names

from .desktop import Desktop
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


@pytest.fixture
def desktop(make_napari_viewer: Any, backend: FakeBackend) -> Iterator[Desktop]:
    made = Desktop(make_napari_viewer(show=True), backend)
    yield made
    made.widget.shut()


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
