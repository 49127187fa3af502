"""The groupwise matcher on phantoms."""

from __future__ import annotations

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
