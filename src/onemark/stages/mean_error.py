"""Each landmark's mean error, as answers show it, taken away from the predictions.

Much of the error of a model that learned from one exemplar is the same on all radiographs: the person placed a landmark a
little beside where others would, or the network learned to. A few answers show it. An answer only counts by how far the
model was off before it learned from it. What the model has learned since is taken off: the mean way that the predictions
of other radiographs have moved.

A landmark's mean of n answers m is shrunk by the empirical-Bayes factor

    f = T / (T + s^2 / n),        T = max(0, mean over landmarks of (|m|^2 / 2 - s^2 / n)),

with s^2 the variance of its answers per axis, drawn to that of all landmarks, and T the variance of mean errors. It is
used only where it would have brought each answer nearer to the truth, on average, had that answer been left out.

All lengths are shares of the mean side, in a frame that turns and scales with the predicted constellation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.types import LandmarkSet

SLOT = "mean_error"
"""Names the mean errors beside the stages' slots, in weights files and progress."""

LEAST_ANSWERS = 2  # of a landmark: one alone cannot be left out
POOLED = 3.0  # imagined answers that stray as all landmarks' do, against which a landmark's own are weighed
FIT = 3  # landmarks that a frame needs

Points = NDArray[np.float64]
Size = tuple[int, int]


@dataclass(frozen=True)
class MeanError:
    """What answers show about K landmarks.

    Attributes:
        names: K landmark names.
        reference: `[K, 2]` the constellation in whose frame errors are measured, in mean sides; NaN where unknown.
        images: N radiographs with answers; one that was asked about twice may be there twice.
        errors: `[N, K, 2]` answer minus prediction in that frame, by the model as if it had not learned from the answer;
            NaN where there is no answer.
    """

    names: tuple[str, ...]
    reference: Points
    images: tuple[str, ...]
    errors: Points

    @classmethod
    def begin(cls, fullest: LandmarkSet, size: Size) -> MeanError:
        """Nothing is known yet, in the frame of an annotated radiograph of size `(H, W)`."""
        return cls(fullest.names, fullest.xy / fmean(size), (), np.empty((0, len(fullest.names), 2)))

    @cached_property
    def offsets(self) -> Points:
        """`[K, 2]` what to add to predictions, in the reference's frame."""
        return estimate_offsets(self.errors)

    def correct(self, found: LandmarkSet, size: Size) -> LandmarkSet:
        """Predictions on a radiograph of size `(H, W)` without their landmarks' mean errors."""
        if not self.offsets.any():
            return found
        moved = found.xy + self._from_frame(self.offsets, found.xy, size)
        return replace(found, xy=np.clip(moved, 0, np.array(size[::-1]) - 1.0))

    def measure(self, way: Points, predicted: Points, size: Size) -> Points:
        """Displacements `[K, 2]` (px) on a radiograph, in the reference's frame.

        Args:
            way: The displacements.
            predicted: `[K, 2]` px, where the model predicts the landmarks.
            size: `(H, W)` of the radiograph.
        """
        return _points(_complex(way) / self._turn(predicted, size))

    def with_errors(self, images: Sequence[str], errors: Points) -> MeanError:
        """More answers; former ones of the same landmark on the same radiograph no longer count."""
        kept = self.errors.copy()
        for image, row in zip(images, errors, strict=True):
            same = np.array([one == image for one in self.images], np.bool_)
            kept[np.ix_(same, np.isfinite(row).all(-1))] = np.nan
        return replace(self, images=(*self.images, *images), errors=np.concatenate([kept, errors]))

    def moved(self, image: str, way: Points) -> MeanError:
        """The same where a person has moved the answers on a radiograph by `[K, 2]`, in the reference's frame.

        An answer that was moved by NaN is taken back.
        """
        here = np.array([one == image for one in self.images], np.bool_)
        return replace(self, errors=np.where(here[:, None, None], self.errors + way, self.errors))

    def after(self, moved: Points) -> MeanError:
        """The same for a model whose predictions have moved by `[K, 2]` on average, in the reference's frame.

        Where that is NaN, the answers so far say nothing about this model.
        """
        return replace(self, errors=self.errors - moved)

    def align(self, names: tuple[str, ...]) -> MeanError:
        """The same for other landmarks; nothing is known of new ones."""
        at = [self.names.index(name) if name in self.names else -1 for name in names]
        pad = np.concatenate([self.reference, np.full((1, 2), np.nan)])
        wide = np.concatenate([self.errors, np.full((len(self.errors), 1, 2), np.nan)], 1)
        return MeanError(names, pad[at], self.images, wide[:, at])

    def describe(self) -> str:
        """One sentence for the person; empty where no landmark is moved."""
        far = np.linalg.norm(self.offsets, axis=1)
        moved = far[far > 0]
        if not len(moved):
            return ""
        answers = int(np.isfinite(self.errors).all(-1).sum())
        landmarks = "1 landmark is" if len(moved) == 1 else f"{len(moved)} landmarks are"
        return (
            f"{landmarks} moved by their mean errors, which {answers} answers show: on average "
            f"{100 * moved.mean():.2f} %, at most {100 * moved.max():.2f} % of the side"
        )

    def state(self) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in _ARRAYS}
        return tensors, {"names": list(self.names), "images": list(self.images)}

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], head: Mapping[str, Any]) -> MeanError:
        """What `state` described.

        Raises:
            ValueError: its parts do not fit together.
        """
        reference, errors = (tensors[name].double().numpy() for name in _ARRAYS)
        names, images = tuple(map(str, head["names"])), tuple(map(str, head["images"]))
        if reference.shape != (len(names), 2) or errors.shape != (len(images), len(names), 2):
            raise ValueError("its mean errors do not fit its landmarks")
        return cls(names, reference, images, errors)

    def _from_frame(self, way: Points, predicted: Points, size: Size) -> Points:
        return _points(_complex(way) * self._turn(predicted, size))

    def _turn(self, predicted: Points, size: Size) -> complex:
        """Scale and rotation from the reference to predictions, least squares, as a complex factor."""
        known = np.isfinite(self.reference).all(1) & np.isfinite(predicted).all(1)
        if known.sum() < FIT:
            return complex(fmean(size))
        z, w = _complex(self.reference[known]), _complex(predicted[known])
        z, w = z - z.mean(), w - w.mean()
        spread = float(np.vdot(z, z).real)
        return complex(np.vdot(z, w) / spread) if spread > 0 else complex(fmean(size))


