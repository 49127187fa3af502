"""How large are regions that hold the true points? onemark's and landmarker's, from the same predictions and corrections.

    python benchmarks/regions.py DATA RUN --test FOLDER --spacing-mm 0.25 --corrections 10,25 --keep predictions.npz

DATA holds landmarks.csv, FOLDER the test radiographs, which lie as the exemplar does; RUN is a finished fit without
corrections, whose trust and error model are learned again. In each draw some test radiographs are corrected at random,
and the regions are judged on the others. landmarker's conformal regressors (Jonkers et al., arXiv 2503.14106) take what
onemark has: points and uncalibrated ellipses, or the detector's heatmaps. Predictions are made once and kept, so the
rest takes minutes. Only this comparison needs landmarker: `pip install landmarker`.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import onemark
from common import describe_machine, parse_numbers
from onemark import Cohort, LandmarkTable, Model, Radiograph
from onemark.imaging.ellipses import pixel_scale, region_factor, scale_to, to_covariance
from onemark.pipeline.fit import open_own_cohort
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import silent
from onemark.stages.answers import locators_of
from onemark.stages.trust import ask, measure_trust
from onemark.uncertainty.calibration import Calibration, Corrections, least_corrections
from onemark.uncertainty.directions import Directions, to_angles
from onemark.uncertainty.error_model import ROWS
from onemark.uncertainty.learning import learn_error_model, read_signals

SHARES = (0.8, 0.9, 0.95)
SWEEP = (*np.arange(0.5, 0.98, 0.02), *SHARES)
"""Nominal coverages between which the area at one actual coverage is interpolated."""
Table = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Predictions:
    """Predictions of N radiographs with K landmarks and their errors, lengths in mm or px.

    Attributes:
        away: `[N, K, 2]` from the true places to the predictions, (x, y).
        expected: `[N, K]` expected errors.
        ellipse: `[N, K, 3]` ellipses.
        moments: `[N, K, 2, 2]` what the error model knows of directions, up to a factor.
        logits: `[N, K, h, w]` of the detector's heatmaps.
        places: `[N, K, 2]` true places on its canvas `[H, W]`, px, (x, y).
        pixel: `[N]` area of a canvas px.
        canvas: `(H, W)`.
    """

    away: Table
    expected: Table
    ellipse: Table
    moments: Table
    logits: NDArray[np.float32]
    places: Table
    pixel: Table
    canvas: NDArray[np.intp]

    @property
    def actual(self) -> Table:
        """`[N, K]` lengths of the errors."""
        return np.asarray(np.linalg.norm(self.away, axis=-1))

    @property
    def covariance(self) -> Table:
        """`[N, K, 2, 2]` of the ellipses."""
        return to_covariance(self.ellipse)

    @functools.cached_property
    def heatmaps(self) -> NDArray[np.float32]:
        """`[N, K, H, W]` probabilities of the canvas' pixels."""
        size = tuple(int(side) for side in self.canvas)
        p = torch.from_numpy(self.logits).flatten(2).softmax(-1).view(self.logits.shape)
        wide = torch.cat([F.interpolate(one[None], size, mode="bilinear") for one in p])
        return (wide / wide.sum((2, 3), keepdim=True)).numpy()

    @functools.cached_property
    def ascending(self) -> NDArray[np.float32]:
        """`[N, K, H W]` the same, sorted."""
        return np.sort(self.heatmaps.reshape(*self.heatmaps.shape[:2], -1), axis=-1)


@dataclass(frozen=True)
class Regions:
    """Whether regions of M radiographs hold the true places `[M, K]`, and their areas `[M, K]`."""

    held: NDArray[np.bool_]
    area: Table


Calibrated = Callable[[float], Regions | None]
"""Nominal coverage -> regions, or None where there are too few corrections for it."""
Method = Callable[[Predictions, Rows, Rows], Calibrated]
"""Predictions, rows of the corrected radiographs, rows of the others -> regions of the others."""


