"""What napari calls from the manifest: readers, writers, sample data. Heavy imports wait until a call needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onemark.gui.canvas.layers import RADIOGRAPH, TAG
from onemark.types import Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing
    from onemark.data.landmarks.table import LandmarkTable

LayerData = tuple[Any, dict[str, Any], str]
_LANDMARKS_ONLY = (".mrk.json", ".fcsv", ".tps", ".pts", ".roi")
"""Suffixes that mean landmarks, so that what is wrong with such a file is said here."""


def get_reader(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Claim folders of radiographs, single DICOM files and landmark files of any format that is read.

    A folder opens in the onemark panel and adds no layer itself; without a window, it gives its first radiograph.
    """
    if isinstance(path, list):
        return None
    if Path(path).is_dir():
        return read_folder if holds_radiographs(Path(path)) else None
    if path.lower().endswith((".dcm", ".dicom", ".ima")):
        return read_file
    return read_points if holds_landmarks(Path(path)) else None


def holds_landmarks(path: Path) -> bool:
    """Whether onemark reads this file's landmarks; napari's own Points tables are left to napari."""
    from onemark.data.landmarks.formats.base import Source
    from onemark.data.landmarks.reading import recognise

    try:
        source = Source(path, path.name)
        found = recognise(source)
        if found.key == "csv":
            _read_landmarks(path)
    except UserError:
        return path.name.lower().endswith(_LANDMARKS_ONLY)
    return found.key != "napari"


def read_points(path: str) -> list[LayerData]:
    """Read a landmark file as one Points layer for each radiograph; radiographs beside it give sizes and names.

    Raises:
        UserError: what is wrong with the file, and the way out.
    """
    from napari.utils.notifications import show_info

    table, cohort = _read_landmarks(Path(path))
    for note in table.notes:
        show_info(note)
    layers: list[LayerData] = []
    for one in table:
        visible = [bool(there) for there in np.atleast_1d(np.isfinite(one.xy).all(axis=1))]
        names = [name for name, there in zip(one.names, visible, strict=True) if there]
        meta: dict[str, Any] = {
            "name": f"{Path(one.image).stem} landmarks",
            "features": {"landmark": names},
            "metadata": {"image": one.image},
        }
        if cohort is not None:
            header = cohort.header(one.image)
            meta["metadata"]["size"] = header.size
            meta |= _place(header.spacing)
        layers.append((one.xy[np.array(visible)][:, ::-1], meta, "points"))
    return layers


def _read_landmarks(path: Path) -> tuple[LandmarkTable, Cohort | None]:
    """The landmarks, and the radiographs beside them."""
    from onemark.data.cohort import open_cohort
    from onemark.data.landmarks.table import read_table

    try:
        cohort = open_cohort(path.parent)
    except UserError:
        cohort = None
    return read_table(path, cohort), cohort


def holds_radiographs(folder: Path) -> bool:
    """Whether the folder or its sub-folders hold a file that onemark reads; a Zarr or a run folder holds none."""
    from onemark.data.cohort import open_cohort

    if folder.suffix.lower() in {".zarr", ".n5"}:
        return False
    try:
        return len(open_cohort(folder)) > 0
    except UserError:
        return False


def read_folder(path: str) -> list[Any]:
    """Open a folder in the panel; without a viewer, return its first radiograph."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        from onemark.data.cohort import open_cohort

        return [make_layer_data(open_cohort(path)[0])]
    open_widget(viewer).open(path)
    return [(None,)]


def read_file(path: str) -> list[LayerData]:
    """Read one radiograph as an image layer, with its scale in mm."""
    from onemark.data.images.read import read_radiograph

    return [make_layer_data(read_radiograph(path))]


def make_layer_data(radiograph: Radiograph) -> LayerData:
    """Turn a radiograph into napari's layer data."""
    meta: dict[str, Any] = {
        "name": Path(radiograph.name).stem,
        "contrast_limits": (0, 1),
        **_place(radiograph.spacing),
    }
    return radiograph.pixels, meta, "image"


def _place(spacing: Spacing | None) -> dict[str, Any]:
    """Scale and units of a layer in pixels of a radiograph."""
    return {} if spacing is None else {"scale": (spacing[1], spacing[0]), "units": ("mm", "mm")}


def open_phantom() -> list[LayerData]:
    """Open the phantom cohort in the panel, which takes over the layer returned here.

    napari wants a layer now, while the cohort is still being written, so it gets the first phantom.
    """
    import napari

    from onemark.phantom import phantom_radiograph

    pixels, meta, kind = make_layer_data(phantom_radiograph(1)[0])
    viewer = napari.current_viewer()
    if viewer is not None:
        app = open_widget(viewer).app
        app.viewing.clear_layers()
        app.opening.open_phantom()
        meta |= {"name": "radiograph", "metadata": {TAG: RADIOGRAPH}}
    return [(pixels, meta, kind)]


def open_widget(viewer: Any) -> Any:
    """Find the viewer's onemark panel, or open one."""
    from onemark.gui.widget import OnemarkWidget

    for dock in viewer.window.dock_widgets.values():
        if isinstance(dock, OnemarkWidget):
            return dock
    _, widget = viewer.window.add_plugin_dock_widget("onemark", "onemark")
    return widget


def show_widget() -> None:
    """Open the panel in the current viewer."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        open_widget(viewer)


def write_points(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Points layer in the format that the suffix names: CSV with px and mm, `.mrk.json`, `.tps` ..."""
    return write_layers(path, [(data, attributes, "points")])


def write_labelme(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Points layer as labelme's JSON, which has the same suffix as COCO's."""
    return write_layers(path, [(data, attributes, "points")], "labelme")


def write_yolo(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Points layer as a folder for YOLO-pose, called after the file without its suffix."""
    return write_layers(path, [(data, attributes, "points")], "yolo")


def write_layers(path: str, layers: list[LayerData], key: str | None = None) -> list[str]:
    """Write the Points layers among these, each as the landmarks of one radiograph.

    Raises:
        UserError: there are no points, or the format needs a size that the layers do not hold.
    """
    from onemark.gui.canvas.layer_table import write

    points = [(np.asarray(data), attributes) for data, attributes, kind in layers if kind == "points"]
    images = [(np.shape(data), attributes) for data, attributes, kind in layers if kind == "image"]
    return [str(file) for file in write(Path(path), points, images, key)]
