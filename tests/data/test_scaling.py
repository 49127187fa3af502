"""Radiographs and landmarks scaled down together, and landmarks scaled back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

import onemark
from onemark.cli import main
from onemark.data.images import limits
from onemark.data.scaling import MANIFEST, Amount, read_manifest, scale_back, scale_cohort, scale_table
from onemark.progress import Progress
from onemark.types import LandmarkSet, UserError

SPOTS = np.array([[60.0, 40.0], [250.0, 30.0], [131.0, 170.0]])
NAMES = ("a", "b", "c")


def draw(path: Path, dpi: float | None = 254) -> None:
    """A dark picture of 301 x 203 px with three bright spots."""
    y, x = np.mgrid[:203, :301]
    glow = sum(np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 72) for sx, sy in SPOTS)
    Image.fromarray((20 + 200 * np.clip(glow, 0, 1)).astype(np.uint8)).save(
        path, **({"dpi": (dpi, dpi)} if dpi else {})
    )


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    draw(folder / "p1.png")
    draw(folder / "sub" / "p2.tif")
    lines = [
        f"{image},{n},{x},{y}"
        for image in ("p1.png", "sub/p2.tif")
        for n, (x, y) in zip(NAMES, SPOTS, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["image,landmark,x,y", *lines]) + "\n")
    return folder


def brightest(pixels: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The centre of mass of the light around a point, x and y."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    inside = np.hypot(x - near[0], y - near[1]) < 12
    weight = pixels * inside
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("amount", [["--factor", "0.37"], ["--longest-side", "120"]])
def test_points_lie_on_the_same_anatomy_and_come_back(
    scans: Path, tmp_path: Path, amount: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small, back = tmp_path / "small", tmp_path / "back.csv"
    assert main(["scale", str(scans), "--out", str(small), "--table", str(tmp_path / "t.csv"), *amount]) == 0
    assert capsys.readouterr().out == f"scaled 2 of 2 radiographs: {small}\n"
    cohort = onemark.open_cohort(small)
    table = onemark.read_landmarks(small / "landmarks.csv", cohort)
    assert table.images == cohort.names == ("p1.tif", "sub/p2.tif")
    for radiograph in cohort:
        for xy in table[radiograph.name].xy:
            np.testing.assert_allclose(brightest(radiograph.pixels, xy), xy, atol=0.1)
    assert main(["unscale", str(small), str(small / "landmarks.csv"), "--out", str(back)]) == 0
    found = onemark.read_landmarks(back)
    assert found.images == ("p1.png", "sub/p2.tif")
    for one in found:
        np.testing.assert_allclose(one.xy, SPOTS, atol=1e-9)


def test_the_spacing_follows(scans: Path, tmp_path: Path) -> None:
    done = scale_cohort(onemark.open_cohort(scans), tmp_path / "small", Amount(longest_side=100))
    assert done["p1.tif"].box.scaled == (67, 100)
    spacing = onemark.open_cohort(tmp_path / "small").header("p1.tif").spacing
    assert spacing == pytest.approx((0.1 * 301 / 100, 0.1 * 203 / 67), rel=1e-4)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "small" / "p1.tif"))
    reader.ReadImageInformation()
    assert reader.GetSpacing()[:2] == pytest.approx(spacing, rel=1e-3), "other programs see it, too"
    given = scale_cohort(onemark.open_cohort(scans, spacing_mm=0.2), tmp_path / "given", Amount(0.5))
    width = given["p1.tif"].box.scaled[1]
    assert onemark.open_cohort(tmp_path / "given").header("p1.tif").spacing[0] == pytest.approx(
        0.2 * 301 / width
    )


def test_a_spacing_that_a_file_would_not_be_believed_is_told(scans: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    scale_cohort(onemark.open_cohort(scans, spacing_mm=0.01), tmp_path / "small", Amount(0.9), told.append)
    assert onemark.open_cohort(tmp_path / "small").spacing("p1.tif") is None
    (message,) = [one.message for one in told if one.message]
    assert "0.011" in message
    assert "give it with --spacing-mm" in message


def test_smaller_pictures_keep_their_size_and_all_their_grey(scans: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 50)).astype(np.uint16)
    values[0, :2] = 0, 65535  # far beyond the percentiles that onemark shows
    Image.fromarray(values).save(scans / "deep.png")
    done = scale_cohort(onemark.open_cohort(scans), tmp_path / "small", Amount(longest_side=200))
    assert done["deep.tif"].box.scaled == (40, 50)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "small" / "deep.tif"), values, atol=1)


def test_expected_errors_in_px_follow_and_those_in_mm_stay(scans: Path, tmp_path: Path) -> None:
    done = scale_cohort(onemark.open_cohort(scans), tmp_path / "small", Amount(0.5))
    sets = [
        LandmarkSet("p1.png", NAMES, SPOTS, np.ones(3), np.full(3, 4.0), "px"),
        LandmarkSet("sub/p2.tif", NAMES, SPOTS, np.ones(3), np.full(3, 4.0), "mm"),
        LandmarkSet("gone.png", NAMES, SPOTS),
    ]
    table = scale_table(onemark.LandmarkTable.from_sets(sets), done)
    assert table.images == ("p1.tif", "sub/p2.tif")
    assert table["p1.tif"].expected_error == pytest.approx(2, rel=0.01)
    assert table["sub/p2.tif"].expected_error.tolist() == [4, 4, 4]
    assert scale_back(table, tmp_path / "small")["p1.png"].expected_error == pytest.approx(4)


def test_too_large_a_scan_names_the_way_out_and_it_works(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "USUAL", limits.Limits(pixels=50_000))
    with limits.use_limits(limits.USUAL):
        with pytest.raises(
            UserError, match=r"301 x 203 px, more than the .* scale it .* with `onemark scale`"
        ):
            onemark.read_radiograph(scans / "p1.png")
        words = ["scale", str(scans), "--out", str(tmp_path / "small"), "--longest-side", "250"]
        assert main([*words, "--table", str(tmp_path / "t.csv")]) == 0
        assert onemark.read_radiograph(tmp_path / "small" / "p1.tif").size == (169, 250)
        full = ["--out", str(tmp_path / "b.tps"), "--images", str(scans)]
        assert (
            main(["unscale", str(tmp_path / "small"), str(tmp_path / "small" / "landmarks.csv"), *full]) == 0
        )
    found = onemark.read_landmarks(tmp_path / "b.tps", onemark.open_cohort(scans))
    np.testing.assert_allclose(found["p1.png"].xy, SPOTS, atol=1e-6)
    capsys.readouterr()


def test_pictures_of_one_stem_keep_their_whole_names(scans: Path, tmp_path: Path) -> None:
    draw(scans / "p1.jpg", None)
    done = scale_cohort(onemark.open_cohort(scans), tmp_path / "small", Amount(0.5))
    assert {name: one.original for name, one in done.items()} == {
        "p1.jpg.tif": "p1.jpg",
        "p1.png.tif": "p1.png",
        "sub/p2.tif": "sub/p2.tif",
    }


def test_no_picture_takes_the_place_of_another(tmp_path: Path) -> None:
    names = {
        "a.png": "a.png.tif",
        "a.tif": "a.tif.tif",
        "a.png.tif": "a.png.tif.tif",
        "B.png": "B.png.tif",
        "b.tif": "b.tif.tif",
        "1.2.3.4": "1.2.3.4.tif",
    }
    (tmp_path / "scans").mkdir()
    for name in list(names)[:-1]:
        draw(tmp_path / "scans" / name)
    draw(tmp_path / "drawn.png")
    (tmp_path / "drawn.png").rename(tmp_path / "scans" / "1.2.3.4")
    done = scale_cohort(onemark.open_cohort(tmp_path / "scans"), tmp_path / "small", Amount(0.5))
    assert {one.original: name for name, one in done.items()} == names
    assert set(onemark.open_cohort(tmp_path / "small").names) == set(names.values())


def test_bad_orders_are_one_sentence(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "small")]
    for words, said in (
        (["scale", str(scans), *out], "either a factor"),
        (["scale", str(scans), *out, "--factor", "2"], "not between 0 and 1"),
        (["scale", str(scans), *out, "--longest-side", "3"], "too short"),
        (["scale", str(scans), "--out", str(scans / "x"), "--factor", "0.5"], "folder elsewhere"),
        (["scale", str(scans), "--out", str(scans), "--factor", "0.5"], "exists already"),
        (["scale", str(scans), *out, "--factor", "0.05"], "no radiograph of"),
        (
            ["unscale", str(scans), str(tmp_path / "t.csv"), "--out", str(tmp_path / "b.csv")],
            f"no {MANIFEST}",
        ),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text", ["[]", "{}", '{"images": 3}', '{"images": {"a": {"size": [1]}}}', "{"])
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=MANIFEST):
        read_manifest(tmp_path)


def test_one_bad_scan_is_named_and_the_rest_is_scaled(scans: Path, tmp_path: Path) -> None:
    (scans / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    messages = []
    done = scale_cohort(
        onemark.open_cohort(scans), tmp_path / "s", Amount(0.5), lambda e: messages.append(e.message)
    )
    assert len(done) == 2
    assert next(one for one in messages if one).startswith("skipped: ")
    assert len(json.loads((tmp_path / "s" / MANIFEST).read_text())["images"]) == 2


def test_a_full_disk_is_no_bad_scan(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tifffile.imwrite", full)
    told: list[Progress] = []
    with pytest.raises(UserError, match="the disk is full"):
        scale_cohort(onemark.open_cohort(scans), tmp_path / "small", Amount(factor=0.5), told.append)
    assert not told


def test_a_file_in_the_place_of_the_scaled_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_text("")
    with pytest.raises(UserError, match="give the folder that `onemark scale` wrote"):
        read_manifest(tmp_path / "landmarks.csv")