def load_regressors() -> Any:
    """Return landmarker's conformal regressors, or exit and say how to install them."""
    try:
        from landmarker import uncertainty
    except ImportError:
        raise SystemExit("regions.py compares with landmarker: pip install landmarker") from None
    return uncertainty


def learn(one: Predictions, corrected: Rows) -> Calibration:
    """Learn from corrections, as a run does."""
    ratios = one.actual[corrected] / one.expected[corrected]
    return Calibration(ratios, to_angles(one.away[corrected]), doubts_of(one)[corrected])


def doubts_of(one: Predictions) -> Table:
    """Expected errors `[N, K]` as multiples of each landmark's usual one, here its geometric mean."""
    return np.asarray(one.expected / usual_errors(one))


def usual_errors(one: Predictions) -> Table:
    """Usual expected errors `[K]`. Their unit does not matter, because the discs' scores are relative to them."""
    return np.asarray(np.exp(np.log(one.expected).mean(0)))


def promise_discs(one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """Discs with a promise for each landmark."""
    calibration = learn(one, corrected)

    def regions(share: float) -> Regions | None:
        reach = usual_errors(one) * calibration.conformal_radii(doubts_of(one)[rest], share)
        return make_discs(one, rest, reach) if np.isfinite(reach).all() else None

    return regions


def scale_discs(one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """Discs of one conformal factor for all landmarks."""
    calibration = learn(one, corrected)

    def regions(share: float) -> Regions | None:
        factor = calibration.conformal_factor(share)
        if factor is None:
            return None
        return make_discs(one, rest, factor * calibration.factors * one.expected[rest])

    return regions


def make_discs(one: Predictions, rest: Rows, reach: Table) -> Regions:
    """Make discs with these radii `[M, K]`."""
    return Regions(one.actual[rest] <= reach, math.pi * reach**2)


def calibrate_ellipses(one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """Ellipses of calibrated length and direction that hold a share of a normal distribution."""
    calibration = learn(one, corrected)
    learned = Directions(np.zeros(one.moments.shape[1:])).add(calibration.ways)
    shape = to_covariance(
        scale_to(one.moments[rest] + learned.moments, one.expected[rest] * calibration.factors)
    )
    away = one.away[rest]
    squared = (away * np.linalg.solve(shape, away[..., None])[..., 0]).sum(-1)

    def regions(share: float) -> Regions:
        size = region_factor(share) ** 2
        return Regions(squared <= size, math.pi * size * np.sqrt(np.linalg.det(shape)))

    return regions


def fit_ellipsoids(alike: bool, one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """landmarker's ellipsoids in the shape of the uncalibrated ellipses, or one disc for all radiographs."""
    shapes = np.broadcast_to(np.eye(2), one.moments.shape) if alike else one.covariance
    truth = np.zeros_like(one.away)
    regressor = load_regressors().ConformalRegressorMahalanobis(2, one.away.shape[1])
    regressor.fit(one.away[corrected], shapes[corrected], truth[corrected])
    points, shape = one.away[rest], shapes[rest]

    def regions(share: float) -> Regions:
        held = regressor.in_region(points, shape, truth[rest], confidence=share)
        return Regions(held, regressor.area_prediction_region(shape, confidence=share))

    return regions


def fit_boxes(kind: str, one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """landmarker's boxes in the proportions of the uncalibrated ellipses."""
    truth, regressor = np.zeros_like(one.away), getattr(load_regressors(), kind)(2, one.away.shape[1])
    sigmas = np.sqrt(np.diagonal(one.covariance, axis1=-2, axis2=-1))
    regressor.fit(one.away[corrected], truth[corrected], sigmas[corrected])

    def regions(share: float) -> Regions:
        held = regressor.in_region(one.away[rest], sigmas[rest], truth[rest], confidence=share)
        return Regions(held, regressor.area_prediction_region(sigmas[rest], confidence=share))

    return regions


def fit_heatmaps(kind: str, corner: float, one: Predictions, corrected: Rows, rest: Rows) -> Calibrated:
    """landmarker's thresholds of heatmaps; a pixel's first corner has the coordinate `corner` below its whole number."""
    regressor = getattr(load_regressors(), kind)(2, one.away.shape[1], tuple(one.canvas))
    places = one.places[..., ::-1] + corner
    told = (one.heatmaps, places, np.tile(one.canvas, (len(places), 1)), np.zeros((len(places), 2)))
    regressor.fit(*(part[corrected] for part in told))
    true = -regressor.conditional_probability(*told)[rest]

    def regions(share: float) -> Regions:
        bound = regressor.bound(share)
        return Regions(true <= bound, count_above(one, rest, -bound) * one.pixel[rest, None])

    return regions


def count_above(one: Predictions, rows: Rows, least: Table) -> Table:
    """Count the pixels `[M, K]` of heatmaps that are at least `least` `[K]`."""
    ascending, pixels = one.ascending, math.prod(one.canvas)
    # Of the same type, because numpy would otherwise convert every heatmap for every question.
    least = least.astype(ascending.dtype)
    below = [[np.searchsorted(ascending[n, k], at) for k, at in enumerate(least)] for n in rows]
    return np.asarray(pixels - np.array(below), np.float64)


METHODS: dict[str, Method] = {
    "onemark: discs with a promise": promise_discs,
    "onemark: discs, one factor": scale_discs,
    "onemark: calibrated ellipses": calibrate_ellipses,
    "landmarker: ellipsoids": functools.partial(fit_ellipsoids, False),
    "landmarker: one disc per landmark": functools.partial(fit_ellipsoids, True),
    "landmarker: boxes, maximum": functools.partial(fit_boxes, "ConformalRegressorMaxNonconformity"),
    "landmarker: boxes, Bonferroni": functools.partial(fit_boxes, "ConformalRegressorBonferroni"),
    # It interpolates between whole numbers, which are the centres of pixels.
    "landmarker: M-R2CCP": functools.partial(fit_heatmaps, "MR2CCP", 0.0),
    # It rounds down, so that whole numbers are corners.
    "landmarker: M-R2C2R": functools.partial(fit_heatmaps, "MR2C2R", 0.5),
}


def load(run: Path, seed: int) -> Model:
    """Load a run and learn trust and error model again, by the present code, from its own radiographs."""
    model, train = onemark.load(run), open_own_cohort(RunFolder.open(run))
    model.trust = measure_trust(model.stages, model.exemplars, train, seed)
    model.error_model = learn_error_model(
        model.stages, model.trust, model.exemplars, train, Corrections(), silent, seed
    )
    return model


def predict(model: Model, cohort: Cohort, truth: LandmarkTable) -> Predictions:
    """Predict the radiographs and compare them with the truth."""
    rows = [predict_one(model, radiograph, truth) for radiograph in cohort.readable()]
    stacked = (np.stack(column) for column in zip(*rows, strict=True))
    return Predictions(*stacked, canvas=np.array(locators_of(model.stages)[-1].canvas))


def predict_one(model: Model, radiograph: Radiograph, truth: LandmarkTable) -> tuple[NDArray, ...]:
    """Predict one radiograph: the attributes of `Predictions` without N and canvas."""
    found, true, error_model = model.locate(radiograph), truth[radiograph.name], model.error_model
    place = true.xy[[true.names.index(name) for name in found.names]]
    assert error_model is not None
    answers = ask(model.stages, radiograph, model.trust)
    signals = read_signals(model.stages, radiograph, answers, error_model.surroundings)
    way = signals.way if np.isfinite(error_model.scale[ROWS.index("apart")]) else np.empty((0, 2))
    directions = error_model.directions or Directions.unknown(len(found.names))
    area = pixel_scale(radiograph.spacing)
    logits, frame = locators_of(model.stages)[-1].reader.read(radiograph)
    return (
        (found.xy - place) * np.sqrt(np.diag(area)),
        found.expected_error,
        found.ellipse,
        directions.covariances(way, signals.peak) * area,
        logits[0].float().numpy(),
        frame.to_canvas(place),
        np.array(np.sqrt(np.diag(area)).prod() / frame.scale.prod()),
    )


def compare(one: Predictions, count: int, draws: int, seed: int) -> dict[str, dict[float, Table]]:
    """Judge every method in every draw: method -> nominal coverage -> `[draws, 3]` coverage, mean and median area."""
    generator, found = np.random.default_rng(seed), {name: {} for name in METHODS}
    for _ in range(draws):
        order = generator.permutation(len(one.away))
        corrected, rest = order[:count], order[count:]
        for name, method in METHODS.items():
            calibrated = method(one, corrected, rest)
            for share in SWEEP:
                regions = calibrated(share)
                if regions is not None:
                    row = (regions.held.mean(), regions.area.mean(), np.median(regions.area))
                    found[name].setdefault(share, []).append(row)
    return {name: {share: np.array(rows) for share, rows in sorted(by.items())} for name, by in found.items()}


def area_at(by_share: dict[float, Table], coverage: float, shares: Sequence[float]) -> float:
    """Interpolate the mean area at which regions hold a share of the true places; NaN where none of them does."""
    points = np.array([by_share[share].mean(0)[:2] for share in shares if share in by_share])
    points = points[np.argsort(points[:, 0], kind="stable")]
    return float(np.exp(np.interp(coverage, points[:, 0], np.log(points[:, 1]), math.nan, math.nan)))


def show(count: int, found: dict[str, dict[float, Table]]) -> None:
    """Print coverage and area at nominal coverages, then areas at equal coverages."""
    heads = " | ".join(f"{share:.0%}: holds, area (median)" for share in SHARES)
    print(f"\n| {count} corrections | {heads} |\n|---|{'---|' * len(SHARES)}")
    for name, by_share in found.items():
        print(f"| {name} | {' | '.join(format_cell(by_share.get(share)) for share in SHARES)} |")
    heads = " | ".join(f"area that holds {share:.0%}" for share in SHARES)
    print(f"\n| {count} corrections | {heads} |\n|---|{'---|' * len(SHARES)}")
    # Below that, landmarker's sorted scores have no such rank, and its index wraps round to the least of them.
    shares = [share for share in SWEEP if least_corrections(share) <= count]
    for name, by_share in found.items():
        usable = list(by_share) if name.startswith("onemark") else shares
        areas = [area_at(by_share, share, usable) for share in SHARES]
        print(f"| {name} | {' | '.join('-' if math.isnan(a) else f'{a:.1f}' for a in areas)} |")


def format_cell(rows: Table | None) -> str:
    """Format mean and standard deviation over draws of the coverage, and the areas."""
    if rows is None:
        return "none"
    coverage, area, median = rows.mean(0)
    return f"{100 * coverage:.1f} ± {100 * rows[:, 0].std():.1f} %, {area:.1f} ({median:.1f})"


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--test", type=Path, required=True, help="folder of the test radiographs")
    parser.add_argument("--spacing-mm", type=float, help="mm per pixel; without it lengths are in px")
    parser.add_argument("--corrections", default="10,25", help="how many radiographs are corrected")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="predictions, made if the file does not exist (250 MB)")
    return parser.parse_args()


def main() -> None:
    """Predict once, then compare the methods."""
    asked = parse_arguments()
    print(describe_machine())
    if asked.keep and asked.keep.exists():
        with np.load(asked.keep) as kept:
            one = Predictions(**kept)
    else:
        truth = onemark.read_landmarks(asked.data / "landmarks.csv")
        cohort = onemark.open_cohort(asked.test, spacing_mm=asked.spacing_mm)
        one = predict(load(asked.run, asked.seed), cohort, truth)
        if asked.keep:
            np.savez(asked.keep, **vars(one))
    print(
        f"{len(one.away)} radiographs, mean error {one.actual.mean():.3f}, expected {one.expected.mean():.3f}"
    )
    for count in parse_numbers(asked.corrections):
        show(count, compare(one, count, asked.draws, asked.seed))


if __name__ == "__main__":
    main()
