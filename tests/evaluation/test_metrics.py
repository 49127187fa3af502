from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.evaluation.metrics import Scores, evaluate, paired_bootstrap
from onemark.types import LandmarkSet, UserError


def one(image: str, **points: tuple[float, float]) -> LandmarkSet:
    return LandmarkSet(image, tuple(points), np.array(list(points.values()), float).reshape(-1, 2))


TRUTH = [one("b.png", tip=(10, 10), base=(20, 20)), one("a.png", tip=(0, 0), base=(5, 5))]
PREDICTED = [one("a.png", tip=(3, 4), base=(5, 7)), one("b.png", base=(20, 20), tip=(10, 12.5))]


def errors(scores: Scores) -> dict[tuple[str, str], float]:
    return {(i, k): e for i, k, e in zip(scores.image, scores.landmark, scores.error.tolist(), strict=True)}


def cohorts(images: int = 40, noise: float = 2.5, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    rows = [(f"{i}.png", name) for i in rng.permutation(images) for name in ("c", "a", "b")]
    truth = pd.DataFrame(rows, columns=["image", "landmark"])
    truth[["x", "y"]] = rng.uniform(0, 100, (len(truth), 2))
    predictions = truth.copy()
    predictions[["x", "y"]] += rng.normal(0, noise, (len(truth), 2)) * rng.uniform(0.3, 2, (len(truth), 1))
    return predictions, truth


def sets(frame: pd.DataFrame) -> list[LandmarkSet]:
    return [
        one(image, **dict(zip(rows.landmark, rows[["x", "y"]].to_numpy(), strict=True)))
        for image, rows in frame.groupby("image", sort=False)
    ]


def test_errors_are_radial_and_matched_by_name():
    scores = evaluate(PREDICTED, TRUTH)
    assert errors(scores) == {
        ("b.png", "tip"): 2.5,
        ("b.png", "base"): 0.0,
        ("a.png", "tip"): 5.0,
        ("a.png", "base"): 2.0,
    }
    assert scores.unit == "px"
    assert scores.mre == pytest.approx(9.5 / 4)
    assert scores.median == pytest.approx(2.25)
    assert scores.sd == pytest.approx(np.std([2.5, 0, 5, 2], ddof=1))
    assert scores.sdr == {2.0: 50.0, 2.5: 75.0, 3.0: 75.0, 4.0: 75.0}
    assert (scores.predicted, scores.asked, scores.coverage) == (4, 4, 1.0)


@pytest.mark.parametrize(
    ("spacing", "tip", "base"),
    [
        (0.5, 2.5, 1.0),
        ((1.0, 0.5), np.hypot(3, 2), 1.0),
        ({"a.png": (1.0, 0.5), "b.png": 1.0}, np.hypot(3, 2), 1.0),
        ({"a.png": 2.0, "b.png": 1.0}, 10.0, 4.0),
    ],
)
def test_spacing_scales_each_axis_of_each_image(spacing, tip, base):
    scores = evaluate(PREDICTED, TRUTH, spacing_mm=spacing)
    assert scores.unit == "mm"
    assert errors(scores)["a.png", "tip"] == pytest.approx(tip)
    assert errors(scores)["a.png", "base"] == pytest.approx(base)


def test_the_unit_can_be_named():
    assert evaluate(PREDICTED, TRUTH, spacing_mm=0.5, unit="% of side").unit == "% of side"


def test_a_missing_prediction_lowers_the_coverage_alone():
    predictions = [one("a.png", tip=(3, 4), base=(np.nan, np.nan)), one("c.png", tip=(0, 0))]
    scores = evaluate(predictions, TRUTH)
    assert errors(scores) == {("a.png", "tip"): 5.0}
    assert (scores.predicted, scores.asked, scores.coverage) == (1, 2, 0.5)
    assert scores.absent == ("b.png",)
    assert scores.sd == 0.0


def test_what_the_truth_does_not_have_is_not_asked():
    truth = [one("a.png", tip=(0, 0), base=(np.nan, np.nan))]
    scores = evaluate(PREDICTED, truth)
    assert (scores.predicted, scores.asked) == (1, 1)


@pytest.mark.parametrize("name", ["./a.png", "a"])
def test_excluded_images_count_nowhere(name):
    scores = evaluate(PREDICTED, TRUTH, exclude=[name])
    assert set(scores.image) == {"b.png"}
    assert scores.asked == 2
    assert scores.absent == ()


@pytest.mark.parametrize(
    ("mine", "true"),
    [("a", "a.png"), ("a.png", "a"), ("x/a.png", "a.png"), ("A.PNG", "a.png"), ("a.tif", "a")],
)
@pytest.mark.parametrize("exclude", [False, True])
def test_names_match_as_on_every_way_in(mine, true, exclude):
    predictions = [one(mine, tip=(3, 4)), one("b.png", tip=(0, 1))]
    truth = [one(true, tip=(0, 0)), one("b.png", tip=(0, 0))]
    scores = evaluate(predictions, truth, exclude=[mine] if exclude else [])
    assert scores.per_image == ({"b.png": 1} if exclude else {true: 5, "b.png": 1})
    assert scores.absent == ()


def test_names_in_doubt_are_left_out_and_named():
    predictions = [one("7.png", tip=(0, 0)), one("b.png", tip=(0, 0)), one("p/c.png", tip=(0, 0))]
    truth = [one("007.png", tip=(0, 0)), one("b.png", tip=(0, 0)), one("q/c.png", tip=(0, 0))]
    scores = evaluate(predictions, truth)
    assert scores.absent == ("007.png",)
    lost, taken = scores.notes
    assert lost.startswith("1 image of the truth left out")
    assert "lose its leading zeros, and is '7.png' meant?" in lost
    assert taken == "'p/c.png' of the predictions was taken for 'q/c.png' of the truth"
    with pytest.raises(UserError, match=r"no image in common.*leading zeros"):
        evaluate(predictions[:1], truth[:1])
    two = [one("x/a.png", tip=(0, 0)), one("y/a.png", tip=(0, 0)), one("b.png", tip=(0, 0))]
    assert "may be any of x/a.png, y/a.png" in evaluate(two, [one("a.png", tip=(0, 0)), two[2]]).notes[0]
    exact = evaluate([one("a", tip=(9, 9)), one("a.png", tip=(0, 0))], [one("a.png", tip=(0, 0))])
    assert exact.mre == 0, "the very name counts before a similar one"


@pytest.mark.parametrize("missing", [False, True])
def test_the_summary_agrees_with_a_plain_calculation_on_the_same_files(tmp_path, missing):
    predictions, truth = cohorts()
    if missing:
        predictions = predictions.sample(frac=0.8, random_state=1)
        predictions = predictions[~predictions.image.isin(["3.png", "17.png"])]
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    scores = evaluate(
        read_landmarks(tmp_path / "predictions.csv"), read_landmarks(tmp_path / "truth.csv"), spacing_mm=0.7
    )
    asked = truth[truth.image.isin(predictions.image)]
    both = asked.merge(predictions, on=["image", "landmark"], suffixes=("_truth", ""))
    error = np.hypot(both.x - both.x_truth, both.y - both.y_truth) * 0.7
    total, count = (getattr(error.groupby(both.image), how)().to_numpy() for how in ("sum", "count"))
    picks = np.random.default_rng(0).choice(len(total), (2000, len(total)))
    draws = total[picks].sum(1) / count[picks].sum(1)
    assert (scores.asked, scores.predicted) == (len(asked), len(both))
    assert scores.mre == pytest.approx(error.mean(), abs=1e-9)
    assert scores.median == pytest.approx(error.median(), abs=1e-9)
    assert scores.low == pytest.approx(np.quantile(draws, 0.025), abs=1e-9)
    assert scores.high == pytest.approx(np.quantile(draws, 0.975), abs=1e-9)
    for limit, rate in scores.sdr.items():
        assert rate == pytest.approx(100 * (error <= limit).mean(), abs=1e-9)
    for summary in scores.per_landmark:
        own = error[both.landmark == summary.name]
        assert summary.mean == pytest.approx(own.mean(), abs=1e-9)
        assert summary.count == len(own)


def test_the_table_of_landmarks_is_in_the_order_of_the_truth():
    assert [summary.name for summary in evaluate(PREDICTED, TRUTH).per_landmark] == ["tip", "base"]


def test_the_cumulative_curve_counts_errors_up_to_and_at_the_limit():
    curve = evaluate(PREDICTED, TRUTH).cumulative([0, 1.9, 2, 2.5, 100])
    assert curve.tolist() == [25.0, 25.0, 50.0, 75.0, 100.0]


def test_the_interval_is_of_the_printed_mean_where_images_show_unequally_many_landmarks():
    points = {f"{k}": (0.0, 0.0) for k in range(20)}
    truth = [one(f"full-{i}.png", **points) for i in range(4)]
    truth += [one(f"bare-{i}.png", tip=(0, 0)) for i in range(6)]
    predictions = [
        one(s.image, **dict.fromkeys(s.names, (1.0, 0.0) if "full" in s.image else (9.0, 0.0))) for s in truth
    ]
    scores = evaluate(predictions, truth)
    assert scores.mre == pytest.approx((80 * 1 + 6 * 9) / 86)
    assert scores.low < scores.mre < scores.high


def test_the_interval_is_that_of_image_means_where_all_show_as_many_landmarks():
    scores = evaluate(*map(sets, cohorts()))
    means = np.array(list(scores.per_image.values()))
    draws = np.random.default_rng(0).choice(means, (2000, len(means))).mean(1)
    assert (scores.low, scores.high) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=1e-9)


