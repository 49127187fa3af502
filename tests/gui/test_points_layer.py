"""The landmarks layer: nothing twice, nothing lost."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable

from .desktop import Desktop


def start(desktop: Desktop, xrays, truth: LandmarkTable, count: int) -> str:  # type: ignore[no-untyped-def]
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    name = desktop.session.current
    for xy in truth[name].xy[:count]:
        desktop.click(xy)
    return name


def test_pasted_points_are_not_taken(desktop: Desktop, xrays, truth: LandmarkTable) -> None:
    name = start(desktop, xrays, truth, 4)
    before = desktop.session.annotations[name].xy.copy()
    desktop.layer.mode = "select"
    desktop.layer.selected_data = {0, 1}
    control = Qt.KeyboardModifier.ControlModifier
    desktop.key(Qt.Key.Key_C, control)
    desktop.key(Qt.Key.Key_V, control)
    assert "every landmark exists once" in desktop.said
    np.testing.assert_allclose(desktop.session.annotations[name].xy, before)
    assert len(desktop.layer.data) == 4


def test_delete_takes_a_point_away_and_undo_brings_it_back(
    desktop: Desktop, xrays, truth: LandmarkTable
) -> None:
    name = start(desktop, xrays, truth, 4)
    before = desktop.session.annotations[name].xy.copy()
    desktop.layer.mode = "select"
    desktop.layer.selected_data = {1, 2}
    desktop.key(Qt.Key.Key_Delete)
    assert list(np.flatnonzero(desktop.session.annotations[name].placed)) == [0, 3]
    assert desktop.session.landmark == 1
    desktop.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_allclose(desktop.session.annotations[name].xy, before)


def test_a_click_beside_the_radiograph_places_nothing(desktop: Desktop, xrays, truth: LandmarkTable) -> None:
    name = start(desktop, xrays, truth, 2)
    height, width = desktop.app.context.canvas.radiograph.size
    desktop.click((width + 15, height / 2))
    assert "outside the radiograph" in desktop.said
    assert desktop.session.annotations[name].placed.sum() == 2
    assert len(desktop.layer.data) == 2


def test_a_drag_that_begins_on_a_point_moves_it_while_others_are_open(
    desktop: Desktop, xrays, truth: LandmarkTable
) -> None:
    name = start(desktop, xrays, truth, 4)
    centre = desktop.viewer.scene.camera.center
    old = desktop.session.annotations[name].xy[2].copy()
    desktop.drag(old, old + np.array([12, -9]))
    np.testing.assert_allclose(desktop.session.annotations[name].xy[2], old + np.array([12, -9]), atol=0.6)
    assert desktop.viewer.scene.camera.center == centre, "the radiograph must not move with it"
    assert desktop.session.annotations[name].placed.sum() == 4
    assert desktop.session.landmark == 4, "the next open landmark is still asked for"


def test_a_click_close_to_a_point_places_the_next_landmark_there(
    desktop: Desktop, xrays, truth: LandmarkTable
) -> None:
    name = start(desktop, xrays, truth, 3)
    near = desktop.session.annotations[name].xy[2] + np.array([1, 0])
    desktop.click(near)
    np.testing.assert_allclose(desktop.session.annotations[name].xy[3], near, atol=0.6)
    np.testing.assert_allclose(desktop.session.annotations[name].xy[2], near - np.array([1, 0]), atol=1e-6)


def test_a_chosen_landmark_is_moved_not_doubled(desktop: Desktop, xrays, truth: LandmarkTable) -> None:
    name = start(desktop, xrays, truth, 3)
    desktop.key(Qt.Key.Key_Q)
    assert desktop.session.landmark == 2
    desktop.click((100, 100))
    np.testing.assert_allclose(desktop.session.annotations[name].xy[2], (100, 100), atol=0.6)
    assert desktop.session.annotations[name].placed.sum() == 3


def test_nudging_moves_by_one_pixel(desktop: Desktop, xrays, truth: LandmarkTable) -> None:
    name = start(desktop, xrays, truth, 1)
    desktop.key(Qt.Key.Key_Q)
    desktop.session.select(0)
    old = desktop.session.annotations[name].xy[0].copy()
    desktop.key(Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    desktop.key(Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_allclose(desktop.session.annotations[name].xy[0], old + np.ones(2))


def test_rings_keep_their_size_on_the_screen(desktop: Desktop, xrays, truth: LandmarkTable) -> None:
    start(desktop, xrays, truth, 2)
    camera = desktop.viewer.scene.camera
    on_screen = desktop.layer.size[0] * desktop.layer.scale[0] * camera.zoom
    camera.zoom *= 4
    desktop.settle()
    assert np.isclose(desktop.layer.size[0] * desktop.layer.scale[0] * camera.zoom, on_screen)


def test_layers_carry_the_scale_of_each_radiograph(desktop: Desktop, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from onemark.phantom import phantom_radiograph

    _mixed(tmp_path / "mixed", phantom_radiograph)
    desktop.open(tmp_path / "mixed")
    desktop.session.set_schema(schema_from_names(("a", "b"), "two"))
    seen = {}
    for name in desktop.session.cohort.names:
        desktop.session.show(name)
        desktop.until(lambda name=name: desktop.shown(name))
        desktop.click((60, 70))
        layers = [desktop.app.context.canvas.layer(tag) for tag in ("radiograph", "landmarks")]
        assert len({(tuple(one.scale), tuple(map(str, one.units))) for one in layers}) == 1
        np.testing.assert_allclose(desktop.session.annotations[name].xy[0], (60, 70), atol=1.2)
        seen[name] = (layers[0].data.shape, str(layers[0].units[0]), layers[0].scale[0])
    assert seen["a.png"][1] == "millimeter"
    assert seen["b.png"] == ((200, 300), "pixel", 1.0)
    assert seen["c.dcm"][0] == (240, 180)
    assert np.isclose(seen["c.dcm"][2], 0.14)


def _mixed(folder, draw) -> None:  # type: ignore[no-untyped-def]
    """A PNG with a resolution, a PNG without, a DICOM: three sizes."""
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()

    def grey(size: tuple[int, int]) -> np.ndarray:
        return np.rint(draw(1, size=size)[0].pixels * 255).astype(np.uint8)

    Image.fromarray(grey((320, 256))).save(folder / "a.png", dpi=(127, 127))
    Image.fromarray(grey((200, 300))).save(folder / "b.png")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        ComputedRadiographyImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = ComputedRadiographyImageStorage, meta.MediaStorageSOPInstanceUID
    image.Modality, image.Rows, image.Columns = "CR", 240, 180
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.ImagerPixelSpacing = [0.14, 0.14]
    image.PixelData = grey((240, 180)).tobytes()
    image.save_as(folder / "c.dcm", enforce_file_format=True)
