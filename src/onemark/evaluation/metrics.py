"""How far predictions lie from the truth: radial errors, their summary, and intervals over images."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.keys import image_key
from onemark.evaluation.matching import Match, match_images
from onemark.types import LandmarkSet, UserError

# The thresholds of the ISBI 2015 cephalometric challenge, in mm, which the field still reports.
THRESHOLDS = (2.0, 2.5, 3.0, 4.0)
"""A landmark is a success within this radial error, in units of the scores."""

Spacing = float | tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """A few numbers that sum up radial errors.

    Attributes:
        name: A landmark, or `all`.
        count: Number of errors.
        mean: Mean radial error.
        sd: Sample standard deviation; 0 for a single error.
        median: Median radial error.
        sdr: Threshold -> success detection rate: percent of errors `<=` the threshold.
    """

    name: str
    count: int
    mean: float
    sd: float
    median: float
    sdr: Mapping[float, float]


@dataclass(frozen=True, eq=False)
class Scores:
    """Predictions compared with the truth.

    Attributes:
        image: `[N]` image name of each error.
        landmark: `[N]` landmark name of each error.
        error: `[N]` radial errors in `unit`, images and landmarks in the truth's order.
        unit: `mm`, `px` or what the caller named.
        asked: Number of landmarks that the truth has on the predicted images.
        hidden: Number of landmarks that the truth says are not visible on these images.
        placed: How many of those the predictions place all the same; they count nowhere else.
        absent: Images of the truth without predictions; they count nowhere else.
        low: Lower end of the 95 % bootstrap interval of the MRE, images drawn with replacement.
        high: Its upper end.
        notes: Sentences on names: what of the truth was left out and may have been meant, and what was taken for what.
    """

    image: NDArray[np.str_]
    landmark: NDArray[np.str_]
    error: Floats
    unit: str
    asked: int
    hidden: int
    placed: int
    absent: tuple[str, ...]
    low: float
    high: float
    notes: tuple[str, ...] = ()

    @cached_property
    def overall(self) -> Summary:
        """Summary of all errors."""
        return summarise("all", self.error)

    @cached_property
    def per_landmark(self) -> tuple[Summary, ...]:
        """One summary per landmark, in the truth's order."""
        return tuple(summarise(str(n), self.error[self.landmark == n]) for n in dict.fromkeys(self.landmark))

    @cached_property
    def per_image(self) -> dict[str, float]:
        """Image -> mean radial error over its landmarks, images sorted by name."""
        return dict(zip(*_mean_per_image(self.image, self.error), strict=True))

    @property
    def mre(self) -> float:
        """Mean radial error over all landmarks of all images."""
        return self.overall.mean

    @property
    def sd(self) -> float:
        """Standard deviation of the radial errors."""
        return self.overall.sd

    @property
    def median(self) -> float:
        """Median radial error."""
        return self.overall.median

    @property
    def sdr(self) -> Mapping[float, float]:
        """Threshold -> success detection rate in percent."""
        return self.overall.sdr

    @property
    def predicted(self) -> int:
        """Number of the asked landmarks that have a prediction."""
        return len(self.error)

    @property
    def coverage(self) -> float:
        """Share of the asked landmarks that have a prediction, in [0, 1]."""
        return self.predicted / self.asked

    def cumulative(self, limits: Sequence[float] | Floats) -> Floats:
        """Percent of the errors that are at most each of the `[L]` limits, `[L]`."""
        below = np.searchsorted(np.sort(self.error), np.asarray(limits, float), side="right")
        return np.asarray(100 * below / len(self.error), np.float64)

    def to_json(self) -> str:
        """Format the scores as JSON: summary, interval, coverage, per landmark, per image, cumulative errors."""
        record = {
            "unit": self.unit,
            "images": len(self.per_image),
            "images_absent": list(self.absent),
            "landmarks_found": self.predicted,
            "landmarks_asked": self.asked,
            "landmarks_not_visible": self.hidden,
            "placed_though_not_visible": self.placed,
            "coverage": self.coverage,
            "mre": self.mre,
            "mre_interval_95": [self.low, self.high],
            "sd": self.sd,
            "median": self.median,
            "sdr": _percents(self.sdr),
            "per_landmark": [_landmark_record(one) for one in self.per_landmark],
            "per_image": self.per_image,
            "cumulative": _cumulative_record(self),
        }
        return json.dumps(record, indent=2)  # ASCII: not every console writes UTF-8

    def as_text(self) -> str:
        """Format the scores as aligned text: summary lines, then one line per landmark."""
        absent = f"  (images of the truth without predictions: {len(self.absent)})" if self.absent else ""
        told = f"  not visible {self.hidden}, of which placed {self.placed}" if self.hidden else ""
        lines = [
            f"images {len(self.per_image)}  landmarks predicted {self.predicted} of {self.asked}{told}{absent}",
            f"MRE {self.mre:.3f} {self.unit}  [95 % {self.low:.3f}, {self.high:.3f}]"
            f"  sd {self.sd:.3f}  median {self.median:.3f}",
            "SDR " + "  ".join(f"{t:g}: {rate:.2f} %" for t, rate in self.sdr.items()),
            "",
        ]
        return "\n".join(lines + _format_table(self.per_landmark))