def test_json_holds_what_was_scored():
    scores = evaluate(PREDICTED, TRUTH, spacing_mm=0.5)
    record = json.loads(scores.to_json())
    assert record["mre"] == scores.mre
    assert record["mre_interval_95"] == [scores.low, scores.high]
    assert record["sdr"]["2.5"] == 100.0
    assert record["unit"] == "mm"
    assert record["landmarks_found"] == record["landmarks_asked"] == 4
    assert record["per_image"] == {"a.png": 1.75, "b.png": 0.625}
    assert [row["landmark"] for row in record["per_landmark"]] == ["tip", "base"]
    assert record["cumulative"]["percent"][-1] == 100.0


def test_text_is_aligned_and_says_the_figures():
    lines = evaluate(PREDICTED, TRUTH, spacing_mm=0.5).as_text().splitlines()
    assert lines[0] == "images 2  landmarks predicted 4 of 4"
    assert lines[1].startswith("MRE 1.188 mm  [95 % ")
    assert lines[2] == "SDR 2: 75.00 %  2.5: 100.00 %  3: 100.00 %  4: 100.00 %"
    table = lines[4:]
    assert len(table) == 3
    assert len({len(line) for line in table}) == 1


def test_text_counts_images_without_predictions():
    assert "(images of the truth without predictions: 1)" in evaluate(PREDICTED[:1], TRUTH).as_text()


