"""How far each landmark's detector and refiner are believed: as far as they find the exemplars' own landmarks again.

A detector that had little time answers worse than the matcher it learned from. Changed copies of the exemplars, whose
landmarks are known, show it without another label: ten hands after 25 steps, 4.6 % of the side on the copies and 7.1 %
on the other hands, where registration has 0.8 % on both; 150 skulls after 300 steps, 0.2 % and 0.9 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.augment import Geometry, Intensity, Warp
from onemark.stages.answers import Stages, locators_of, matcher_of, refiner_of
from onemark.types import LandmarkSet, Radiograph

SLOT = "trust"
"""Names the trust beside the stages' slots, in weights files and progress."""

EXEMPLARS = 3
COPIES = 4
STRENGTH = 0.7  # of the spatial augmentation of training
# Of the mean side: a stage that comes so near has learned, whatever the one before it does. On 150 skulls detectors with
# 0.4 % on the copies were better than registration with 0.2 %; on cohorts of ten, those with 1.1 to 1.5 % were worse.
ENOUGH = 0.008
NEAR = 0.005  # of the mean side: a refined point so near is not called far off
# Errors as multiples of what is allowed: full trust up to the first, none from the second on.
EARNED = (0.65, 0.95)  # of all landmarks together: at equal errors the stage before answers
FAR_OFF = (2.0, 3.0)  # of one landmark
AS_NEAR = (0.97, 1.03)  # of the refined points together, as a multiple of the coarse points' error

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Trust:
    """What later stages have earned, for each of K landmarks.

    Attributes:
        detector: `[K]` the detector's share in the coarse answer, 0...1; the rest is the matcher's.
        refiner: `[K]` the refiner's share in the final answer, 0...1.
    """

    detector: Shares
    refiner: Shares

    @classmethod
    def full(cls, landmarks: int) -> Trust:
        """The last stage's answer counts alone."""
        return cls(np.ones(landmarks), np.ones(landmarks))

    @property
    def needs_matcher(self) -> bool:
        """Whether any answer is partly the matcher's."""
        return bool((self.detector < 1).any())

    @property
    def needs_detector(self) -> bool:
        """Whether any answer is partly the detector's."""
        return bool((self.detector > 0).any())

    def describe(self) -> str:
        """One sentence for the person; empty where the detector answers for every landmark."""
        kept = int((self.detector < 0.5).sum())
        if not kept:
            return ""
        which = "all landmarks" if kept == len(self.detector) else f"{kept} of {len(self.detector)} landmarks"
        return f"the detector has not learned enough yet, so {which} keep the matcher's answer; more minutes help"

    def state(self) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        return {"detector": torch.from_numpy(self.detector), "refiner": torch.from_numpy(self.refiner)}, {}

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor]) -> Trust:
        """The trust that `state` described."""
        return cls(tensors["detector"].double().numpy(), tensors["refiner"].double().numpy())


@dataclass(frozen=True)
class Answers:
    """What stages say about a radiograph.

    Attributes:
        matched: The answer of the matcher that the others learned from; None where it was not asked.
        coarse: The detector's and the matcher's, as far as each is believed.
        final: The same moved by the refiner, as far as it is believed; `coarse` itself where there is none.
    """

    matched: LandmarkSet | None
    coarse: LandmarkSet
    final: LandmarkSet


def ask(stages: Stages, radiograph: Radiograph, trust: Trust | None = None) -> Answers:
    """What the stages say about a radiograph; the last stage alone counts where nothing is known of trust."""
    matcher, last, refiner = matcher_of(stages), locators_of(stages)[-1], refiner_of(stages)
    matched = None
    if last is matcher:
        matched = coarse = matcher.locate(radiograph)
    elif trust is None or not trust.needs_matcher:
        coarse = last.locate(radiograph)
    else:
        matched = coarse = matcher.locate(radiograph)
        if trust.needs_detector:
            coarse = mix(matched, last.locate(radiograph), trust.detector)
    if refiner is None:
        return Answers(matched, coarse, coarse)
    refined = refiner.refine(radiograph, coarse)
    return Answers(matched, coarse, refined if trust is None else mix(coarse, refined, trust.refiner))


