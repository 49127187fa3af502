"""What a fit learns on phantoms, with trainings of seconds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onemark
from onemark import (
    Cancelled,
    Cohort,
    Evidence,
    LandmarkSet,
    LandmarkTable,
    Model,
    Progress,
    Radiograph,
    UserError,
)
from onemark.phantom import phantom_radiograph
from onemark.pipeline.model import fingerprint
from onemark.stages.answers import matcher_of
from onemark.stages.trust import Trust

Settings = dict[str, object]
STAGES = ("match", "detect", "refine")


# --- what it learns --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(
    phantoms: Cohort, exemplars: LandmarkTable, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Path]:
    """A model that has really learned, and its run folder."""
    run = tmp_path_factory.mktemp("learned") / "run"
    changes = {"area": 10240, "batch": 4, "steps": 40}
    settings = {f"{s}.{k}": v for s in STAGES for k, v in changes.items()}
    settings |= {"detect.steps": 60, "refine.area": 20480, "refine.batch": 2, "refine.steps": 5}
    settings |= {"register.area": 20480, "register.references": 4, "register.field_steps": 20}
    return onemark.fit(phantoms, exemplars, settings=settings, out=run), run


def error(model: Model, cohort: Cohort, truth: LandmarkTable) -> float:
    """Mean radial error in px on all radiographs but the exemplars."""
    return onemark.evaluate(model.predict(cohort), truth, exclude=model.exemplars.images).mre


def test_it_learns_where_the_landmarks_are(
    learned: tuple[Model, Path],
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    tiny: Settings,
):
    untrained = onemark.fit(
        phantoms, exemplars, settings=tiny | {"match.steps": 1, "detect.steps": 1, "refine.steps": 1}
    )
    found = error(learned[0], phantoms, truth)
    assert found < 0.25 * error(untrained, phantoms, truth)
    assert found < 6  # px, of 160 x 128; copying the exemplar's coordinates is worse
    copied = [dataclasses.replace(exemplars.sets[0], image=name) for name in phantoms.names]
    assert found < 0.7 * onemark.evaluate(copied, truth, exclude=exemplars.images).mre


def test_the_matcher_alone_has_learned_too(
    learned: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    matcher = learned[0].stages["match"]
    found = LandmarkTable.from_sets(matcher.locate(radiograph) for radiograph in phantoms)
    assert onemark.evaluate(found, truth, exclude=[phantoms.names[0]]).mre < 6


def test_it_finds_landmarks_on_radiographs_it_never_saw(learned: tuple[Model, Path]):
    errors = []
    for index in range(20, 24):
        radiograph, truth = phantom_radiograph(index, size=(200, 160))
        found = learned[0].locate(radiograph)
        assert found.names == truth.names
        errors.append(np.linalg.norm(found.xy - truth.xy, axis=1).mean() / 1.25)
    assert np.mean(errors) < 7  # px at the size of the cohort


def test_every_landmark_comes_with_score_and_expected_error(learned: tuple[Model, Path], phantoms: Cohort):
    found = learned[0].predict(phantoms)
    assert found.images == phantoms.names
    for one in found:
        assert np.isfinite(one.xy).all()
        assert ((one.score >= 0) & (one.score <= 1)).all()
        assert (one.expected_error >= 0).all()
    px = learned[0].locate(dataclasses.replace(phantoms[1], spacing=None)).expected_error
    mm = learned[0].locate(dataclasses.replace(phantoms[1], spacing=(0.2, 0.4))).expected_error
    np.testing.assert_allclose(mm, px * 0.3)


def test_evidence_has_the_size_of_the_radiograph(learned: tuple[Model, Path], phantoms: Cohort):
    model, radiograph = learned[0], phantoms[2]
    wide = Radiograph("wide.png", np.pad(radiograph.pixels, ((0, 0), (13, 40))), radiograph.spacing)
    for shown, landmark in ((radiograph, None), (radiograph, model.names[3]), (wide, model.names[0])):
        evidence = model.explain(shown, landmark)
        assert (evidence.image, evidence.landmark) == (shown.name, landmark)
        assert {"heatmap", "similarity product", "similarity s2", "similarity s32"} <= set(evidence.maps)
        for layer in evidence.maps.values():
            assert layer.shape == shown.size
            assert layer.dtype == np.float32
            assert np.isfinite(layer).all()


def test_evidence_points_where_the_landmark_was_found(learned: tuple[Model, Path], phantoms: Cohort):
    model, radiograph = learned[0], phantoms[3]
    found = model.locate(radiograph)
    for k, name in enumerate(model.names):
        heat = model.explain(radiograph, name).maps["heatmap"]
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert np.linalg.norm(found.xy[k] - (x, y)) < 8


def test_evidence_of_a_landmark_that_is_not_there(learned: tuple[Model, Path], phantoms: Cohort):
    with pytest.raises(UserError, match="no landmark 'elbow' in this run: it has"):
        learned[0].explain(phantoms[0], "elbow")


def test_what_is_loaded_marks_as_what_was_saved(learned: tuple[Model, Path], phantoms: Cohort):
    model, run = learned
    loaded = onemark.load(run)
    assert (loaded.names, loaded.recipe, loaded.log) == (model.names, model.recipe, model.log)
    before, after = model.predict(phantoms), loaded.predict(phantoms)
    assert before.images == after.images
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours.xy, theirs.xy)
        np.testing.assert_array_equal(ours.score, theirs.score)
        np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)
    shown, again = (one.explain(phantoms[4], model.names[1]).maps for one in (model, loaded))
    assert shown.keys() == again.keys()
    assert all(np.array_equal(shown[name], again[name]) for name in shown)


def test_the_run_folder_holds_what_the_pages_say(learned: tuple[Model, Path]):
    model, run = learned
    assert {path.name for path in run.iterdir()} == {
        ".onemark.lock",
        "config.json",
        "exemplars.csv",
        "log.jsonl",
        "weights.safetensors",
    }
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert (config["state"], config["recipe"], config["seed"]) == ("done", "onemark", 0)
    assert config["settings"]["match.steps"] == 40
    steps = [(entry["stage"], entry["step"]) for entry in model.log]
    ends = {"match": 40, "detect": 60, "refine": 5}
    assert steps == [(stage, step) for stage, end in ends.items() for step in range(1, end + 1)]
    assert {"loss", "seconds"} <= set(model.log[0])


# --- the exemplars ---------------------------------------------------------------------------------------


def test_the_exemplar_gets_the_points_a_person_placed(
    learned: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    model, name = learned[0], phantoms.names[0]
    found = model.locate(phantoms[name])
    np.testing.assert_array_equal(found.xy, truth[name].xy)
    np.testing.assert_array_equal(found.score, 1)
    np.testing.assert_array_equal(found.expected_error, 0)


def test_another_radiograph_of_the_exemplars_name_is_looked_at(
    learned: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    name = phantoms.names[0]
    for model in (learned[0], onemark.load(learned[1])):
        other = dataclasses.replace(phantoms[5], name=name)
        found = model.locate(other)
        assert (found.score < 1).any()
        miss = np.linalg.norm(found.xy - truth[phantoms.names[5]].xy, axis=1).mean()
        assert miss < np.linalg.norm(truth[name].xy - truth[phantoms.names[5]].xy, axis=1).mean()
        renamed = dataclasses.replace(phantoms[0], name="renamed.png")
        assert (model.locate(renamed).expected_error > 0).all()


def test_the_digest_knows_pixels():
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    first = fingerprint(Radiograph("a.png", image))
    assert fingerprint(Radiograph("b.png", image.copy())) == first
    assert fingerprint(Radiograph("a.png", image.T.copy())) != first
    changed = image.copy()
    changed[1, 1] += 1e-6
    assert fingerprint(Radiograph("a.png", changed)) != first


def hidden(one: LandmarkSet, *which: int) -> LandmarkSet:
    xy = one.xy.copy()
    xy[list(which)] = np.nan
    return dataclasses.replace(one, xy=xy)


def test_a_landmark_that_one_of_two_exemplars_hides_is_found_elsewhere(
    phantoms: Cohort, truth: LandmarkTable, tiny: Settings
):
    first, second, *_ = phantoms.names
    exemplars = LandmarkTable.from_sets([hidden(truth[first], 0, 4), truth[second]])
    model = onemark.fit(phantoms, exemplars, settings=tiny)
    found = model.predict(phantoms)
    np.testing.assert_array_equal(found[first].xy, exemplars[first].xy)  # stays hidden where a person hid it
    np.testing.assert_array_equal(found[first].score, [0, 1, 1, 1, 0, *[1] * (len(truth.names) - 5)])
    np.testing.assert_array_equal(found[second].xy, truth[second].xy)
    assert all(np.isfinite(found[name].xy).all() for name in phantoms.names[2:])
    matcher = model.stages["match"]
    assert matcher.visible[0].all()  # the first exemplar that shows a landmark
    assert matcher.visible[1].tolist() == [k not in (0, 4) for k in range(len(truth.names))]  # a second one


def test_a_landmark_that_no_exemplar_shows_is_left_out_and_told(
    phantoms: Cohort, truth: LandmarkTable, tiny: Settings, tmp_path: Path
):
    name = phantoms.names[0]
    exemplars = LandmarkTable.from_sets([hidden(truth[name], 2)])
    events: list[Progress] = []
    model = onemark.fit(phantoms, exemplars, settings=tiny, out=tmp_path / "run", progress=events.append)
    missing, kept = truth.names[2], tuple(n for n in truth.names if n != truth.names[2])
    assert model.names == onemark.load(tmp_path / "run").names == kept
    assert model.predict(phantoms).names == kept
    told = [event.message for event in events if missing in event.message]
    assert len(told) == 1
    assert onemark.read_landmarks(tmp_path / "run" / "exemplars.csv").names == truth.names


def test_several_exemplars_help_or_at_least_stay_themselves(
    phantoms: Cohort, truth: LandmarkTable, tiny: Settings
):
    three = LandmarkTable.from_sets(truth[name] for name in phantoms.names[3:6])
    model = onemark.fit(phantoms, three, settings=tiny)
    assert model.exemplars.images == phantoms.names[3:6]
    assert model.stages["match"].visible.shape == (3, len(truth.names))
    found = model.predict(phantoms)
    for name in three.images:
        np.testing.assert_array_equal(found[name].xy, truth[name].xy)


def test_exemplars_are_checked_before_anything_is_written(
    phantoms: Cohort, truth: LandmarkTable, tiny: Settings, tmp_path: Path
):
    outside = truth.sets[0].xy.copy()
    outside[0] = 1e6
    bad = LandmarkTable.from_sets([dataclasses.replace(truth.sets[0], xy=outside)])
    with pytest.raises(UserError, match="outside the image"):
        onemark.fit(phantoms, bad, settings=tiny, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- cohorts ---------------------------------------------------------------------------------------------


def test_radiographs_of_many_sizes(tmp_path: Path, tiny: Settings):
    truths = []
    for index, size in enumerate([(160, 128), (96, 200), (240, 80), (64, 64), (300, 240)], 1):
        radiograph, truth = phantom_radiograph(index, size=size)
        name = f"{index}.png"
        Image.fromarray((radiograph.pixels * 255).astype(np.uint8)).save(tmp_path / name)
        truths.append(dataclasses.replace(truth, image=name))
    cohort = onemark.open_cohort(tmp_path)
    found = onemark.fit(cohort, LandmarkTable.from_sets(truths[:1]), settings=tiny).predict(cohort)
    assert found.images == cohort.names
    for one in found:
        height, width = cohort.header(one.image).size
        assert ((one.xy >= 0) & (one.xy <= (width - 1, height - 1))).all()


def test_one_bad_radiograph_is_named_and_the_rest_done(
    xrays: Path, exemplars: LandmarkTable, tiny: Settings, tmp_path: Path
):
    shutil.copytree(xrays, tmp_path / "xrays")
    whole = (xrays / "phantom-002.png").read_bytes()
    (tmp_path / "xrays" / "phantom-002.png").write_bytes(whole[: len(whole) // 2])
    cohort = onemark.open_cohort(tmp_path / "xrays")
    events: list[Progress] = []
    model = onemark.fit(cohort, exemplars, settings=tiny | {"match.steps": 6}, progress=events.append)
    assert sum("phantom-002.png" in event.message for event in events if event.stage == "read") >= 1
    events.clear()
    found = model.predict(cohort, progress=events.append)
    assert found.images == tuple(name for name in cohort.names if name != "phantom-002.png")
    assert next(event.message for event in events if event.message).startswith("skipped: ")
    assert sum(bool(event.message) for event in events) == 1


def test_a_cohort_of_the_exemplar_alone(phantoms: Cohort, exemplars: LandmarkTable, tiny: Settings):
    alone = phantoms.subset(exemplars.images)
    assert onemark.fit(alone, exemplars, settings=tiny).predict(alone).images == exemplars.images


def test_prediction_without_a_readable_radiograph(learned: tuple[Model, Path], tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no radiograph in .* could be read"):
        learned[0].predict(onemark.open_cohort(tmp_path))


def test_prediction_can_be_stopped(learned: tuple[Model, Path], phantoms: Cohort):
    def sink(event: Progress) -> None:
        if event.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        learned[0].predict(phantoms, progress=sink)


def test_fitting_without_a_folder_writes_nothing(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    model = onemark.fit(phantoms, exemplars, settings=tiny)
    assert list(tmp_path.iterdir()) == []
    assert tuple(model.stages) == ("match", "register", "detect", "refine")


def test_evidence_of_the_refiner_is_of_where_it_looked(
    learned: tuple[Model, Path], phantoms: Cohort, monkeypatch: pytest.MonkeyPatch
):
    model, _ = learned
    count = len(model.names)
    distrusting = dataclasses.replace(model, trust=Trust(np.zeros(count), np.ones(count)))
    radiograph, starts = phantoms[3], list[np.ndarray]()

    def explain(radiograph: Radiograph, coarse: LandmarkSet, landmark: str | None) -> Evidence:
        starts.append(coarse.xy)
        return Evidence(radiograph.name, landmark, {})

    def refine(*_: object) -> LandmarkSet:
        raise AssertionError("its answer is not shown")

    monkeypatch.setattr(model.stages["refine"], "explain", explain)
    monkeypatch.setattr(model.stages["refine"], "refine", refine)
    distrusting.explain(radiograph)
    (start,) = starts
    assert np.array_equal(start, matcher_of(model.stages).locate(radiograph).xy)