@pytest.mark.parametrize(
    ("predictions", "truth", "more", "message"),
    [
        (PREDICTED, [one("z.png", tip=(0, 0))], {}, r"no image in common.*'a.png' and 'z.png'"),
        (PREDICTED, TRUTH, {"exclude": ["a.png", "b.png"]}, "no image in common"),
        (PREDICTED, TRUTH, {"exclude": ["c.png"]}, r"no radiograph 'c.png' in .* did you mean"),
        (PREDICTED, TRUTH, {"exclude": ["125"]}, "no radiograph '125' in the predictions or the truth"),
        (
            [*PREDICTED, one("a.jpg", tip=(0, 0))],
            TRUTH,
            {"exclude": ["a"]},
            r"'a' may be any of a.png, a.jpg",
        ),
        (
            PREDICTED,
            [one("a.png", nose=(0, 0))],
            {},
            r"no landmark with a position in common.*'tip' and 'nose'",
        ),
        ([one("a.png", tip=(np.nan, np.nan))], TRUTH, {}, "no landmark with a position in common"),
        ([PREDICTED[0], PREDICTED[0]], TRUTH, {}, "image 'a.png' twice"),
        (PREDICTED, TRUTH, {"spacing_mm": 0.0}, "more than 0"),
        (PREDICTED, TRUTH, {"spacing_mm": (0.1, -0.1)}, "more than 0"),
        (PREDICTED, TRUTH, {"spacing_mm": float("nan")}, "more than 0"),
        (PREDICTED, TRUTH, {"spacing_mm": {"a.png": 0.1}}, "spacing of 'b.png' is unknown"),
        (PREDICTED, TRUTH, {"spacing_mm": {"a.png": 0.1, "b.png": None}}, "spacing of 'b.png' is unknown"),
    ],
)
def test_wrong_input_is_a_user_error(predictions, truth, more, message):
    with pytest.raises(UserError, match=message):
        evaluate(predictions, truth, **more)


def test_tables_and_sets_score_alike():
    tables = evaluate(LandmarkTable.from_sets(PREDICTED), LandmarkTable.from_sets(TRUTH))
    assert errors(tables) == errors(evaluate(PREDICTED, TRUTH))


def test_a_real_difference_is_distinguished_from_chance():
    rng = np.random.default_rng(0)
    images = np.repeat([f"{i}" for i in range(60)], 5)
    b = rng.gamma(2.0, 1.0, len(images))
    difference, low, high, p = paired_bootstrap(b + rng.normal(0.3, 0.5, len(b)), b, images, draws=2000)
    assert 0.2 < low < difference < high < 0.4
    assert p < 0.01
    swapped = paired_bootstrap(b, b + 0.3, images, draws=2000)
    assert swapped[0] == pytest.approx(-0.3)
    _, low, high, p = paired_bootstrap(b + rng.normal(0, 0.5, len(b)), b, images, draws=2000)
    assert low < 0 < high
    assert p > 0.05


def test_equal_systems_have_p_one():
    assert paired_bootstrap([1.0, 2.0], [1.0, 2.0], ["a", "b"], draws=50) == (0.0, 0.0, 0.0, 1.0)


def test_whole_images_are_drawn():
    # All of the difference sits in one image of ten: drawing landmarks alone would call it certain.
    images = np.repeat([f"{i}" for i in range(10)], 50)
    a = np.where(images == "0", 1.0, 0.0)
    difference, low, high, p = paired_bootstrap(a, np.zeros(len(a)), images, draws=2000)
    assert difference == pytest.approx(0.1)
    assert low == 0.0
    assert high >= 0.3
    assert p > 0.3


@pytest.mark.parametrize(
    ("a", "b", "images"),
    [([1.0], [1.0, 2.0], ["a"]), ([], [], []), ([np.nan], [1.0], ["a"]), ([1.0, 2.0], [1.0, 2.0], ["a"])],
)
def test_unpaired_errors_are_a_user_error(a, b, images):
    with pytest.raises(UserError, match="paired_bootstrap"):
        paired_bootstrap(a, b, images)
