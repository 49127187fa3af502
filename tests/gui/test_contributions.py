"""The manifest and what napari calls from it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Layer
from npe2 import PluginManifest

import onemark
from onemark.data.cohort import open_cohort
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.gui import contributions
from onemark.types import UserError

from .desktop import Desktop

PACKAGE = Path(onemark.__file__).parent


def test_the_manifest_in_the_package_is_the_one_of_the_repository() -> None:
    root = PACKAGE.parents[1] / "napari.yaml"
    assert (PACKAGE / "napari.yaml").read_bytes() == root.read_bytes()


def test_every_command_of_the_manifest_exists() -> None:
    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    manifest.validate_imports()
    offered = {command.id for command in manifest.contributions.commands or ()}
    used = {
        one.command
        for kind in ("readers", "writers", "widgets")
        for one in getattr(manifest.contributions, kind)
    }
    assert used <= offered


def test_folders_of_radiographs_are_claimed_and_no_others(xrays: Path, tmp_path: Path) -> None:
    assert contributions.get_reader(str(xrays)) is contributions.read_folder
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.csv").write_text("image,landmark,x,y\n")
    assert contributions.get_reader(str(tmp_path / "notes")) is None
    assert contributions.get_reader([str(xrays)]) is None


def test_without_a_window_a_folder_is_its_first_radiograph(
    xrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari.current_viewer", lambda: None)
    ((pixels, meta, kind),) = contributions.read_folder(str(xrays))
    assert kind == "image"
    assert pixels.shape == (320, 256)
    assert meta["units"] == ("mm", "mm")


def test_dropping_a_folder_on_the_canvas_opens_the_widget(viewer: Viewer, xrays: Path) -> None:
    viewer.open(str(xrays), plugin="onemark")
    widget = contributions.open_widget(viewer)
    desktop = Desktop.around(viewer, widget)
    desktop.until(lambda: desktop.session.current)
    desktop.until_shown(desktop.session.current)
    assert len(desktop.session.cohort) == 6
    assert [layer.name for layer in viewer.layers] == ["radiograph", "landmarks"]
    desktop.remove()


def test_the_sample_is_the_phantom_cohort(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onemark.gui.controllers.opening.PHANTOMS", 3)
    viewer.open_sample("onemark", "phantom")
    widget = contributions.open_widget(viewer)
    desktop = Desktop.around(viewer, widget)
    desktop.until(lambda: desktop.session.current)
    desktop.until_shown(desktop.session.current)
    assert len(desktop.session.cohort) == 3
    assert "sella" in desktop.session.schema.names
    assert [layer.name for layer in viewer.layers] == ["radiograph", "landmarks"], (
        "the sample's layer is used, not doubled"
    )
    desktop.remove()


@pytest.mark.parametrize("suffix", [".csv", ".mrk.json", ".tps", ".json"])
def test_napari_save_writes_the_points_in_view(
    annotated: Desktop, truth: LandmarkTable, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"points{suffix}"
    annotated.layer.save(str(path), plugin="onemark")
    one = read_landmarks(path)[truth.images[0]]
    assert one.names == truth.names
    np.testing.assert_allclose(one.xy, annotated.session.shown_annotation.xy, atol=1e-3)
    if suffix == ".csv":
        assert path.read_text().splitlines()[0] == "image,landmark,x,y,x_mm,y_mm"


def test_napari_offers_what_the_window_writes(tmp_path: Path) -> None:
    """All but DICOM's reports, which need the DICOM file."""
    from onemark.data.landmarks.formats import writers
    from onemark.data.landmarks.reading import PATTERNS

    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml").contributions
    assert len({one.display_name for one in manifest.writers or ()}) == len(writers())
    read = {pattern for one in manifest.readers or () for pattern in one.filename_patterns}
    assert set(PATTERNS.split()) <= read
    attributes = {"name": "dots", "metadata": {"image": "knee.png", "size": (20, 30)}}
    written = contributions.write_yolo(str(tmp_path / "knees.yaml"), np.array([[5.0, 15.0]]), attributes)
    assert written == [str(tmp_path / "knees" / file) for file in ("labels/knee.txt", "data.yaml")]
    assert Path(written[0]).read_text().split()[5:] == ["0.5", "0.25", "2"]


