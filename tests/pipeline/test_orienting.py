"""Radiographs that lie otherwise than the exemplar are recognized, and predicted on the files as they are."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lying import QUICK, SIZE, Lying, lay, lay_phantoms
from PIL import Image

import onemark
from onemark import Cohort, LandmarkTable, Progress, Radiograph
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation
from onemark.phantom import write_phantom_cohort
from onemark.pipeline import trainer
from onemark.pipeline.orienting import Orienter, find_reference, learn_orientations
from onemark.pipeline.questions.answering import FormerAnswers, learn_mean_error
from onemark.stages.mean_error import MeanError
from onemark.testing import KnownPoints
from onemark.types import Evidence, LandmarkSet, UserError


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Lying:
    return lay_phantoms(tmp_path_factory.mktemp("lying"))


def test_every_orientation_is_found(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path, 9, size=SIZE)
    ways = {image: ALL[n] for n, image in enumerate(truth.images[1:])}
    lay(truth, tmp_path, ways)
    orienter = learn_orientations(
        onemark.open_cohort(tmp_path), LandmarkTable.from_sets(truth.sets[:1]), lambda _: None
    )
    assert orienter.mirrors
    assert orienter.known == {truth.images[0]: UPRIGHT, **ways}


def test_witnesses_are_asked_before_a_radiograph_is_taken_for_turned(
    lying: Lying, monkeypatch: pytest.MonkeyPatch
):
    """A radiograph may be less like the exemplar than its own mirror image; then others of the cohort decide."""
    cohort, truth, ways = lying
    orienter = learn_orientations(cohort, LandmarkTable.from_sets(truth.sets[:1]), lambda _: None)
    assert len(orienter.canvas) > 1
    one = truth.images[3]
    assert one not in ways
    misled = replace(orienter, usual=0.0)  # nothing is taken as upright without trying
    unlikeness = Orienter.unlikeness

    def mislead(
        self: Orienter,
        seen: Radiograph,
        orientations: list[Orientation],
        reference: int = 0,
        enough: float | None = None,
    ) -> list[float]:
        found = unlikeness(self, seen, orientations, reference)
        mirror = orientations.index(ALL[4]) if ALL[4] in orientations else None
        if reference == 0 and mirror is not None:
            found[mirror] = 0.7 * unlikeness(self, seen, [UPRIGHT], 0)[0]
        return found

    monkeypatch.setattr(Orienter, "unlikeness", mislead)
    assert misled.find(cohort[one]).is_upright
    assert replace(misled, canvas=orienter.canvas[:1]).find(cohort[one]) == ALL[4]


def test_an_odd_radiograph_is_taken_for_turned_only_where_others_surely_are(
    lying: Lying, monkeypatch: pytest.MonkeyPatch
):
    cohort, truth, ways = lying
    odd, exemplars = truth.images[3], LandmarkTable.from_sets(truth.sets[:1])
    compare = Orienter.compare

    def mislead(
        self: Orienter,
        radiographs: Iterable[Radiograph],
        orientations: list[Orientation],
        reference: int = 0,
        enough: float | None = None,
    ) -> dict[str, list[float]]:
        found = compare(self, radiographs, orientations, reference)
        if odd in found:  # unlike all others, and less so as its mirror image
            usual = compare(self, [cohort[odd]], [UPRIGHT], reference)[odd][0]
            found[odd] = [(8 if way == ALL[4] else 10) * usual for way in orientations]
        return found

    monkeypatch.setattr(Orienter, "compare", mislead)
    upright = cohort.subset([name for name in cohort.names if name not in ways])
    alone = learn_orientations(upright, exemplars, lambda _: None)
    assert not alone.other_ways
    assert alone.find(cohort[odd]).is_upright
    among = learn_orientations(cohort, exemplars, lambda _: None)
    assert among.other_ways == {**ways, odd: ALL[4]}
    assert among.find(cohort[odd]) == ALL[4]


def test_radiographs_that_are_compared_together_are_not_kept_together(
    lying: Lying,
):
    cohort, truth, _ = lying
    orienter = learn_orientations(cohort, LandmarkTable.from_sets(truth.sets[:1]), lambda _: None)
    read: list[weakref.ref[Radiograph]] = []
    alive: list[int] = []

    def reading() -> Iterator[Radiograph]:
        for name in cohort.names:
            radiograph = cohort[name]
            read.append(weakref.ref(radiograph))
            alive.append(sum(one() is not None for one in read))
            yield radiograph

    together = orienter.compare(reading(), ALL)
    assert max(alive) <= 2
    for name in cohort.names[:3]:
        np.testing.assert_allclose(together[name], orienter.unlikeness(cohort[name], ALL), rtol=1e-3)


def test_predictions_lie_on_the_files_as_they_are(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    events: list[Progress] = []
    exemplars = LandmarkTable.from_sets(truth.sets[:1])
    model = onemark.fit(
        cohort, exemplars, recipe="groupwise", settings=QUICK, out=tmp_path / "run", progress=events.append
    )
    messages = [event.message for event in events if event.stage == "orientation" and event.message]
    assert len(messages) == 1
    assert all(f"{name} ({way})" in messages[0] for name, way in ways.items())
    predictions = model.predict(cohort)
    for image in cohort.names:
        assert np.linalg.norm(predictions[image].xy - truth[image].xy, axis=1).mean() < 0.03 * sum(SIZE) / 2
    again = onemark.load(tmp_path / "run")
    image = next(iter(ways))
    assert np.array_equal(again.locate(cohort[image]).xy, predictions[image].xy)
    shown = again.explain(cohort[image])
    assert all(one.shape == cohort[image].size for one in shown.maps.values())
    warped, pixels = shown.maps["warped exemplar"], cohort[image].pixels
    alike, unlike = (np.corrcoef(one.ravel(), pixels.ravel())[0, 1] for one in (warped, warped[::-1, ::-1]))
    assert alike > unlike + 0.3
    noise = np.random.default_rng(0).random((10, 8)).astype(np.float32).repeat(16, 0).repeat(16, 1)
    stranger = replace(cohort[image], name="stranger.png", pixels=noise)
    usual = max(one.expected_error.mean() for one in predictions if one.expected_error.size)
    assert again.locate(stranger).expected_error.mean() > 2 * usual


def swap_names(truth: LandmarkTable, images: list[str], pair: tuple[str, str]) -> dict[str, LandmarkSet]:
    """Name -> the true points; on these radiographs the two landmarks have changed names."""
    rows = list(range(len(truth.names)))
    one, other = (truth.names.index(name) for name in pair)
    rows[one], rows[other] = other, one
    return {one.image: replace(one, xy=one.xy[rows]) if one.image in images else one for one in truth}


def test_left_right_pairs_follow_the_side_of_the_picture(
    lying: Lying,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    cohort, truth, ways = lying
    pair = truth.names[0], truth.names[3]
    mirrored = [image for image, way in ways.items() if way.mirrored]
    sided = swap_names(truth, mirrored, pair)
    events: list[Progress] = []
    exemplars = LandmarkTable.from_sets([sided[truth.images[0]]])
    run = tmp_path / "run"
    onemark.fit(
        cohort, exemplars, recipe="groupwise", settings=QUICK, out=run, swap=[pair], progress=events.append
    )
    assert any("left-right pairs change names" in event.message for event in events)
    for model in (
        onemark.load(run),
        onemark.resume(run, exemplars=LandmarkTable.from_sets([sided[mirrored[0]]])),
    ):
        for image in cohort.names:
            away = np.linalg.norm(model.locate(cohort[image]).xy - sided[image].xy, axis=1)
            assert away.mean() < 0.03 * sum(SIZE) / 2
    asked: list[str | None] = []

    def explain(_: object, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        asked.append(landmark)
        return Evidence(radiograph.name, landmark, {})

    monkeypatch.setattr(type(model.stages["match"]), "explain", explain)
    shown = [model.explain(cohort[image], pair[0]).landmark for image in (truth.images[0], mirrored[0])]
    assert asked == list(pair)
    assert shown == [pair[0], pair[0]]


def test_pairs_are_checked_before_anything_is_learned(lying: Lying, tmp_path: Path):
    cohort, truth, _ = lying
    exemplars, (first, second, *_) = LandmarkTable.from_sets(truth.sets[:1]), truth.names
    for pairs, message in (
        ([(first, "hip")], "'hip', which no exemplar has"),
        ([(first, first)], "twice"),
        ([(first, second), (second, truth.names[2])], "twice"),
    ):
        with pytest.raises(UserError, match=message):
            onemark.fit(cohort, exemplars, recipe="groupwise", out=tmp_path / "run", swap=pairs)
    with pytest.raises(UserError, match="--no-orient"):
        onemark.fit(
            cohort, exemplars, recipe="groupwise", out=tmp_path / "run", swap=[(first, second)], orient=False
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="with exemplars"):
        onemark.resume(tmp_path / "run", swap=[(first, second)])


def test_it_can_be_switched_off(lying: Lying):
    cohort, truth, ways = lying
    exemplars = LandmarkTable.from_sets(truth.sets[:1])
    model = onemark.fit(cohort, exemplars, recipe="groupwise", settings=QUICK, orient=False)
    assert model.orienter is None
    image = next(iter(ways))
    assert (
        np.linalg.norm(model.locate(cohort[image]).xy - truth[image].xy, axis=1).mean() > 0.1 * sum(SIZE) / 2
    )


def test_corrected_radiographs_that_lie_otherwise_teach_what_is_on_them(lying: Lying, tmp_path: Path):
    """Pairs that come with the corrections count at once: by the run's own, names would look far off."""
    cohort, truth, ways = lying
    pair, run = (truth.names[0], truth.names[3]), tmp_path / "run"
    mirrored = [image for image, way in ways.items() if way.mirrored]
    sided = swap_names(truth, mirrored, pair)
    corrected = [sided[image] for image in list(ways)[:2]]
    assert [one.image in mirrored for one in corrected] == [False, True]
    first = LandmarkTable.from_sets(truth.sets[:1])
    onemark.fit(cohort, first, recipe="groupwise", settings=QUICK, out=run)
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets(corrected), swap=[pair])
    assert all(np.array_equal(model.locate(cohort[one.image]).xy, one.xy) for one in corrected)
    assert model.mean_error is not None
    assert np.linalg.norm(model.mean_error.errors, axis=-1).max() < 0.1
    ratios = model.error_model.calibration.ratios if model.error_model else np.empty(0)
    assert (ratios < 20).all()
    for other in cohort.names[1:]:
        away = np.linalg.norm(model.locate(cohort[other]).xy - sided[other].xy, axis=1)
        assert away.mean() < 0.03 * sum(SIZE) / 2