_ARRAYS = ("reference", "errors")


def estimate_offsets(errors: Points) -> Points:
    """Each landmark's mean error `[K, 2]`, shrunk; 0 where it would not have helped.

    Args:
        errors: `[N, K, 2]`, NaN where there is no answer.
    """
    known = np.asarray(np.isfinite(errors).all(-1))
    count = known.sum(0)
    enough = count >= LEAST_ANSWERS
    offsets = np.zeros(errors.shape[1:])
    if not enough.any():
        return offsets
    spread, prior = _variances(errors, known)
    for k in np.flatnonzero(enough):
        own = errors[known[:, k], k]
        others = (own.sum(0) - own) / (len(own) - 1)
        left_out = _shrink(others, len(own) - 1, spread[k], prior)
        if np.linalg.norm(own - left_out, axis=1).sum() < np.linalg.norm(own, axis=1).sum():
            offsets[k] = _shrink(own.mean(0), len(own), spread[k], prior)
    return offsets


def _shrink(mean: Points, count: int, spread: float, prior: float) -> Points:
    noise = spread / count
    return np.asarray(mean * (prior / (prior + noise) if prior > 0 else 0.0))


def _variances(errors: Points, known: NDArray[np.bool_]) -> tuple[Points, float]:
    """Variance of each landmark's answers `[K]`, and of the landmarks' mean errors; per axis."""
    count = known.sum(0)
    filled = np.where(known[..., None], errors, 0.0)
    mean = filled.sum(0) / np.maximum(count, 1)[:, None]
    square = (np.where(known[..., None], errors - mean, 0.0) ** 2).sum((0, 2)) / 2
    free = np.maximum(count - 1, 0)
    pooled = square.sum() / free.sum()
    spread = (square + POOLED * pooled) / (free + POOLED)
    seen = count > 0
    between = (mean[seen] ** 2).sum(1) / 2 - spread[seen] / count[seen]
    return spread, max(0.0, float(between.mean()))


def _complex(points: Points) -> NDArray[np.complex128]:
    return np.asarray(points @ np.array([1, 1j]))


def _points(numbers: NDArray[np.complex128]) -> Points:
    return np.stack([numbers.real, numbers.imag], -1)