def evaluate(
    predictions: Iterable[LandmarkSet],
    truth: Iterable[LandmarkSet],
    *,
    spacing_mm: Spacing | Mapping[str, Spacing | None] | None = None,
    exclude: Collection[str] = (),
    unit: str = "",
) -> Scores:
    """Score predictions against the truth.

    A landmark is asked for when the truth has it on an image that has predictions. One that is asked for
    but not predicted (no row, or no coordinates) lowers the coverage and nothing else. Of landmarks that the truth says
    are not visible, it is counted how many the predictions place; what nobody was asked for counts nowhere. Images
    belong together by their names as everywhere: a name may lack its suffix or have another folder or case where one
    image fits.

    Args:
        predictions: A LandmarkTable or sets, one per image, in pixels of the original images.
        truth: The same, with the true positions.
        spacing_mm: mm per pixel: one number, `(x, y)`, or image -> either; None scores in pixels.
        exclude: Images to leave out, such as the exemplars; without suffix where that is unambiguous.
        unit: Name of the unit when `spacing_mm` scales to something other than mm.

    Raises:
        UserError: an image occurs twice, no image or no landmark is in common, a spacing is missing or not
            positive, or neither side has an image to exclude.
    """
    found = match_images(_index_images(predictions, "the predictions"), _index_images(truth, "the truth"))
    excluded = found.resolve(exclude)
    theirs = {image: one for image, one in found.theirs.items() if image not in excluded}
    ours = {image: found.ours[mine] for image, mine in found.pairs.items() if image in theirs}
    absent = tuple(image for image in theirs if image not in ours)
    if not ours:
        side = "the truth (without the excluded images)"
        why = f" ({found.explain(absent[0])})" if absent else ""
        raise UserError(_describe_mismatch("image", found.ours, theirs, side) + why)
    rows = [
        row
        for image, one in ours.items()
        for row in _measure_errors(one, theirs[image], _axis_scale(spacing_mm, image))
    ]
    if not rows:
        mine, true = ([name for image in ours for name in side[image].names] for side in (ours, theirs))
        raise UserError(_describe_mismatch("landmark with a position", mine, true, "the truth"))
    image, landmark = (np.array([row[k] for row in rows], np.str_) for k in (0, 1))
    error = np.array([row[2] for row in rows], np.float64)
    # Errors on one image are correlated, so the interval resamples images and not landmarks.
    low, high = bootstrap_interval(error, image)
    asked = sum(int(np.isfinite(theirs[name].xy).all(axis=1).sum()) for name in ours)
    hidden, placed = _count_hidden(ours, theirs)
    unit = unit or ("px" if spacing_mm is None else "mm")
    notes = tuple(_name_notes(found, ours, absent))
    return Scores(image, landmark, error, unit, asked, hidden, placed, absent, low, high, notes)


def summarise(name: str, error: Floats) -> Summary:
    """Summarise errors `[N]`, N >= 1, under a name."""
    sdr = {t: 100 * float((error <= t).mean()) for t in THRESHOLDS}
    # The sample deviation of a single error is undefined; 0 keeps tables and JSON free of NaN.
    sd = float(error.std(ddof=1)) if len(error) > 1 else 0.0
    return Summary(name, len(error), float(error.mean()), sd, float(np.median(error)), sdr)


