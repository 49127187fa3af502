"""What people really drop into the folder, end to end by the command line: one line, status 2, or named and skipped."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import onemark
from onemark import LandmarkTable
from onemark.cli import main
from onemark.pipeline.runs.folder import RunFolder

Fails = Callable[..., str]


@pytest.fixture
def folder(xrays: Path, tmp_path: Path) -> Path:
    """Four phantoms, to be spoiled."""
    (tmp_path / "xrays").mkdir()
    for number in range(1, 5):
        shutil.copy(xrays / f"phantom-00{number}.png", tmp_path / "xrays")
    return tmp_path / "xrays"


@pytest.fixture
def exemplar(exemplars: LandmarkTable, tmp_path: Path) -> Path:
    exemplars.to_csv(tmp_path / "exemplar.csv")
    return tmp_path / "exemplar.csv"


@pytest.fixture
def words(folder: Path, exemplar: Path, tmp_path: Path, tiny_words: list[str]) -> list[str]:
    """The words of a run that takes a second."""
    return ["run", str(folder), "--exemplar", str(exemplar), "--out", str(tmp_path / "run"), *tiny_words]


@pytest.fixture(scope="module")
def finished(
    xrays: Path, exemplars: LandmarkTable, tiny_words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run of the twelve phantoms; read only."""
    out, exemplar = tmp_path_factory.mktemp("finished") / "run", tmp_path_factory.mktemp("e") / "exemplar.csv"
    exemplars.to_csv(exemplar)
    assert main(["run", str(xrays), "--exemplar", str(exemplar), "--out", str(out), *tiny_words]) == 0
    return out


def predicted(run: Path) -> set[str]:
    return set(onemark.read_landmarks(run / "landmarks.csv").images)


# --- files -----------------------------------------------------------------------------------------------


def zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no image")


