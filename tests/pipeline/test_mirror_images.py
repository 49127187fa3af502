"""What is taken for a mirror image, and what is looked at again once files or exemplars have changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lying import QUICK, SIZE, Lying, lay_phantoms
from PIL import Image

import onemark
from onemark import LandmarkTable
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation
from onemark.phantom.spine import spine_radiograph, write_spine_cohort
from onemark.pipeline.orienting import learn_orientations
from onemark.progress import silent


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Lying:
    return lay_phantoms(tmp_path_factory.mktemp("lying"))


def test_a_file_that_was_turned_upright_since_is_looked_at_again(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    first = LandmarkTable.from_sets(truth.sets[:1])
    found = learn_orientations(cohort, first, silent)
    turned = next(iter(ways))
    assert not found.known[turned].is_upright
    upright = ways[turned].turn_pixels(cohort[turned].pixels)
    Image.fromarray((upright * 255).round().astype(np.uint8)).save(cohort.path(turned))
    again = learn_orientations(onemark.open_cohort(cohort.folder), first, silent, found.state())
    assert again.known == {**found.known, turned: UPRIGHT}


def test_what_was_found_with_another_picture_of_the_first_exemplar_does_not_count(
    lying: Lying, tmp_path: Path
):
    cohort, truth, _ = lying
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    first = LandmarkTable.from_sets(truth.sets[:1])
    found = learn_orientations(cohort, first, silent)
    path = cohort.path(truth.images[0])
    Image.fromarray(np.rot90(np.array(Image.open(path)), 2)).save(path)
    cohort = onemark.open_cohort(cohort.folder)
    again = learn_orientations(cohort, first, silent, found.state())
    assert again.is_of(cohort[truth.images[0]])
    assert not found.is_of(cohort[truth.images[0]])
    half = Orientation(False, 2)
    kept = [name for name in cohort.names[1:] if found.known[name].is_upright]
    assert kept
    assert all(again.known[name] == half for name in kept)


def test_why_a_landmark_is_there_can_be_asked_where_its_partner_is_never_shown(
    lying: Lying,
):
    cohort, truth, ways = lying
    pair = (truth.names[0], truth.names[3])
    shown = np.where(np.arange(len(truth.names))[:, None] == 3, np.nan, truth.sets[0].xy)
    first = LandmarkTable.from_sets([replace(truth.sets[0], xy=shown)])
    model = onemark.fit(cohort, first, recipe="groupwise", settings=QUICK, swap=[pair])
    mirrored = next(image for image, way in ways.items() if way.mirrored)
    assert model.orientation(cohort[mirrored]).mirrored
    assert model.explain(cohort[mirrored], pair[0]).landmark == pair[0]


def test_spines_that_bend_to_the_other_side_are_no_mirror_images(tmp_path: Path):
    truth = write_spine_cohort(tmp_path, 16, size=(480, 208))
    cohort = onemark.open_cohort(tmp_path)
    for one in truth.sets[:4]:
        orienter = learn_orientations(cohort, LandmarkTable.from_sets([one]), silent)
        assert not orienter.mirrors
        assert not orienter.other_ways
    upside_down = cohort.turned({truth.images[5]: ALL[2]})
    orienter = learn_orientations(upside_down, LandmarkTable.from_sets(truth.sets[:1]), silent)
    assert orienter.other_ways == {truth.images[5]: ALL[2]}


def test_strangers_have_no_say_about_mirror_images(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    folder = Path(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    for number in range(2):
        film, _ = spine_radiograph(number, size=SIZE)
        Image.fromarray(film).save(folder / f"stranger-{number}.png")
    orienter = learn_orientations(
        onemark.open_cohort(folder), LandmarkTable.from_sets(truth.sets[:1]), silent
    )
    assert orienter.mirrors
    assert {name: orienter.known[name] for name in ways} == ways
