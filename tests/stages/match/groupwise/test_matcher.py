"""The groupwise matcher on phantoms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onemark import Cohort, LandmarkTable, open_cohort
from onemark.phantom import write_phantom_cohort
from onemark.stages.match.groupwise import Groupwise, GroupwiseConfig
from onemark.testing import fit_stage

SIZE = (160, 128)
QUICK = GroupwiseConfig(area=20480, references=4, field_steps=25)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, LandmarkTable]:
    folder: Path = tmp_path_factory.mktemp("phantoms")
    truth = write_phantom_cohort(folder, 6, size=SIZE)
    return open_cohort(folder), truth


def errors(matcher: Groupwise, cohort: Cohort, truth: LandmarkTable, image: str) -> np.ndarray:
    return np.linalg.norm(matcher.locate(cohort[image]).xy - truth[image].xy, axis=1)


def test_it_finds_landmarks_on_its_group_and_on_others(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    matcher = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK)
    side = sum(SIZE) / 2
    for image in cohort.names[1:]:
        still = np.linalg.norm(truth.sets[0].xy - truth[image].xy, axis=1)
        away = errors(matcher, cohort, truth, image)
        assert np.median(away) < 0.02 * side
        assert away.mean() < 0.5 * still.mean()


def test_an_exemplar_keeps_its_own_landmarks(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    matcher = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK)
    assert errors(matcher, cohort, truth, cohort.names[0]).max() < 0.02 * sum(SIZE) / 2


def test_a_short_time_means_fewer_references(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    hurried = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK, seconds=1e-6)
    assert len(hurried.group) == 2
    assert len(fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK).group) == 4


def test_the_nearest_exemplars_answer_and_every_landmark_has_one(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    halves = []
    for n, one in enumerate(truth.sets[:4]):
        xy = one.xy.copy()
        xy[:2] = xy[:2] if n == 3 else np.nan
        halves.append(replace(one, xy=xy))
    config = replace(QUICK, nearest=1, references=2)
    matcher = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(halves), config)
    found = matcher.locate(cohort[cohort.names[5]]).xy
    assert np.isfinite(found).all()
    assert np.linalg.norm(found - truth[cohort.names[5]].xy, axis=1).mean() < 0.05 * sum(SIZE) / 2


def test_corrected_exemplars_join_the_former_group(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    former = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK)
    taught = fit_stage(
        Groupwise, cohort, LandmarkTable.from_sets([truth.sets[0], truth.sets[3]]), QUICK, former=former
    )
    assert len(taught.group) == 5
    assert np.array_equal(taught.group.fields[:4, :4], former.group.fields)
    assert errors(taught, cohort, truth, cohort.names[3]).max() < 0.02 * sum(SIZE) / 2


def test_exemplars_for_which_there_is_no_time_answer_from_outside_the_group(
    phantoms: tuple[Cohort, LandmarkTable],
):
    cohort, truth = phantoms
    former = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK)
    both = LandmarkTable.from_sets([truth.sets[0], truth.sets[3]])
    taught = fit_stage(Groupwise, cohort, both, QUICK, former=former, seconds=1e-6)
    assert len(taught.group) == 4
    assert errors(taught, cohort, truth, cohort.names[3]).max() < 0.02 * sum(SIZE) / 2


def test_evidence_shows_the_exemplar_on_the_radiograph(phantoms: tuple[Cohort, LandmarkTable]):
    cohort, truth = phantoms
    matcher = fit_stage(Groupwise, cohort, LandmarkTable.from_sets(truth.sets[:1]), QUICK)
    radiograph, exemplar = cohort[cohort.names[3]], cohort[cohort.names[0]]
    shown = matcher.explain(radiograph)
    assert shown.field is not None
    assert shown.field.shape == (*SIZE, 2)
    warped = np.abs(shown.maps["warped exemplar"] - radiograph.pixels).mean()
    assert warped < 0.7 * np.abs(exemplar.pixels - radiograph.pixels).mean()


def test_disputes_survive_saving_and_are_unknown_in_runs_of_former_versions(
    phantoms: tuple[Cohort, LandmarkTable],
):
    cohort, truth = phantoms
    exemplar = LandmarkTable.from_sets(truth.sets[:1])
    matcher = fit_stage(Groupwise, cohort, exemplar, QUICK)
    inside, outside = cohort[cohort.names[2]], cohort[cohort.names[1]]
    found = {one.name: matcher.dispute(one) for one in (inside, outside)}
    assert all((one > 0).all() and one.max() < sum(SIZE) / 4 for one in found.values())
    again = fit_stage(Groupwise, cohort, exemplar, replace(QUICK, references=2))
    again.load_tensors(matcher.tensors())
    for one in (inside, outside):
        np.testing.assert_allclose(again.dispute(one), found[one.name], rtol=1e-5)
    assert np.isnan(matcher.dispute(cohort[cohort.names[0]])).all()  # the exemplar itself

    former = fit_stage(Groupwise, cohort, exemplar, replace(QUICK, references=2))
    former.load_tensors({name: one for name, one in matcher.tensors().items() if name != "disputes"})
    members = [one for one in cohort if former.group.index(former._render(one)[1][0]) is not None]
    assert all(np.isnan(former.dispute(one)).all() for one in members)
    np.testing.assert_allclose(former.locate(inside).xy, matcher.locate(inside).xy, atol=1e-4)
