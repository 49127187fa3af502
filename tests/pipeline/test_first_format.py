"""Run folders of the first version, 0.1.0 before layouts had a version: they load, resume and tell where they stand.

The zip holds a finished run and one stopped in its last stage, both of the phantoms in `xrays`. A short pattern
replaces large tensors to keep the file small, so what these runs predict means nothing.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark import Cohort, LandmarkTable, UserError
from onemark.pipeline.runs.config import FORMAT, RunConfig, RunState
from onemark.pipeline.runs.folder import RunFolder, status_of

ZIP = Path(__file__).parent / "data" / "runs-of-0.1.zip"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A fresh copy of both runs."""
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_a_finished_one_loads_and_predicts(runs: Path, phantoms: Cohort, truth: LandmarkTable):
    status = RunFolder.open(runs / "done").status()
    assert (status.state, status.fitted, status.predicted) == (RunState.DONE, True, True)
    assert status.learned == ("match", "detect", "refine")
    model = onemark.load(runs / "done")
    assert list(model.stages) == ["match", "detect", "refine"]
    assert model.error_model is not None
    found = model.locate(phantoms[3])
    assert found.names == truth.names
    assert np.isfinite(found.xy).all()
    assert {entry["stage"] for entry in model.log} == {"match", "detect", "refine"}


def test_a_finished_one_can_be_taught_and_is_then_of_this_version(
    runs: Path, phantoms: Cohort, truth: LandmarkTable
):
    corrected = LandmarkTable.from_sets([truth[truth.images[4]]])
    model = onemark.resume(runs / "done", cohort=phantoms, exemplars=corrected, minutes=0.001)
    assert model.exemplars.images == (truth.images[0], truth.images[4])
    content = json.loads((runs / "done" / "config.json").read_text("utf-8"))
    assert content["format"] == FORMAT
    assert content["settings"]["refine.crop"] == 32
    assert not [name for name in content["settings"] if name.startswith("sharpen")]
    status = status_of(runs / "done")
    assert status is not None
    assert not status.predicted  # its predictions are of what it knew before


def test_a_stopped_one_resumes_where_it_was(runs: Path, phantoms: Cohort):
    status = RunFolder.open(runs / "stopped").status()
    assert (status.state, status.fitted, status.is_unfinished) == (RunState.STOPPED, False, True)
    steps: list[tuple[str, int]] = []
    model = onemark.resume(
        runs / "stopped", cohort=phantoms, progress=lambda event: steps.append((event.stage, event.step))
    )
    assert [step for step in steps if step[0] in ("match", "detect", "refine")] == [("refine", 2)]
    assert list(model.stages) == ["match", "detect", "refine"]
    assert model.recipe == "match-detect-refine"  # what the default was, whose stages these are
    assert RunFolder.open(runs / "stopped").status().is_trained


GOOD = RunConfig("onemark", {"match.steps": 3}, 0, "cpu", None, "/x", None, ("a.png",)).to_json()


def test_what_is_written_is_read_again():
    config = RunConfig(
        "onemark", {"match.steps": 3, "match.rate": 0.5, "match.encoder": "compact"}, 7, "cuda", 2.5, "/x", (0.1, 0.2),
        ("a.png", "b.png"), RunState.STOPPED, {"match": 1.5}, ("detect",), ((1.0, None),), {"a.png": "0f"}, 2, 1,
    )  # fmt: skip
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json())), "config.json") == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 99}, "was written by a newer onemark"),
        ({"format": "2"}, "is damaged, its format is '2'"),
        ({"state": "asleep"}, "'state' has a wrong value"),
        ({"seed": True}, "'seed' has a wrong value"),
        ({"seed": 1.5}, "'seed' has a wrong value"),
        ({"minutes": -1}, "'minutes' has a wrong value"),
        ({"settings": []}, "'settings' has a wrong value"),
        ({"settings": {"match.steps": [1]}}, "'settings' has a wrong value"),
        ({"spacing_mm": [0.1]}, "'spacing_mm' has a wrong value"),
        ({"spacing_mm": [0.1, 0]}, "'spacing_mm' has a wrong value"),
        ({"radiographs": "a.png"}, "'radiographs' has a wrong value"),
        ({"done": {"match": "long"}}, "'done' has a wrong value"),
        ({"fits": -1}, "'fits' has a wrong value"),
        ({"mood": "good"}, "holds 'mood', which this onemark does not know"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(changes: dict[str, object], said: str):
    with pytest.raises(UserError, match=said):
        RunConfig.from_json(GOOD | changes, "config.json")


@pytest.mark.parametrize(
    "name", ["recipe", "settings", "seed", "device", "minutes", "cohort", "state", "done", "warm"]
)
def test_what_is_missing_in_a_configuration_is_named(name: str):
    content = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(UserError, match=f"is damaged, '{name}' is missing"):
        RunConfig.from_json(content, "config.json")


def test_exemplars_that_have_lost_a_radiograph_are_refused(runs: Path):
    path = runs / "done" / "exemplars.csv"
    head, first, *_ = path.read_text("utf-8").splitlines()
    image = first.split(",")[0]
    path.write_text("\n".join([head, first.replace(image, "other.png")]) + "\n")
    with pytest.raises(UserError, match=rf"exemplars.csv is damaged, it lacks '{image}'"):
        onemark.load(runs / "done")


def test_what_lies_in_the_place_of_a_file_of_the_run_is_named(runs: Path):
    folder = RunFolder.open(runs / "done")
    folder.answers.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*answers\.safetensors"):
        folder.forget_answers()


def test_a_damaged_log_stops_nothing(runs: Path):
    (runs / "done" / "log.jsonl").write_bytes(b'{"stage": "match", "step": 1}\n\xff{')
    assert onemark.load(runs / "done").log == []