def bootstrap_interval(
    error: Floats, images: NDArray[np.str_], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of errors `[N]` on `images` `[N]`; whole images are resampled."""
    low, high = np.quantile(_bootstrap_means(error, images, draws, seed), (0.025, 0.975))
    return float(low), float(high)


def paired_bootstrap(
    errors_a: Sequence[float] | Floats,
    errors_b: Sequence[float] | Floats,
    images: Sequence[str] | NDArray[np.str_],
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Compare two systems on the same landmarks by a paired bootstrap.

    It resamples whole images, because errors on one image are correlated.

    Args:
        errors_a: `[N]` errors of system A.
        errors_b: `[N]` errors of system B on the same landmarks of the same images.
        images: `[N]` image of each error.
        draws: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        `(difference, low, high, p)`: mean of A minus mean of B, its 95 % interval, and the two-sided p-value
        of no difference.

    Raises:
        UserError: the lengths differ, there are no errors, or an error is not finite.
    """
    a, b, names = np.asarray(errors_a, float), np.asarray(errors_b, float), np.asarray(images)
    if not a.size or not a.shape == b.shape == names.shape:
        sizes = f"{a.size}, {b.size} and {names.size}"
        raise UserError(f"paired_bootstrap got {sizes} errors and images; give one of each per landmark")
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise UserError(
            "paired_bootstrap got errors that are not finite; leave out landmarks that one of the systems lacks"
        )
    drawn = _bootstrap_means(a - b, names, draws, seed)
    low, high = np.quantile(drawn, (0.025, 0.975))
    # Counting the observed difference as one of the draws keeps p above 0.
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return float((a - b).mean()), float(low), float(high), min(1.0, 2 * (tail + 1) / (draws + 1))


def _bootstrap_means(values: Floats, images: NDArray[np.str_], draws: int, seed: int) -> Floats:
    """Return `[draws]` means over the values `[N]` of resampled images; an image weighs as much as it has values."""
    which = np.unique(images, return_inverse=True)[1]
    total, count = np.bincount(which, values), np.bincount(which)
    rng = np.random.default_rng(seed)
    # One draw at a time: a matrix of all draws would grow with the cohort.
    picks = (rng.integers(len(count), size=len(count)) for _ in range(draws))
    return np.array([total[pick].sum() / count[pick].sum() for pick in picks])


def _index_images(sets: Iterable[LandmarkSet], what: str) -> dict[str, LandmarkSet]:
    by_image: dict[str, LandmarkSet] = {}
    for one in sets:
        key = image_key(one.image)
        if key in by_image:
            raise UserError(f"{what} have the image {key!r} twice; remove one of them")
        by_image[key] = one
    return by_image


def _name_notes(found: Match, scored: Collection[str], absent: Sequence[str]) -> Iterator[str]:
    if absent:
        images = "1 image" if len(absent) == 1 else f"{len(absent)} images"
        yield f"{images} of the truth left out for lack of a prediction: {found.explain(absent[0])}"
    others = [image for image in scored if not found.is_same_name(image)]
    if others:
        first = f"{found.pairs[others[0]]!r} of the predictions was taken for {others[0]!r} of the truth"
        yield first if len(others) == 1 else f"{first}, and {len(others) - 1} more likewise"


def _measure_errors(
    ours: LandmarkSet, theirs: LandmarkSet, scale: tuple[float, float]
) -> list[tuple[str, str, float]]:
    """Return image, landmark and radial error of every landmark that both sides have."""
    at = {name: xy for name, xy in zip(ours.names, ours.xy, strict=True) if np.isfinite(xy).all()}
    # Tables may list their landmarks in different orders, so names decide which belong together.
    image = image_key(theirs.image)
    return [
        (image, name, math.hypot(*((at[name] - xy) * scale)))
        for name, xy in zip(theirs.names, theirs.xy, strict=True)
        if name in at and np.isfinite(xy).all()
    ]


def _count_hidden(ours: Mapping[str, LandmarkSet], theirs: Mapping[str, LandmarkSet]) -> tuple[int, int]:
    """How many landmarks the truth says are not visible, and how many of these the predictions place."""
    hidden = placed = 0
    for image, one in ours.items():
        there = {one.names[k] for k in np.flatnonzero(one.visible)}
        hidden += len(theirs[image].hidden_names)
        placed += len(there.intersection(theirs[image].hidden_names))
    return hidden, placed


def _axis_scale(spacing: Spacing | Mapping[str, Spacing | None] | None, image: str) -> tuple[float, float]:
    if spacing is None:
        return 1.0, 1.0
    value = spacing.get(image) if isinstance(spacing, Mapping) else spacing
    if value is None:
        raise UserError(
            f"the pixel spacing of {image!r} is unknown; give it for every image, or score in pixels"
        )
    x, y = value if isinstance(value, Sequence) else (value, value)
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
        raise UserError(f"the pixel spacing of {image!r} is {value}; give mm per pixel, more than 0")
    return float(x), float(y)


def _mean_per_image(image: NDArray[np.str_], error: Floats) -> tuple[list[str], Floats]:
    names, which = np.unique(image, return_inverse=True)
    means = np.bincount(which, error) / np.bincount(which)
    return names.tolist(), np.asarray(means, np.float64)


def _describe_mismatch(what: str, ours: Iterable[str], theirs: Iterable[str], truth: str) -> str:
    first = [repr(next(iter(side), "nothing")) for side in (ours, theirs)]
    return (
        f"the predictions and {truth} have no {what} in common: they begin with {first[0]} and {first[1]}; "
        "use the same names in both"
    )


def _landmark_record(one: Summary) -> dict[str, Any]:
    spread = {"count": one.count, "mre": one.mean, "sd": one.sd, "median": one.median}
    return {"landmark": one.name, **spread, "sdr": _percents(one.sdr)}


def _cumulative_record(scores: Scores) -> dict[str, list[float]]:
    limits = np.linspace(0, 2.5 * max(THRESHOLDS), 101)
    return {"error": limits.tolist(), "percent": scores.cumulative(limits).tolist()}


def _percents(sdr: Mapping[float, float]) -> dict[str, float]:
    return {f"{t:g}": rate for t, rate in sdr.items()}


def _format_table(rows: Sequence[Summary]) -> list[str]:
    """Format aligned lines: a head, then one line per summary."""
    cells: list[list[Any]] = [["landmark", "n", "mean", "sd", "median", *(f"SDR {t:g}" for t in THRESHOLDS)]]
    for s in rows:
        numbers = (f"{v:.3f}" for v in (s.mean, s.sd, s.median))
        cells.append([s.name, str(s.count), *numbers, *(f"{s.sdr[t]:.2f} %" for t in THRESHOLDS)])
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = (
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in cells
    )
    return ["  ".join(line) for line in lines]
