"""Expected errors of a fitted model: learned with the fit, kept in the run, recalibrated by corrections."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onemark
from onemark import Cohort, LandmarkTable, Model
from onemark.data.images.header import Header
from onemark.imaging.ellipses import mean_distance
from onemark.progress import silent
from onemark.stages.matcher import Matcher
from onemark.stages.trust import ask
from onemark.uncertainty.calibration import Calibration, Corrections
from onemark.uncertainty.error_model import ErrorModel
from onemark.uncertainty.learning import compare_corrections, doubt_stranger, learn_error_model
from onemark.uncertainty.surroundings import Surroundings


@pytest.fixture(scope="module")
def fitted(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Model, Path]:
    run = tmp_path_factory.mktemp("expecting") / "run"
    return onemark.fit(phantoms, exemplars, settings=tiny, out=run), run


def test_expected_errors_are_more_than_the_width_of_the_peak(fitted: tuple[Model, Path], phantoms: Cohort):
    model, _ = fitted
    radiograph = phantoms[phantoms.names[3]]
    found, plain = model.locate(radiograph), ask(model.stages, radiograph, model.trust).final
    np.testing.assert_array_equal(found.xy, plain.xy)
    assert (found.expected_error > 0).all()
    assert not np.allclose(found.expected_error, plain.expected_error)
    assert model.conformal_factor() is None  # nothing was corrected yet


def test_expected_errors_are_in_mm_where_the_spacing_is_known(fitted: tuple[Model, Path], phantoms: Cohort):
    model, _ = fitted
    radiograph = phantoms[phantoms.names[3]]
    in_mm = model.locate(dataclasses.replace(radiograph, spacing=(0.5, 0.5)))
    np.testing.assert_allclose(in_mm.expected_error, model.locate(radiograph).expected_error / 2)


def test_every_predicted_point_has_an_ellipse_as_large_as_its_expected_error(
    fitted: tuple[Model, Path], phantoms: Cohort
):
    model, run = fitted
    radiograph = phantoms[phantoms.names[3]]
    found = model.locate(radiograph)
    np.testing.assert_allclose(mean_distance(found.ellipse), found.expected_error)
    assert (found.sd_major > 1.01 * found.sd_minor).any()
    np.testing.assert_allclose(onemark.load(run).locate(radiograph).ellipse, found.ellipse)
    again = onemark.load(run)
    assert again.error_model is not None
    again.error_model = dataclasses.replace(again.error_model, directions=None)  # an earlier version's
    old = again.locate(radiograph)
    np.testing.assert_allclose(mean_distance(old.ellipse), found.expected_error)


def test_ellipses_are_in_mm_where_pixels_are_not_square(fitted: tuple[Model, Path], phantoms: Cohort):
    model, _ = fitted
    radiograph = dataclasses.replace(phantoms[phantoms.names[3]], spacing=(0.2, 0.8))
    found, square = model.locate(radiograph), model.locate(dataclasses.replace(radiograph, spacing=None))
    np.testing.assert_allclose(mean_distance(found.ellipse), found.expected_error)
    tall = np.abs(found.angle) > 45  # mm are long along y
    assert tall.mean() > (np.abs(square.angle) > 45).mean()


def test_a_loaded_run_expects_the_same(fitted: tuple[Model, Path], phantoms: Cohort):
    model, run = fitted
    radiograph = phantoms[phantoms.names[5]]
    again = onemark.load(run).locate(radiograph)
    np.testing.assert_allclose(again.expected_error, model.locate(radiograph).expected_error)


def test_surroundings_unlike_the_exemplars_are_doubted(fitted: tuple[Model, Path], phantoms: Cohort):
    model, run = fitted
    radiograph, error_model = phantoms[phantoms.names[5]], onemark.load(run).error_model
    assert error_model is not None
    assert error_model.surroundings is not None
    other = dataclasses.replace(error_model.surroundings, patches=error_model.surroundings.patches + 3)
    stranger = dataclasses.replace(error_model, surroundings=other)
    worse = dataclasses.replace(model, error_model=stranger).locate(radiograph).expected_error
    assert (worse > model.locate(radiograph).expected_error).all()


def test_no_exemplar_is_compared_with_itself(
    fitted: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    model, _ = fitted
    every = LandmarkTable.from_sets(truth[name] for name in phantoms.names)

    def around(exemplars: LandmarkTable) -> Surroundings | None:
        learned = learn_error_model(model.stages, None, exemplars, phantoms, Corrections(), silent)
        assert learned is not None
        return learned.surroundings

    some = around(dataclasses.replace(every, sets=every.sets[:2]))
    assert some is not None
    assert len(some.points) == 2
    assert around(every) is None  # each of them is a radiograph whose signals are looked at


def test_corrections_recalibrate(
    fitted: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable, tmp_path: Path
):
    model, run = fitted
    shutil.copytree(run, tmp_path / "run")
    names = phantoms.names[4:6]
    corrected = LandmarkTable.from_sets(truth[name] for name in names)
    more = onemark.resume(tmp_path / "run", exemplars=corrected, minutes=0.001)
    ratios = json.loads((tmp_path / "run" / "config.json").read_text())["ratios"]
    expected = []
    for name in names:
        found = model.locate(phantoms[name])
        away = np.linalg.norm(found.xy - truth[name].xy, axis=1)
        expected.append(away / found.expected_error)
    np.testing.assert_allclose(ratios, expected, rtol=1e-4)
    angles = json.loads((tmp_path / "run" / "config.json").read_text())["angles"]
    way = model.locate(phantoms[names[1]]).xy - truth[names[1]].xy
    np.testing.assert_allclose(angles[1], np.degrees(np.arctan2(way[:, 1], way[:, 0])), rtol=1e-4, atol=1e-3)
    assert model.error_model is not None
    assert more.error_model is not None
    # The same errors, in relation to what the model expects that has learned from them.
    of_errors = expected * model.error_model.level / more.error_model.level
    np.testing.assert_allclose(more.error_model.calibration.ratios, of_errors, rtol=1e-4)
    assert more.conformal_factor(0.8) == onemark.load(tmp_path / "run").conformal_factor(0.8)
    assert more.conformal_factor(0.8) is not None
    doubts = json.loads((tmp_path / "run" / "config.json").read_text())["doubts"]
    side = sum(phantoms[names[0]].size) / 2
    usual = model.locate(phantoms[names[0]]).expected_error / side / model.error_model.level
    np.testing.assert_allclose(doubts[0], usual, rtol=1e-4)


def test_discs_with_a_promise_are_in_the_unit_of_the_expected_errors(
    fitted: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    model, _ = fitted
    radiograph = dataclasses.replace(phantoms[phantoms.names[3]], spacing=(0.5, 0.5))
    assert np.isinf(model.conformal_radii(model.locate(radiograph), radiograph, 0.8)).all()
    assert model.error_model is not None
    count = len(model.names)
    taught = Calibration(np.full((9, count), 3.0), doubts=np.ones((9, count)))
    model = dataclasses.replace(model, error_model=dataclasses.replace(model.error_model, calibration=taught))
    in_mm = model.conformal_radii(model.locate(radiograph), radiograph)
    plain = dataclasses.replace(radiograph, spacing=None)
    in_px = model.conformal_radii(model.locate(plain), Header(plain.size, None))
    np.testing.assert_allclose(in_mm, in_px / 2)
    # Nine errors that were three times as large as expected, where as much as usual was expected.
    usual = 3 * model.error_model.level * sum(plain.size) / 2
    doubts = model.locate(plain).expected_error / (taught.factors * usual / 3)
    np.testing.assert_allclose(in_px, usual * doubts**0.5)


def test_a_matcher_alone_expects_errors_too(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: dict[str, object]
):
    own = {key: value for key, value in tiny.items() if key.startswith("match.")}
    model = onemark.fit(phantoms, exemplars, recipe="match-only", settings=own)
    assert (model.locate(phantoms[phantoms.names[3]]).expected_error > 0).all()


def test_a_small_cohort_keeps_the_width_of_the_peak(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: dict[str, object]
):
    few = phantoms.subset(phantoms.names[:3])  # two besides the exemplar
    model = onemark.fit(few, exemplars, settings=tiny)
    assert model.error_model is None
    radiograph = phantoms[phantoms.names[7]]
    np.testing.assert_array_equal(
        model.locate(radiograph).expected_error,
        ask(model.stages, radiograph, model.trust).final.expected_error,
    )


def test_a_cohort_that_is_annotated_throughout_has_expected_errors_too(
    phantoms: Cohort, truth: LandmarkTable, tiny: dict[str, object]
):
    few = phantoms.subset(phantoms.names[:4])
    model = onemark.fit(few, LandmarkTable.from_sets([truth[name] for name in few.names]), settings=tiny)
    assert model.error_model is not None
    assert (model.locate(phantoms[phantoms.names[7]]).expected_error > 0).all()


def test_lengths_are_shares_of_the_side_and_the_radiographs_that_the_detector_saw_are_counted(
    fitted: tuple[Model, Path], phantoms: Cohort, exemplars: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    model, _ = fitted
    given: list[tuple[dict[str, np.ndarray], int]] = []
    learn = ErrorModel.learn

    def watched(signals: Any, calibration: Any, lengths: Any, labelled: Any, ways: Any, seen: int) -> Any:
        given.append((dict(lengths), seen))
        return learn(signals, calibration, lengths, labelled, ways, seen)

    monkeypatch.setattr(ErrorModel, "learn", watched)
    monkeypatch.setattr(model.stages["detect"], "seen", 5)
    assert (
        learn_error_model(model.stages, model.trust, exemplars, phantoms, Corrections(), silent) is not None
    )
    ((lengths, seen),) = given
    assert seen == 5
    register = model.stages["register"]
    assert isinstance(register, Matcher)
    asked = [one for one in phantoms if one.name not in exemplars.images]
    assert len(lengths["dispute"]) == len(asked)  # fewer than 16 radiographs are all asked
    for row, radiograph in zip(lengths["dispute"], asked, strict=True):
        np.testing.assert_allclose(row, register.dispute(radiograph) / radiograph.side)
    assert 0 < np.nanmedian(lengths["dispute"]) < 0.5


def test_what_a_stranger_was_expected_to_be_off_is_no_news_for_others(
    fitted: tuple[Model, Path], phantoms: Cohort, truth: LandmarkTable
):
    model, _ = fitted
    name = phantoms.names[4]
    corrected = LandmarkTable.from_sets([truth[name]])

    def compare(known: LandmarkTable, unlike: float = 1.0) -> Corrections:
        parts = model.error_model, model.stages, model.trust, known, corrected, phantoms, None
        return compare_corrections(*parts, {name: unlike})

    usual, strange = compare(model.exemplars), compare(model.exemplars, 6.0)
    assert doubt_stranger(6.0) > 3
    np.testing.assert_allclose(np.array(usual.ratios) / np.array(strange.ratios), doubt_stranger(6.0))
    np.testing.assert_allclose(np.array(strange.doubts) / np.array(usual.doubts), doubt_stranger(6.0))
    # Of a radiograph with one answer, the others still count.
    only = np.arange(len(truth.names)) == 0
    one = dataclasses.replace(truth[name], xy=np.where(only[:, None], truth[name].xy, np.nan), asked=only)
    rest = compare(model.exemplars.with_set(one))
    assert rest.ratios[0][0] is None
    assert rest.ratios[0][1:] == usual.ratios[0][1:]
    assert not compare(model.exemplars.with_set(truth[name])).ratios
