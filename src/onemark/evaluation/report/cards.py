"""One radiograph of the report: a thumbnail, its points in original pixels, and what is known about them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onemark.imaging.ellipses import SHOWN, pixel_scale, region_factor, to_covariance, to_ellipse
from onemark.types import LandmarkSet, Radiograph

# Large enough to see a misplaced point, small enough that hundreds of them fit into one file.
SIDE = 320
"""px along the long side of a thumbnail."""


@dataclass(frozen=True)
class Point:
    """A landmark on a card; x, y, the true position and the region in original px, None where unknown.

    `axes` are `sd_major`, `sd_minor` in the unit of the expected errors and the angle; `region` has the radii and the
    angle of the ellipse that holds the landmark in 80 % of cases.
    """

    name: str
    hue: int
    x: float
    y: float
    true: tuple[float, float] | None
    score: float | None
    expected: float | None
    error: float | None
    axes: tuple[float, ...] | None = None
    region: tuple[float, ...] | None = None

    def describe(self, unit: str, error_unit: str) -> str:
        """Return the text of the tooltip."""
        parts = [self.name]
        if self.error is not None:
            parts.append(f"error {self.error:.2f} {error_unit}")
        if self.expected is not None:
            parts.append(f"expected error {self.expected:.2f} {unit}")
        if self.axes is not None:
            major, minor, angle = self.axes
            parts.append(f"sd {major:.2f} {unit} along {angle:.0f}°, {minor:.2f} {unit} across")
        if self.score is not None:
            parts.append(f"score {self.score:.2f}")
        return " · ".join(parts)


@dataclass(frozen=True)
class Card:
    """A radiograph and its points.

    Attributes:
        name: Name of the radiograph.
        picture: The thumbnail as a `data:` URL.
        size: `(H, W)` of the original in px.
        unit: Unit of the expected errors, `mm` or `px`.
        points: Visible landmarks.
        hidden: Names of the landmarks that are not visible.
        unasked: How many landmarks nobody was asked for.
        doubted: Names of the landmarks that have a point and are probably not visible.
        exemplar: Whether a person placed the points.
        error: Mean true error; None without truth.
    """

    name: str
    picture: str
    size: tuple[int, int]
    unit: str
    points: tuple[Point, ...]
    hidden: tuple[str, ...]
    unasked: int
    doubted: tuple[str, ...]
    exemplar: bool
    error: float | None

    @property
    def expected(self) -> float | None:
        """Mean expected error of the points that have one."""
        return mean_known([p.expected for p in self.points])

    @property
    def shaped(self) -> bool:
        """Whether any point has an ellipse."""
        return any(p.axes for p in self.points)

    @property
    def score(self) -> float | None:
        """Mean score of the points that have one."""
        return mean_known([p.score for p in self.points])

    @property
    def dot(self) -> float:
        """Radius of a point in original px."""
        # In proportion, so that points look alike on thumbnails of all radiographs.
        return 0.011 * max(self.size)


def mean_known(values: list[float | None]) -> float | None:
    """Return the mean of the known values, None when there are none."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def make_card(
    radiograph: Radiograph,
    points: LandmarkSet,
    truth: LandmarkSet | None = None,
    errors: Mapping[str, float] | None = None,
    exemplar: bool = False,
) -> Card:
    """Make the card of a radiograph.

    Args:
        radiograph: The radiograph; only its thumbnail is kept.
        points: Its landmarks, predicted or placed.
        truth: Its true landmarks.
        errors: Landmark -> true error.
        exemplar: Whether a person placed the points.
    """
    return Card(
        name=radiograph.name,
        picture=encode_thumbnail(radiograph.pixels),
        size=radiograph.size,
        unit="px" if radiograph.spacing is None else "mm",
        points=tuple(_collect_points(points, truth, errors or {}, _draw_regions(points, radiograph))),
        hidden=points.hidden_names,
        unasked=int((~points.answered).sum()),
        doubted=tuple(np.array(points.names)[points.probably_hidden].tolist()),
        exemplar=exemplar,
        error=mean_known(list(errors.values())) if errors else None,
    )


def encode_thumbnail(pixels: NDArray[np.float32]) -> str:
    """Encode pixels `[H, W]` in [0, 1] as a JPEG of at most `SIDE` px along the long side, in a `data:` URL."""
    shown = Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    shown.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def pick_hue(index: int, count: int) -> int:
    """Return a hue in degrees for landmark `index` of `count`."""
    # Steps of the golden angle keep neighbours apart where even steps would be too small to tell apart.
    return round(360 * index * 0.382) % 360 if count > 8 else round(360 * index / count)


def _collect_points(
    points: LandmarkSet,
    truth: LandmarkSet | None,
    errors: Mapping[str, float],
    regions: NDArray[np.float64],
) -> Iterator[Point]:
    true = {} if truth is None else dict(zip(truth.names, truth.xy.tolist(), strict=True))
    for k, (name, (x, y)) in enumerate(zip(points.names, points.xy.tolist(), strict=True)):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        at = true.get(name, (math.nan, math.nan))
        yield Point(
            name=name,
            hue=pick_hue(k, len(points.names)),
            x=x,
            y=y,
            true=(at[0], at[1]) if math.isfinite(at[0]) and math.isfinite(at[1]) else None,
            score=_get_known(points.score, k),
            expected=_get_known(points.expected_error, k),
            error=errors.get(name),
            axes=_get_row(points.ellipse, k),
            region=_get_row(regions, k),
        )


def _draw_regions(points: LandmarkSet, radiograph: Radiograph) -> NDArray[np.float64]:
    """`[K, 3]` the 80 % ellipses in px of the radiograph; empty where there are none."""
    if not points.ellipse.size:
        return points.ellipse
    scale = pixel_scale(radiograph.spacing if points.unit == "mm" else None)
    return to_ellipse(to_covariance(points.ellipse) / scale) * (*[region_factor(SHOWN)] * 2, 1)


def _get_row(values: NDArray[np.float64], k: int) -> tuple[float, ...] | None:
    known = len(values) and np.isfinite(values[k]).all() and values[k][0] > 0
    return tuple(map(float, values[k])) if known else None


def _get_known(values: NDArray[np.float64], k: int) -> float | None:
    return float(values[k]) if len(values) and math.isfinite(values[k]) else None
