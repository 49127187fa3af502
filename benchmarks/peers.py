"""The alternative that a user has today: itk-elastix carries the exemplar's landmarks to every test radiograph.

    python benchmarks/peers.py IMAGES LANDMARKS.csv --exemplar 125.jpg --test 151-300 --spacing-mm 0.25

The exemplar is registered with each target at half resolution: rigid, affine and B-spline (final grid 30 px, elastix'
default metric). Only this comparison needs itk-elastix; install it first: `pip install itk-elastix`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph

GRID_PX = 30.0
RESOLUTIONS = 4


def load_elastix() -> Any:
    """Return the itk module, or exit and say how to install it."""
    try:
        import itk

        itk.ElastixRegistrationMethod  # noqa: B018  (itk loads its parts by name)
    except (ImportError, AttributeError):
        raise SystemExit("peers.py compares with itk-elastix: pip install itk-elastix") from None
    return itk


def halve(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[H, W]` -> `[H // 2, W // 2]`, the mean of each 2 x 2 block; an odd last row or column is dropped."""
    h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
    return np.ascontiguousarray(pixels[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3)), dtype=np.float32)


def to_half(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K, 2]` original pixels -> pixels of the halved image (pixel centres at integers)."""
    return (xy - 0.5) / 2


def from_half(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `to_half`."""
    return xy * 2 + 0.5


def carry(
    source: NDArray[np.float32], target: NDArray[np.float32], xy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Register two images and carry points from one to the other.

    elastix' transform maps points of the fixed image to the moving one. So the exemplar is the fixed image, and
    its points need no inverse.

    Args:
        source: `[H, W]`, the exemplar.
        target: `[H', W']`.
        xy: `[K, 2]` pixels of `source`.

    Returns:
        `[K, 2]` pixels of `target`.
    """
    itk = load_elastix()
    fixed, moving = itk.image_view_from_array(source), itk.image_view_from_array(target)
    parameters = itk.ParameterObject.New()
    for kind in ("rigid", "affine"):
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(kind, RESOLUTIONS))
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline", RESOLUTIONS, GRID_PX))
    _, transform = itk.elastix_registration_method(
        fixed, moving, parameter_object=parameters, log_to_console=False
    )
    points = itk.Mesh[itk.F, 2].New()
    points.SetPoints(itk.vector_container_from_array(xy.astype(np.float32).ravel()))
    carrier = itk.TransformixFilter[type(moving)].New(moving)
    carrier.SetTransformParameterObject(transform)
    carrier.SetInputMesh(points)
    carrier.Update()
    moved = itk.array_from_vector_container(carrier.GetOutputMesh().GetPoints())
    return np.asarray(moved, dtype=np.float64).reshape(-1, 2)


def locate(exemplar: Radiograph, landmarks: LandmarkSet, target: Radiograph) -> LandmarkSet:
    """Carry the exemplar's landmarks to the target, in the target's original pixels."""
    xy = carry(halve(exemplar.pixels), halve(target.pixels), to_half(landmarks.xy))
    return LandmarkSet(target.name, landmarks.names, from_half(xy))


def parse_positions(text: str) -> slice:
    """Parse `151-300`, counted from 1, or `7` to a slice."""
    first, _, last = text.partition("-")
    return slice(int(first) - 1, int(last or first))


def locate_all(
    cohort: Cohort, names: list[str], exemplar: Radiograph, landmarks: LandmarkSet
) -> Iterator[tuple[LandmarkSet, float]]:
    """Yield each radiograph's landmarks and the seconds they took, including decoding."""
    for name in names:
        start = time.perf_counter()
        yield locate(exemplar, landmarks, cohort[name]), time.perf_counter() - start


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("--exemplar", required=True, help="image whose landmarks are carried to the others")
    parser.add_argument(
        "--test", type=parse_positions, required=True, help="positions in natural order, such as 151-300"
    )
    parser.add_argument("--limit", type=int, help="score the first N of them")
    parser.add_argument("--spacing-mm", type=float)
    parser.add_argument("--out", type=Path, help="write the landmarks here")
    return parser.parse_args()


def main() -> None:
    """Register, score, print."""
    asked = parse_arguments()
    cohort = onemark.open_cohort(asked.images)
    truth = onemark.read_landmarks(asked.landmarks)
    names = [name for name in cohort.names[asked.test] if name != asked.exemplar][: asked.limit]
    rows = list(locate_all(cohort, names, cohort[asked.exemplar], truth[asked.exemplar]))
    predictions = LandmarkTable.from_sets(landmarks for landmarks, _ in rows)
    if asked.out:
        predictions.to_csv(asked.out)
    print(f"itk-elastix, rigid + affine + B-spline, exemplar {asked.exemplar}")
    print(onemark.evaluate(predictions, truth, spacing_mm=asked.spacing_mm).as_text())
    print(f"seconds per radiograph: median {np.median([seconds for _, seconds in rows]):.2f}")


if __name__ == "__main__":
    main()