def test_where_mirror_images_look_alike_none_is_taken_for_one(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path, 6, size=SIZE)
    for one in truth:
        pixels = np.asarray(Image.open(tmp_path / one.image)).astype(np.float32)
        Image.fromarray(((pixels + pixels[:, ::-1]) / 2).astype(np.uint8)).save(tmp_path / one.image)
    orienter = learn_orientations(
        onemark.open_cohort(tmp_path), LandmarkTable.from_sets(truth.sets[:1]), lambda _: None
    )
    assert not orienter.mirrors
    assert not orienter.other_ways


def test_mean_errors_are_measured_on_upright_radiographs_beyond_the_pool(
    lying: Lying,
):
    cohort, truth, ways = lying
    exemplars = LandmarkTable.from_sets(truth.sets[:1])
    pool = cohort.subset(cohort.names[:3])  # the others have not been looked at
    orienter = learn_orientations(pool, exemplars, lambda _: None)
    upright = {one.image: ways.get(one.image, UPRIGHT).turn_landmarks(one, SIZE) for one in truth}

    def find(seen: Radiograph) -> LandmarkSet:
        way = ways.get(seen.name, UPRIGHT)
        is_upright = np.array_equal(seen.pixels, way.turn_pixels(cohort[seen.name].pixels))
        return (
            upright[seen.name]
            if is_upright
            else replace(upright[seen.name], xy=np.zeros_like(truth.sets[0].xy))
        )

    images = tuple(cohort.names[3:])
    former = FormerAnswers(
        MeanError.begin(truth.sets[0], SIZE), images, np.stack([upright[image].xy for image in images])
    )
    before = replace(
        former,
        mean_error=former.mean_error.with_errors(images[:1], np.full((1, *truth.sets[0].xy.shape), 0.01)),
    )
    learned = learn_mean_error(before, {"match": KnownPoints(find)}, None, truth.names, cohort, orienter)
    np.testing.assert_allclose(learned.errors, 0.01, atol=1e-9)