def cut_short(path: Path) -> None:
    whole = (path.parent / "phantom-002.png").read_bytes()
    path.write_bytes(whole[: len(whole) // 3])


def one_pixel(path: Path) -> None:
    Image.new("L", (1, 1), 7).save(path)


def all_black(path: Path) -> None:
    Image.new("L", (128, 160)).save(path)


def several_pages(path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 255, (3, 160, 128), np.uint8)
    tifffile.imwrite(path.with_suffix(".tif"), pages, photometric="minisblack")


def not_a_number(path: Path) -> None:
    values = np.full((160, 128), np.nan, np.float32)
    tifffile.imwrite(path.with_suffix(".tif"), values, photometric="minisblack")


SPOILS = (zero_bytes, text, cut_short, one_pixel, all_black, several_pages, not_a_number)


def test_bad_radiographs_are_named_and_the_rest_is_done(
    folder: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for spoil in SPOILS:
        spoil(folder / f"{spoil.__name__}.png")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "predicted 4 of 11 radiographs" in out
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    for spoil in SPOILS:
        said = [line for line in err.splitlines() if f"{spoil.__name__}." in line]
        assert len(said) == 1
        assert said[0].startswith("skipped: ")
        assert spoil.__name__ in report
    assert predicted(tmp_path / "run") == {f"phantom-00{number}.png" for number in range(1, 5)}


def test_unusual_but_good_radiographs_are_predicted(folder: Path, words: list[str], tmp_path: Path):
    grey = np.asarray(Image.open(folder / "phantom-002.png").convert("L"))
    Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 200)])).save(folder / "rgba.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    tifffile.imwrite(folder / "float.tiff", grey.astype(np.float32) / 255, photometric="minisblack")
    for name in ("with blank.png", "with, comma.png", "Übersicht – 額.png", 'quo"te.png', "phantom-002.jpg"):
        Image.fromarray(grey).save(folder / name)
    assert main(words) == 0
    names = set(onemark.open_cohort(folder).names)
    assert len(names) == 12
    assert predicted(tmp_path / "run") == names


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_not_utf_8(folder: Path, words: list[str], tmp_path: Path):
    strange = folder.rename(tmp_path / os.fsdecode(b"r\xf6ntgen"))
    (strange / "spoilt.png").write_bytes(b"")
    assert main([words[0], str(strange), *words[2:]]) == 0
    assert len(predicted(tmp_path / "run")) == 4
    assert onemark.open_cohort(RunFolder.open(tmp_path / "run").config.cohort).names


def test_names_with_commas_and_accents_are_exemplars_too(
    folder: Path, words: list[str], exemplar: Path, tmp_path: Path
):
    name = "Übersicht, 1 – 額.png"
    (folder / "phantom-001.png").rename(folder / name)
    table = onemark.read_landmarks(exemplar)
    LandmarkTable.from_sets([onemark.LandmarkSet(name, table.names, table.sets[0].xy)]).to_csv(exemplar)
    assert main(words) == 0
    predictions = onemark.read_landmarks(tmp_path / "run" / "landmarks.csv")
    np.testing.assert_array_equal(predictions[name].xy, table.sets[0].xy)


def test_the_same_stem_twice_needs_the_suffix(folder: Path, words: list[str], exemplar: Path, fails: Fails):
    Image.open(folder / "phantom-001.png").save(folder / "phantom-001.jpg")
    exemplar.write_text(exemplar.read_text().replace("phantom-001.png", "phantom-001"))
    line = fails(*words)
    assert "phantom-001.jpg" in line
    assert "phantom-001.png" in line
    assert "suffix" in line


def test_every_radiograph_is_bad(
    folder: Path, words: list[str], exemplar: Path, tmp_path: Path, fails: Fails
):
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    assert "phantom-001.png" in fails(*words)
    assert not (tmp_path / "run").exists()


def test_the_exemplars_own_radiograph_cannot_be_decoded(folder: Path, words: list[str], fails: Fails):
    whole = (folder / "phantom-001.png").read_bytes()
    (folder / "phantom-001.png").write_bytes(whole[: len(whole) // 2])  # its size can still be read
    assert "phantom-001.png" in fails(*words)


def test_a_radiograph_that_vanishes_meanwhile(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fit = onemark.pipeline.fit.fit

    def fit_then_lose(*args: object, **options: object) -> object:
        model = fit(*args, **options)  # type: ignore[arg-type]
        (folder / "phantom-003.png").unlink()
        return model

    monkeypatch.setattr(onemark, "fit", fit_then_lose)
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "predicted 3 of 4" in out
    assert any(line.startswith("skipped: ") and "phantom-003.png" in line for line in err.splitlines())


# --- exemplars -------------------------------------------------------------------------------------------

HEAD = "image,landmark,x,y\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "exemplar.csv", id="empty"),
        pytest.param(b"\x00\xff\xfe\x01rubbish\x80" * 50, "exemplar.csv", id="binary rubbish"),
        pytest.param(b"image,landmark,x\nphantom-001.png,a,1\n", "y", id="missing column"),
        pytest.param(HEAD.encode(), "exemplar.csv", id="no rows"),
        pytest.param((HEAD + "phantom-001.png,a,nan,nan\n").encode(), "no visible landmark", id="NaN"),
        pytest.param((HEAD + "phantom-001.png,a,left,3\n").encode(), "left", id="words for numbers"),
        pytest.param((HEAD + "phantom-001.png,a,-5,3\n").encode(), "outside", id="outside, left"),
        pytest.param((HEAD + "phantom-001.png,a,5,160\n").encode(), "outside", id="outside, below"),
        pytest.param((HEAD + "phantom-001.png,a,1e300,3\n").encode(), "outside", id="outside, far"),
        pytest.param((HEAD + "phantom-001.png,a,inf,3\n").encode(), "inf", id="infinite"),
        pytest.param((HEAD + "phantom-001.png,a,5,3\nphantom-001.png,a,6,3\n").encode(), "twice", id="twice"),
        pytest.param((HEAD + "phantom-900.png,a,5,3\n").encode(), "phantom-900.png", id="not in the folder"),
        pytest.param((HEAD + ",a,5,3\n").encode(), "line 2", id="no image"),
    ],
)
def test_a_bad_exemplar(
    content: bytes, said: str, words: list[str], exemplar: Path, tmp_path: Path, fails: Fails
):
    exemplar.write_bytes(content)
    assert said in fails(*words)
    assert not (tmp_path / "run").exists()


def test_an_exemplar_that_is_missing_or_a_folder(words: list[str], exemplar: Path, fails: Fails):
    exemplar.unlink()
    assert "exemplar.csv" in fails(*words)
    exemplar.mkdir()
    assert "exemplar.csv" in fails(*words)


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--recipe", "magic"], "unknown recipe 'magic': choose one of onemark"),
        (["--device", "tpu"], "unknown device 'tpu': choose one of auto, cpu, cuda, mps"),
        (["--minutes", "-3"], "minutes must be a number above 0, not -3"),
        (["--minutes", "nan"], "minutes must be a number above 0, not nan"),
        (["--seed", "one"], "seed"),
        (["--spacing-mm", "nan"], "spacing"),
        (["--spacing-mm", "0"], "spacing"),
        (["--set", "match.rate=nan"], "match.rate must be a number"),
        (["--set", "match.encoder=magic"], "match.encoder must be one of"),
    ],
)
def test_a_bad_option(more: list[str], said: str, words: list[str], tmp_path: Path, fails: Fails):
    assert said in fails(*words, *more)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(words: list[str], tmp_path: Path, fails: Fails):
    assert "device cuda is not available here" in fails(*words, "--device", "cuda")
    assert not (tmp_path / "run").exists()


