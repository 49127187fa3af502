"""The matcher in the pipeline: fit, mark, explain, keep, resume, repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import onemark
from onemark import RECIPES, Cancelled, Cohort, LandmarkSet, LandmarkTable, Progress, UserError
from onemark.nn.device import fabric_for
from onemark.stages.base import ChosenStage
from onemark.stages.match.edgetrans import EdgeTrans, EdgeTransConfig
from onemark.stages.match.edgetrans.matcher import likeness
from onemark.stages.match.edgetrans.refine import refine_instance
from onemark.stages.match.edgetrans.transform import Transform
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
TINY = {"match.area": 4096, "match.batch": 2, "match.steps": 2, "match.width": 16, "match.length": 8}
CONFIG = EdgeTransConfig(area=4096, batch=2, steps=2, width=16, length=8)


@pytest.fixture(scope="module")
def matcher(phantoms: Cohort, exemplars: LandmarkTable) -> EdgeTrans:
    return fit_stage(EdgeTrans, phantoms, exemplars, CONFIG)


def test_every_landmark_is_found_on_the_radiograph_with_score_and_expected_error(
    matcher: EdgeTrans, phantoms: Cohort
):
    found = matcher.locate(phantoms[3])
    assert found.names == matcher.names
    assert found.image == phantoms.names[3]
    assert (found.xy >= 0).all()
    assert (found.xy <= np.array(phantoms[3].size)[::-1] - 1).all()
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (found.expected_error >= 0).all()


def test_the_exemplar_itself_is_registered_with_itself(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    config = replace(CONFIG, steps=1, affine="identity", guided=False, rate=1e-7)
    still = fit_stage(EdgeTrans, phantoms, exemplars, config)
    for head in (still.network.field, still.network.coarse_field):
        torch.nn.init.zeros_(head.last.weight)
        torch.nn.init.zeros_(head.last.bias)
    found = still.locate(phantoms[0])
    np.testing.assert_allclose(found.xy, exemplars[truth.images[0]].xy, atol=0.01)
    assert found.score.min() > 0.99
    assert found.expected_error.max() < 0.01


def test_evidence_shows_the_warped_exemplar_on_the_radiograph(matcher: EdgeTrans, phantoms: Cohort):
    shown = matcher.explain(phantoms[3], matcher.names[1])
    assert set(shown.maps) == {
        "affine-warped exemplar",
        "warped exemplar",
        "edges of the radiograph",
        "edges of the warped exemplar",
        "similarity",
    }
    assert all(m.shape == phantoms[3].size and np.isfinite(m).all() for m in shown.maps.values())
    assert shown.field is not None
    assert shown.field.shape == (*phantoms[3].size, 2)
    assert shown.numbers is not None
    assert -1 <= shown.numbers["similarity"] <= 1
    with pytest.raises(UserError, match="no landmark 'nose' in this run"):
        matcher.explain(phantoms[3], "nose")


def test_what_is_kept_marks_alike(matcher: EdgeTrans, phantoms: Cohort):
    again = EdgeTrans.restore(*matcher.state(), FABRIC)
    np.testing.assert_array_equal(again.locate(phantoms[5]).xy, matcher.locate(phantoms[5]).xy)


def test_each_landmark_comes_from_the_exemplar_that_shows_it(
    phantoms: Cohort, truth: LandmarkTable, matcher: EdgeTrans
):
    first, second = (hidden(truth[truth.images[k]], k) for k in (0, 1))
    both = LandmarkTable.from_sets([first, second])
    one = fit_stage(EdgeTrans, phantoms, both, CONFIG, former=matcher)
    found = one.locate(phantoms[3]).xy
    assert np.isfinite(found).all()
    for k, shows_it in ((0, 1), (1, 0)):
        table = LandmarkTable.from_sets([truth[truth.images[shows_it]]])
        alone = fit_stage(EdgeTrans, phantoms, table, CONFIG, former=matcher)
        np.testing.assert_allclose(found[k], alone.locate(phantoms[3]).xy[k], atol=1e-3)


def hidden(placed: LandmarkSet, k: int) -> LandmarkSet:
    """The same without landmark k."""
    xy = placed.xy.copy()
    xy[k] = np.nan
    return replace(placed, xy=xy)


def test_the_same_seed_gives_the_same_matcher_and_another_one_does_not(
    phantoms: Cohort, exemplars: LandmarkTable, matcher: EdgeTrans
):
    same = fit_stage(EdgeTrans, phantoms, exemplars, CONFIG)
    other = fit_stage(EdgeTrans, phantoms, exemplars, CONFIG, seed=1)
    kept = matcher.network.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in same.network.state_dict().items())
    assert not all(torch.equal(v, kept[k]) for k, v in other.network.state_dict().items())


def test_a_stopped_fit_goes_on_to_where_an_unbroken_one_arrives(
    phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    settings = TINY | {"match.steps": 4, "match.focus_from": 0.0, "match.renew": 1.0}

    def stop(event: Progress) -> None:
        if event.stage == "match" and event.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        onemark.fit(
            phantoms,
            exemplars,
            recipe="edgetrans-match-only",
            out=tmp_path / "run",
            settings=settings,
            device="cpu",
            progress=stop,
        )
    resumed = onemark.resume(tmp_path / "run")
    unbroken = onemark.fit(
        phantoms, exemplars, recipe="edgetrans-match-only", settings=settings, device="cpu"
    )
    np.testing.assert_array_equal(resumed.locate(phantoms[4]).xy, unbroken.locate(phantoms[4]).xy)
    loaded = onemark.load(tmp_path / "run", "cpu")
    np.testing.assert_array_equal(loaded.locate(phantoms[4]).xy, unbroken.locate(phantoms[4]).xy)
    assert loaded.explain(phantoms[4]).numbers is not None


def test_a_detector_starts_from_the_matchers_encoder(phantoms: Cohort, exemplars: LandmarkTable):
    settings = TINY | {"detect.area": 4096, "detect.batch": 2, "detect.steps": 1, "detect.rate": 1e-7}
    model = onemark.fit(phantoms, exemplars, recipe="edgetrans-compact", settings=settings, device="cpu")
    ours = model.stages["match"].network.state_dict()["backbone.down.2.0.0.weight"]
    theirs = model.stages["detect"].network.state_dict()["backbone.down.2.0.0.weight"]
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"affine": "identity"},
        {"affine": "sift"},
        {"affine": "perspective", "synthesis": "published"},
        {"partners": "shuffled", "refine": 2},
    ],
)
def test_every_way_of_aligning_runs(settings: dict[str, object], phantoms: Cohort, exemplars: LandmarkTable):
    config = EdgeTransConfig(area=4096, batch=2, steps=1, width=16, length=8, focus_from=0.0, **settings)  # type: ignore[arg-type]
    found = fit_stage(EdgeTrans, phantoms, exemplars, config).locate(phantoms[2])
    assert np.isfinite(found.xy).all()


def test_the_published_recipe_runs_without_its_weights(phantoms: Cohort, exemplars: LandmarkTable):
    settings = {"match.weights": "none", "match.area": 4096, "match.steps": 1, "match.batch": 2}
    published = RECIPES["edgetrans"].configure(settings)["match"]
    assert (published.encoder, published.pairing, published.layers) == ("hrnet_w18", "joint", 2)
    found = fit_stage(EdgeTrans, phantoms, exemplars, published).locate(phantoms[2])
    assert np.isfinite(found.xy).all()


def test_refinement_makes_a_pair_more_alike_and_each_pair_on_its_own():
    canvas = (64, 48)
    coarse = torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(coarse, canvas, mode="bicubic", align_corners=True).clamp(0, 1)
    still = Transform.identity(2, canvas, 4, torch.device("cpu"))
    off = still.then(torch.full_like(still.displacement, 1.5))
    targets, config = (
        off.images(pictures, padding="border"),
        EdgeTransConfig(refine=12, compare=1, w_smooth=0.1),
    )
    xy = torch.tensor([[[20.0, 30.0]], [[torch.nan, torch.nan]]])
    found = refine_instance(still, pictures, targets, xy, config)
    before, after = (likeness(t.images(pictures), targets).mean((1, 2, 3)) for t in (still, found))
    assert (after > before + 0.02).all()
    alone = refine_instance(still.take(slice(1, 2)), pictures[1:], targets[1:], xy[1:], config)
    torch.testing.assert_close(alone.displacement, found.displacement[1:], atol=0.05, rtol=0)


def test_heads_share_the_channels_evenly():
    with pytest.raises(
        UserError, match=r"match\.width must be a multiple of match\.heads, and 48 is not one of 5"
    ):
        EdgeTrans.check({"match": ChosenStage(EdgeTrans, EdgeTransConfig(heads=5))})