def test_foreign_points_are_saved_with_their_image(tmp_path: Path) -> None:
    points = (
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        {"name": "dots", "scale": (0.5, 0.5), "units": ("mm", "mm")},
        "points",
    )
    image = (np.zeros((20, 30)), {"name": "knee"}, "image")
    written = contributions.write_layers(str(tmp_path / "a.json"), [image, points])
    assert read_landmarks(written[0])["knee"].xy.tolist() == [[2, 1], [4, 3]]
    with pytest.raises(UserError, match="select its image layer"):
        contributions.write_layers(str(tmp_path / "b.tps"), [points])
    with pytest.raises(UserError, match="no points"):
        contributions.write_layers(str(tmp_path / "c.csv"), [image])


@pytest.mark.parametrize("suffix", [".csv", ".tps"])
def test_a_layer_whose_name_is_spelled_otherwise_is_saved_in_mm(tmp_path: Path, suffix: str) -> None:
    """Names on a Mac hold letters and accents apart; a table joins them."""
    name = unicodedata.normalize("NFD", "Müller")
    attributes = {"name": name, "scale": (0.5, 0.25), "units": ("mm", "mm"), "metadata": {"image": name}}
    image = (np.zeros((20, 30)), {"name": name}, "image")
    layers = [image] if suffix == ".tps" else []
    points = (np.array([[1.0, 2.0]]), attributes, "points")
    (file,) = contributions.write_layers(str(tmp_path / f"a{suffix}"), [*layers, points])
    assert read_landmarks(file).images == ("Müller",)
    if suffix == ".csv":
        assert Path(file).read_text("utf-8").splitlines()[1] == "Müller,1,2.0,1.0,0.5,0.5"


def test_landmark_files_become_points_of_each_radiograph(
    xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    path = xrays / "points.csv"
    truth.to_csv(path)
    assert contributions.get_reader(str(path)) is contributions.read_points
    layers = contributions.read_points(str(path))
    assert [meta["metadata"]["image"] for _, meta, _ in layers] == list(truth.images)
    data, meta, kind = layers[0]
    assert kind == "points"
    np.testing.assert_allclose(data[:, ::-1], truth[truth.images[0]].xy)
    assert meta["features"]["landmark"] == list(truth.names)


def test_landmark_files_lie_on_their_radiographs(xrays: Path, truth: LandmarkTable) -> None:
    path, first = xrays / "points.csv", truth.images[0]
    truth.to_csv(path)
    data, meta, kind = contributions.read_points(str(path))[0]
    _, image, _ = contributions.make_layer_data(open_cohort(xrays)[first])
    assert meta["metadata"] == {"image": first, "size": (320, 256)}
    assert meta["scale"] == pytest.approx(image["scale"])
    assert str(Layer.create(data, meta, kind).units[0]) == "millimeter"


@pytest.mark.parametrize(
    "text", ["index,axis-0,axis-1\n0,1,2\n", "name,colour\na,red\n"], ids=["napari's own", "no landmarks"]
)
def test_tables_of_others_are_left_to_others(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert contributions.get_reader(str(tmp_path / "a.csv")) is None


def test_the_window_writes_every_format_that_is_written() -> None:
    from onemark.data.landmarks.formats import writers
    from onemark.gui.controllers.exporting import FORMATS

    assert {one.key for one in writers()} == {one.key for one in FORMATS} - {"report"}


def test_labelme_has_a_command_of_its_own(tmp_path: Path) -> None:
    attributes = {"name": "knee", "metadata": {"size": (20, 30), "image": "knee.png"}}
    (written,) = contributions.write_labelme(str(tmp_path / "a.json"), np.array([[1.0, 2.0]]), attributes)
    assert read_landmarks(written)["knee.png"].xy.tolist() == [[2, 1]]