# --- folders ---------------------------------------------------------------------------------------------


def test_a_folder_without_radiographs(words: list[str], tmp_path: Path, fails: Fails):
    (tmp_path / "none").mkdir()
    assert "no radiographs in" in fails(words[0], str(tmp_path / "none"), *words[2:])
    (tmp_path / "none" / "notes.txt").write_text("")
    assert "no radiographs in" in fails(words[0], str(tmp_path / "none"), *words[2:])
    assert "does not exist" in fails(words[0], str(tmp_path / "missing"), *words[2:])
    assert "lists no radiographs" in fails(words[0], str(tmp_path / "none" / "notes.txt"), *words[2:])
    (tmp_path / "notes.md").write_text("")
    assert "is a file" in fails(words[0], str(tmp_path / "notes.md"), *words[2:])


def test_an_output_folder_that_cannot_be_written(words: list[str], tmp_path: Path, fails: Fails):
    (tmp_path / "file").write_text("mine")
    at = words.index("--out") + 1
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert str(out) in fails(*words[:at], str(out), *words[at + 1 :])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody may write")
def test_an_output_folder_where_nobody_may_write(words: list[str], fails: Fails):
    at = words.index("--out") + 1
    assert "/proc/onemark" in fails(*words[:at], "/proc/onemark/run", *words[at + 1 :])


def test_an_output_folder_that_holds_another_run(
    words: list[str], finished: Path, tmp_path: Path, fails: Fails
):
    run = shutil.copytree(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert f"onemark resume {run}" in fails(*words)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("file", ["config.json", "exemplars.csv", "weights.safetensors"])
def test_a_run_whose_files_are_damaged(file: str, finished: Path, folder: Path, tmp_path: Path, fails: Fails):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(b"rubbish\x00\xff")
    line = fails("predict", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "predictions.csv"))
    assert file in line
    assert not (tmp_path / "predictions.csv").exists()


# --- disk and memory -------------------------------------------------------------------------------------


def test_a_full_disk_while_weights_are_written(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
):
    fsync = os.fsync

    def full(handle: int) -> None:
        if os.fstat(handle).st_size > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        line = fails(*words)
    assert "weights.safetensors: the disk is full; free some space" in line
    assert not (tmp_path / "run").exists(), "nothing was kept that a run could continue from"
    assert main(words) == 0
    assert len(predicted(tmp_path / "run")) == 4


def test_no_folder_for_temporary_files(words: list[str], monkeypatch: pytest.MonkeyPatch, fails: Fails):
    def nowhere(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/gone']")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    assert "cannot write temporary files to the folder that TMPDIR names" in fails(*words)


@pytest.mark.parametrize("stage", ["match", "detect", "refine"])
def test_a_device_without_enough_memory(
    stage: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total ..."
        )

    tasks = {
        "match": "onemark.nn.embedding.dense.DenseTask",
        "detect": "onemark.stages.detect.tpl.heatmap.HeatmapTask",
        "refine": "onemark.stages.refine.f2.task.LabelTask",
    }
    with monkeypatch.context() as patch:
        patch.setattr(f"{tasks[stage]}.loss", full)
        line = fails(*words)
    assert line == (
        f"onemark: the device ran out of memory: lower {stage}.batch or {stage}.area, or use --device cpu"
    )
    assert main(words if stage == "match" else ["resume", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("recipe", "settings", "place"),
    [
        ("match-only", "match.", "onemark.nn.backbones.unet.UNet.forward"),
        ("onemark", "", "onemark.stages.match.groupwise.matcher.combine"),
    ],
)
def test_a_device_without_enough_memory_for_predicting(
    recipe: str,
    settings: str,
    place: str,
    words: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
):
    its_own = [word for word in words[1:] if not word.startswith("--set=") or f"={settings}" in word]
    assert main(["fit", *its_own, "--recipe", recipe]) == 0

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(place, full)
    line = fails("predict", str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "predictions.csv"))
    assert "out of memory" in line
    assert "--device cpu" in line