def test_stages_are_judged_on_radiographs_of_which_is_known_how_they_lie(
    lying: Lying, monkeypatch: pytest.MonkeyPatch
):
    cohort, truth, _ = lying
    judged: list[tuple[str, ...]] = []

    def judge(stages: object, exemplars: LandmarkTable, seen: Cohort, seed: int) -> None:
        judged.append(seen.names)

    monkeypatch.setattr(trainer, "measure_trust", judge)
    model = onemark.fit(
        cohort,
        LandmarkTable.from_sets(truth.sets[:1]),
        recipe="groupwise",
        settings=QUICK | {"match.pool": 4},
    )
    assert model.orienter is not None
    assert len(model.orienter.known) < len(cohort)
    assert judged == [tuple(name for name in cohort.names if name in model.orienter.known)]
    assert model.cohort is not None
    assert model.cohort.names == cohort.names


def test_a_radiograph_that_shows_nothing_does_not_say_how_the_others_lie():
    names, nothing = ("a", "b"), np.full((2, 2), np.nan)
    hidden = LandmarkSet("hand.png", names, nothing, asked=np.ones(2, bool))
    shown = LandmarkSet("skull.png", names, np.ones((2, 2)))
    assert find_reference(LandmarkTable.from_sets([hidden, shown])) == "skull.png"
    assert find_reference(LandmarkTable.from_sets([shown, hidden])) == "skull.png"