def mix(first: LandmarkSet, second: LandmarkSet, share: Shares) -> LandmarkSet:
    """Points, scores and expected errors of two answers; the second counts by a share `[K]`."""
    if (share == 1).all():
        return second

    def between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        part = share.reshape(-1, *[1] * (a.ndim - 1))
        # A share of 0 must hold for an answer that is no number, too.
        return np.where(part == 0, a, np.where(part == 1, b, (1 - part) * a + part * b))

    return replace(
        second,
        xy=between(first.xy, second.xy),
        score=between(first.score, second.score),
        expected_error=between(first.expected_error, second.expected_error),
    )


def measure_trust(stages: Stages, exemplars: LandmarkTable, cohort: Cohort, seed: int) -> Trust | None:
    """Compare the stages on changed copies of the exemplars.

    Args:
        stages: Slot -> fitted stage.
        exemplars: What a person annotated.
        cohort: The radiographs.
        seed: Seed of the changes.

    Returns:
        None where there is only a matcher.
    """
    matcher, last, refiner = matcher_of(stages), locators_of(stages)[-1], refiner_of(stages)
    if last is matcher and refiner is None:
        return None
    rows = []
    for copy, xy in _copies(exemplars, cohort, seed):
        matched = matcher.locate(copy)
        detected = matched if last is matcher else last.locate(copy)
        rows.append([_away(one, xy, copy) for one in (matched, detected)])
    by_matcher, by_detector = _typical(np.stack(rows))
    ratio = by_detector / np.maximum(by_matcher, ENOUGH)
    detector = np.ones(len(ratio)) if last is matcher else _earn(ratio)
    trust = Trust(detector, np.ones(len(detector)))
    if refiner is None:
        return trust
    rows = []
    for copy, xy in _copies(exemplars, cohort, seed):
        found = ask(stages, copy, trust)
        rows.append([_away(one, xy, copy) for one in (found.coarse, found.final)])
    before, after = _typical(np.stack(rows))
    gain = _fall(after.sum() / max(before.sum(), 1e-9), *AS_NEAR)
    return replace(trust, refiner=gain * _fall(after / np.maximum(before, NEAR), *FAR_OFF))


def _earn(ratio: Shares) -> Shares:
    """Shares `[K]` from errors as multiples of what is allowed.

    Four copies say little about one landmark, so all landmarks together decide, and each may only fail by itself.
    """
    together = np.minimum(ratio, FAR_OFF[0]).mean()
    return np.asarray(_fall(together, *EARNED) * _fall(ratio, *FAR_OFF))


def _fall(value: Any, full: float, none: float) -> Any:
    """1 up to `full`, falling to 0 at `none`."""
    return np.clip((none - value) / (none - full), 0.0, 1.0)


def _typical(errors: NDArray[np.float64]) -> tuple[Shares, Shares]:
    """Mean error `[K]` of two answers, from `[N, 2, K]`; the mean of all where a landmark was on no copy."""
    known = np.isfinite(errors)
    mean = np.where(known, errors, 0).sum(0) / np.maximum(known.sum(0), 1)
    overall = np.where(known, errors, 0).sum((0, 2)) / np.maximum(known.sum((0, 2)), 1)
    first, second = np.where(known.any(0), mean, overall[:, None])
    return first, second


def _away(found: LandmarkSet, xy: NDArray[np.float64], radiograph: Radiograph) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(found.xy - xy, axis=1) / fmean(radiograph.size))


def _copies(
    exemplars: LandmarkTable, cohort: Cohort, seed: int
) -> Iterator[tuple[Radiograph, NDArray[np.float64]]]:
    """Changed copies of a few exemplars, and their landmarks `[K, 2]`, px; NaN where one is not visible."""
    generator = torch.Generator().manual_seed(seed)
    geometry, intensity = Geometry().times(STRENGTH), Intensity()
    chosen = exemplars.mostly_annotated().sets[:EXEMPLARS]
    for n in range(COPIES):
        one = chosen[n % len(chosen)]
        radiograph = cohort[one.image]
        h, w = radiograph.size
        warp = Warp.draw(1, (h, w), geometry, generator)
        pixels = intensity.apply(warp.images(torch.from_numpy(radiograph.pixels)[None, None]), generator)[
            0, 0
        ]
        known = np.isfinite(one.xy).all(1)
        xy = np.full_like(one.xy, np.nan)
        moved = warp.inverse(torch.from_numpy(np.nan_to_num(one.xy)).float()[None])[0].double().numpy()
        inside = ((moved >= 0) & (moved <= [w - 1, h - 1])).all(1)
        xy[known & inside] = moved[known & inside]
        yield replace(radiograph, pixels=pixels.clamp(0, 1).numpy()), xy
