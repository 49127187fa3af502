"""How far found landmarks lie from the truth: radial errors, their summary and intervals over images."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import by_stem, completed
from onemark.data.keys import image_key
from onemark.types import LandmarkSet, UserError

THRESHOLDS = (2.0, 2.5, 3.0, 4.0)
"""Success is a radial error of at most this many units."""

Spacing = float | tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Some radial errors in a few numbers.

    Attributes:
        name: A landmark, or `all`.
        count: Number of errors.
        mean: Mean radial error.
        sd: Standard deviation over the sample; 0 for a single error.
        median: Median radial error.
        sdr: Threshold -> success detection rate in percent, errors `<=` the threshold.
    """

    name: str
    count: int
    mean: float
    sd: float
    median: float
    sdr: Mapping[float, float]


@dataclass(frozen=True, eq=False)
class Scores:
    """Found landmarks against the truth.

    Attributes:
        image: `[N]` image name of each error.
        landmark: `[N]` landmark name of each error.
        error: `[N]` radial errors in `unit`, images and landmarks in the truth's order.
        unit: `mm`, `px` or what the caller named.
        asked: Landmarks that the truth has on images that `found` has.
        absent: Images that the truth has and `found` has not; they count nowhere else.
        low: Lower end of the 95 % bootstrap interval of the MRE, images drawn with replacement.
        high: Its upper end.
    """

    image: NDArray[np.str_]
    landmark: NDArray[np.str_]
    error: Floats
    unit: str
    asked: int
    absent: tuple[str, ...]
    low: float
    high: float

    @cached_property
    def overall(self) -> Summary:
        """All errors in a few numbers."""
        return summarise("all", self.error)

    @cached_property
    def per_landmark(self) -> tuple[Summary, ...]:
        """One summary per landmark, in the truth's order."""
        return tuple(summarise(str(n), self.error[self.landmark == n]) for n in dict.fromkeys(self.landmark))

    @cached_property
    def per_image(self) -> dict[str, float]:
        """Image -> mean radial error over its landmarks, by sorted name."""
        return dict(zip(*_image_means(self.image, self.error), strict=True))

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
    def found(self) -> int:
        """Landmarks that were found, of those asked."""
        return len(self.error)

    @property
    def coverage(self) -> float:
        """Landmarks found / landmarks asked, 0...1."""
        return self.found / self.asked

    def cumulative(self, limits: Sequence[float] | Floats) -> Floats:
        """Percent of the errors that are at most each of the limits, `[L]`."""
        below = np.searchsorted(np.sort(self.error), np.asarray(limits, float), side="right")
        return np.asarray(100 * below / len(self.error), np.float64)

    def to_json(self) -> str:
        """The scores as JSON: summary, interval, coverage, per landmark, per image, cumulative errors."""
        limits = np.linspace(0, 2.5 * max(THRESHOLDS), 101)
        record = {
            "unit": self.unit,
            "images": len(self.per_image),
            "images_absent": list(self.absent),
            "landmarks_found": self.found,
            "landmarks_asked": self.asked,
            "coverage": self.coverage,
            "mre": self.mre,
            "mre_interval_95": [self.low, self.high],
            "sd": self.sd,
            "median": self.median,
            "sdr": _percents(self.sdr),
            "per_landmark": [
                {"landmark": s.name, "count": s.count, "mre": s.mean, "sd": s.sd, "median": s.median}
                | {"sdr": _percents(s.sdr)}
                for s in self.per_landmark
            ],
            "per_image": self.per_image,
            "cumulative": {"error": limits.tolist(), "percent": self.cumulative(limits).tolist()},
        }
        return json.dumps(record, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """The scores as aligned text: summary lines, then one line per landmark."""
        absent = f"  (of the truth's images, not looked at: {len(self.absent)})" if self.absent else ""
        lines = [
            f"images {len(self.per_image)}  landmarks {self.found} of {self.asked} asked{absent}",
            f"MRE {self.mre:.3f} {self.unit}  [95 % {self.low:.3f}, {self.high:.3f}]"
            f"  sd {self.sd:.3f}  median {self.median:.3f}",
            "SDR " + "  ".join(f"{t:g}: {rate:.2f} %" for t, rate in self.sdr.items()),
            "",
        ]
        return "\n".join(lines + _table(self.per_landmark))


def evaluate(
    found: Iterable[LandmarkSet],
    truth: Iterable[LandmarkSet],
    *,
    spacing_mm: Spacing | Mapping[str, Spacing | None] | None = None,
    exclude: Collection[str] = (),
    unit: str = "",
) -> Scores:
    """Score found landmarks against the truth.

    A landmark is asked for when the truth has it on an image that `found` has. One that is asked for and
    not found (no row, or no coordinates) lowers the coverage and nothing else.

    Args:
        found: A LandmarkTable or sets, one per image.
        truth: The same, with the true positions.
        spacing_mm: mm per pixel: one number, `(x, y)`, or image -> either; None scores in pixels.
        exclude: Images to leave out, such as the exemplars; without suffix where that is unambiguous.
        unit: Name of the unit when `spacing_mm` scales to something else than mm.

    Raises:
        UserError: an image twice, no image or no landmark in common, a spacing missing or not positive, an
            image to leave out that neither has.
    """
    ours, theirs = _by_image(found, "the found landmarks"), _by_image(truth, "the truth")
    left_out = _left_out(exclude, [*theirs, *ours])
    theirs = {image: one for image, one in theirs.items() if image not in left_out}
    common = [image for image in theirs if image in ours]
    if not common:
        raise UserError(_nothing_common("image", ours, theirs, "the truth (less the excluded images)"))
    rows = [row for image in common for row in _errors(ours[image], theirs[image], _scale(spacing_mm, image))]
    if not rows:
        mine, true = ([name for image in common for name in side[image].names] for side in (ours, theirs))
        raise UserError(_nothing_common("landmark with a position", mine, true, "the truth"))
    image, landmark = (np.array([row[k] for row in rows], np.str_) for k in (0, 1))
    error = np.array([row[2] for row in rows], np.float64)
    low, high = bootstrap_interval(error, image)
    asked = sum(int(np.isfinite(theirs[name].xy).all(axis=1).sum()) for name in common)
    absent = tuple(name for name in theirs if name not in ours)
    unit = unit or ("px" if spacing_mm is None else "mm")
    return Scores(image, landmark, error, unit, asked, absent, low, high)


def summarise(name: str, error: Floats) -> Summary:
    """Summarise errors `[N]`, N >= 1, under a name."""
    sdr = {t: 100 * float((error <= t).mean()) for t in THRESHOLDS}
    sd = float(error.std(ddof=1)) if len(error) > 1 else 0.0
    return Summary(name, len(error), float(error.mean()), sd, float(np.median(error)), sdr)


def bootstrap_interval(
    error: Floats, images: NDArray[np.str_], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of errors `[N]` on `images` `[N]`, whole images drawn with replacement."""
    low, high = np.quantile(_drawn_means(error, images, draws, seed), (0.025, 0.975))
    return float(low), float(high)


def paired_bootstrap(
    errors_a: Sequence[float] | Floats,
    errors_b: Sequence[float] | Floats,
    images: Sequence[str] | NDArray[np.str_],
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Compare two systems on the same landmarks; whole images are drawn, for their errors go together.

    Args:
        errors_a: `[N]` errors of system A.
        errors_b: `[N]` errors of system B on the same landmarks of the same images.
        images: `[N]` image of each error.
        draws: Number of bootstrap samples.
        seed: Of the draws.

    Returns:
        `(difference, low, high, p)`: mean of A minus mean of B, its 95 % interval, and the two-sided p-value
        of no difference.

    Raises:
        UserError: lengths that differ, no errors, or errors that are not finite.
    """
    a, b, names = np.asarray(errors_a, float), np.asarray(errors_b, float), np.asarray(images)
    if not a.size or not a.shape == b.shape == names.shape:
        sizes = f"{a.size}, {b.size} and {names.size}"
        raise UserError(f"paired_bootstrap got {sizes} errors and images; give one of each per landmark")
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise UserError(
            "paired_bootstrap got errors that are no numbers; leave out landmarks not found by both"
        )
    drawn = _drawn_means(a - b, names, draws, seed)
    low, high = np.quantile(drawn, (0.025, 0.975))
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return float((a - b).mean()), float(low), float(high), min(1.0, 2 * (tail + 1) / (draws + 1))


def _drawn_means(values: Floats, images: NDArray[np.str_], draws: int, seed: int) -> Floats:
    """`[draws]` means over the values `[N]` of images drawn with replacement; an image counts by its values."""
    which = np.unique(images, return_inverse=True)[1]
    total, count = np.bincount(which, values), np.bincount(which)
    rng = np.random.default_rng(seed)
    # One draw at a time: memory stays that of one cohort.
    picks = (rng.integers(len(count), size=len(count)) for _ in range(draws))
    return np.array([total[pick].sum() / count[pick].sum() for pick in picks])


def _by_image(sets: Iterable[LandmarkSet], what: str) -> dict[str, LandmarkSet]:
    by_image: dict[str, LandmarkSet] = {}
    for one in sets:
        key = image_key(one.image)
        if key in by_image:
            raise UserError(f"{what} have the image {key!r} twice; remove one of the two")
        by_image[key] = one
    return by_image


def _left_out(exclude: Collection[str], images: Sequence[str]) -> set[str]:
    # A name that fits nothing would let an exemplar count, with its error of 0.
    names = tuple(dict.fromkeys(images))
    stems, where = by_stem(names), "the found landmarks or the truth"
    return {
        key if (key := image_key(name)) in names else completed(name, names, stems, where) for name in exclude
    }


def _errors(
    ours: LandmarkSet, theirs: LandmarkSet, scale: tuple[float, float]
) -> list[tuple[str, str, float]]:
    """Image, landmark and radial error of every landmark that both have."""
    at = {name: xy for name, xy in zip(ours.names, ours.xy, strict=True) if np.isfinite(xy).all()}
    image = image_key(theirs.image)
    return [
        (image, name, math.hypot(*((at[name] - xy) * scale)))
        for name, xy in zip(theirs.names, theirs.xy, strict=True)
        if name in at and np.isfinite(xy).all()
    ]


def _scale(spacing: Spacing | Mapping[str, Spacing | None] | None, image: str) -> tuple[float, float]:
    if spacing is None:
        return 1.0, 1.0
    value = spacing.get(image) if isinstance(spacing, Mapping) else spacing
    if value is None:
        raise UserError(
            f"the pixel spacing of {image!r} is not known; give it for every image, or score in pixels"
        )
    x, y = value if isinstance(value, Sequence) else (value, value)
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
        raise UserError(f"a pixel spacing of {value} for {image!r}; give mm per pixel, more than 0")
    return float(x), float(y)


def _image_means(image: NDArray[np.str_], error: Floats) -> tuple[list[str], Floats]:
    names, which = np.unique(image, return_inverse=True)
    means = np.bincount(which, error) / np.bincount(which)
    return names.tolist(), np.asarray(means, np.float64)


def _nothing_common(what: str, ours: Iterable[str], theirs: Iterable[str], truth: str) -> str:
    first = [repr(next(iter(side), "nothing")) for side in (ours, theirs)]
    return (
        f"the found landmarks and {truth} have no {what} in common: the first is {first[0]} and {first[1]}; "
        "name them alike"
    )


def _percents(sdr: Mapping[float, float]) -> dict[str, float]:
    return {f"{t:g}": rate for t, rate in sdr.items()}


def _table(rows: Sequence[Summary]) -> list[str]:
    """Aligned lines: a head, then one line per summary."""
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
