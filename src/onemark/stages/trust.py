"""How far detector and refiner are believed.

The detector learns from the matcher's answers. What these have in common, such as a place that the exemplar shows
otherwise than most radiographs do, it learns, too; what differs from radiograph to radiograph it averages out, the more
of them it sees. In return, it has errors of its own as long as it has not learned enough. Both answer together, each as
far as the other's own errors are large:

    share of the detector = m / (m + d),  m = a^2 + u t^2,  d = k b^2

where `a` and `b` are the errors of matcher and detector on changed copies of the exemplars, whose landmarks are known;
`t` is how far the matcher's answers for a place lie apart on the other radiographs; `u`, which grows with their number,
is the part of it that a detector averages out; and `k` says how much harder other radiographs are for the detector than
copies of an exemplar, which is less, the more of them it has seen.

Copies of an exemplar lie outside the group of registration, which reaches its own radiographs more exactly. Where
registration is further off on copies than `t`, its answers there are drawn towards the truth until they are as exact as
that. Else a detector and a refiner that are worse than registration elsewhere would seem to be better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.ellipses import scale_to, shapes_of
from onemark.nn.threads import spread
from onemark.stages.answers import Stages, device_of, locators_of, matcher_of, refiner_of, seen_by
from onemark.stages.copies import Copy, draw_copies, errors_of
from onemark.stages.matcher import Matcher
from onemark.types import LandmarkSet, Radiograph

SLOT = "trust"
"""Names the trust beside the stages' slots, in weights files and progress."""

EXEMPLARS = 3
COPIES = 4
ASKED = 8  # radiographs on which the matcher's answers are compared
UNSEEN = 0.01  # of the side: that error where all radiographs are annotated, which the matcher knows by heart
APART = 0.75  # of the distance between the matcher's answers: its error on other radiographs
HALF = 150  # radiographs of which a detector averages half of the squared error out
LABEL = 10  # radiographs to which a further annotated one is worth as much
HARDER = 10.0  # the detector's squared error on other radiographs, as a multiple of that on copies, for one radiograph
NONE, ALL = 0.1, 0.6  # a share below or above these is none or all: asking both stages takes longer
ENOUGH = 0.008  # of the mean side: a stage that comes so near has learned, whatever the one before it does
NEAR = 0.005  # of the mean side: a refined point so near is not called far off
# Errors as multiples of what is allowed: full trust up to the first, none from the second on.
FAR_OFF = (2.0, 3.0)  # of one landmark
AS_NEAR = (0.97, 1.03)  # of the refined points together, as a multiple of the coarse points' error

Shares = NDArray[np.float64]
Pairs = Sequence[tuple[LandmarkSet, LandmarkSet]]


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
        return (
            f"the detector has not learned enough yet, so {which} keep most of the matcher's answer; "
            "more minutes or more radiographs help"
        )

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
        detected: The detector's; None where there is none or it was not asked.
        coarse: Both together, as far as each is believed.
        refined: Where the refiner moves `coarse`, whether it is believed or not; None where there is none.
        final: `coarse` and `refined` together, as far as the refiner is believed; `coarse` itself where there is none.
    """

    matched: LandmarkSet | None
    detected: LandmarkSet | None
    coarse: LandmarkSet
    refined: LandmarkSet | None
    final: LandmarkSet


def ask(stages: Stages, radiograph: Radiograph, trust: Trust | None = None) -> Answers:
    """What the stages say about a radiograph; the last stage alone counts where nothing is known of trust."""
    answers, refiner = ask_locators(stages, radiograph, trust), refiner_of(stages)
    if refiner is None:
        return answers
    refined = refiner.refine(radiograph, answers.coarse)
    final = refined if trust is None else mix(answers.coarse, refined, trust.refiner)
    return replace(answers, refined=refined, final=final)


def ask_locators(stages: Stages, radiograph: Radiograph, trust: Trust | None = None) -> Answers:
    """As `ask`, as if there were no refiner."""
    matcher, last = matcher_of(stages), locators_of(stages)[-1]
    trust = trust or Trust.full(len(matcher.names))
    matched = detected = None
    if last is matcher or trust.needs_matcher:
        matched = coarse = matcher.locate(radiograph)
    if last is not matcher and trust.needs_detector:
        detected = coarse = last.locate(radiograph)
        if matched is not None:
            coarse = mix(matched, detected, trust.detector)
    return Answers(matched, detected, coarse, None, coarse)


def mix(first: LandmarkSet, second: LandmarkSet, share: Shares) -> LandmarkSet:
    """Points, scores and expected errors of two answers; the second counts by a share `[K]`."""
    if (share == 1).all():
        return second

    def between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        part = share.reshape(-1, *[1] * (a.ndim - 1))
        # A share of 0 must hold for an answer that is no number, too.
        return np.where(part == 0, a, np.where(part == 1, b, (1 - part) * a + part * b))

    errors = between(first.expected_error, second.expected_error)
    return replace(
        second,
        xy=between(first.xy, second.xy),
        score=between(first.score, second.score),
        expected_error=errors,
        ellipse=scale_to(between(shapes_of(first), shapes_of(second)), errors),
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
    device = device_of(stages)
    copies = list(draw_copies(exemplars.mostly_annotated(), cohort, seed, COPIES, EXEMPLARS))

    def look(copied: Copy) -> tuple[LandmarkSet, LandmarkSet]:
        matched = matcher.locate(copied[0])
        return matched, matched if last is matcher else last.locate(copied[0])

    pairs: Pairs = list(spread(look, copies, device))
    eases = matcher.network is None  # what is trained knows the exemplars best
    apart = _measure_apart(matcher, exemplars, cohort) if eases or last is not matcher else None
    if eases and apart is not None:
        pairs = _ease(pairs, copies, apart)
    detector = np.ones(len(matcher.names))
    if last is not matcher:
        # Annotated radiographs count more.
        seen = max(1, round(seen_by(last, cohort) + LABEL * max(0.0, exemplars.answers - 1)))
        detector = _shares(*_compare(pairs, copies), UNSEEN if apart is None else apart, seen)
    trust = Trust(detector, np.ones(len(detector)))
    if refiner is None:
        return trust

    def refine(looked: tuple[Copy, tuple[LandmarkSet, LandmarkSet]]) -> tuple[LandmarkSet, LandmarkSet]:
        (copy, _), (matched, detected) = looked
        coarse = mix(matched, detected, detector)
        return coarse, refiner.refine(copy, coarse)

    refined = list(spread(refine, zip(copies, pairs, strict=True), device))
    before, after = _compare(refined, copies)
    gain = _fall(after.sum() / max(before.sum(), 1e-9), *AS_NEAR)
    return replace(trust, refiner=gain * _fall(after / np.maximum(before, NEAR), *FAR_OFF))


def _shares(matcher: Shares, detector: Shares, apart: float, seen: int) -> Shares:
    """The detector's share `[K]`; the arguments are those of `_common_share`."""
    by_itself = _fall(detector / np.maximum(matcher, ENOUGH), *FAR_OFF)
    learned = by_itself > 0
    if learned.mean() <= 0.5:  # a few that look well do so by chance
        return np.zeros(len(by_itself))
    return np.asarray(by_itself * _common_share(matcher[learned], detector[learned], apart, seen))


def _common_share(matcher: Shares, detector: Shares, apart: float, seen: int) -> float:
    """The detector's share for all landmarks, because a few copies say little about one.

    Args:
        matcher: `[K]` its errors on copies.
        detector: `[K]` its errors on copies.
        apart: How far the matcher's answers lie apart on other radiographs.
        seen: How many radiographs the detector has seen; annotated ones count more.
    """
    averaged = seen / (seen + HALF)
    own = np.square(matcher).mean() + averaged * apart**2
    learning = HARDER / np.sqrt(seen) * np.square(detector).mean()
    share = own / max(own + learning, 1e-12)
    return 0.0 if share < NONE else 1.0 if share > ALL else float(share)


def _measure_apart(matcher: Matcher, exemplars: LandmarkTable, cohort: Cohort) -> float | None:
    """How far the matcher's answers for a place lie apart on other radiographs, as its error there; share of the side.

    None where there is no other radiograph.
    """
    known = exemplars.mostly_annotated().images
    others = [name for name in cohort.names if name not in known]
    asked = cohort.readable(pick_evenly(others, ASKED))

    def look(one: Radiograph) -> float:
        return float(np.nanmean(matcher.locate(one).expected_error)) / one.pixel_length / one.side

    apart = list(spread(look, asked, matcher.fabric.device))
    return APART * fmean(apart) if apart else None


def _fall(value: Any, full: float, none: float) -> Any:
    """1 up to `full`, falling to 0 at `none`."""
    return np.clip((none - value) / (none - full), 0.0, 1.0)


def _ease(pairs: Pairs, copies: Sequence[Copy], apart: float) -> Pairs:
    """The answers of matcher and detector, the matcher's no further off than its answers elsewhere lie apart."""
    own = float(np.sqrt(np.square(_compare(pairs, copies)[0]).mean()))
    if own <= apart:
        return pairs

    def nearer(found: LandmarkSet, xy: Shares) -> LandmarkSet:
        eased = xy + apart / own * (found.xy - xy)
        return replace(found, xy=np.where(np.isfinite(xy), eased, found.xy))

    eased = [nearer(matched, xy) for (matched, _), (_, xy) in zip(pairs, copies, strict=True)]
    return [
        (mine, mine if detected is matched else detected)
        for mine, (matched, detected) in zip(eased, pairs, strict=True)
    ]


def _compare(pairs: Pairs, copies: Sequence[Copy]) -> tuple[Shares, Shares]:
    """Mean errors `[K]` of two answers on copies; the mean of all where a landmark was on no copy."""
    errors = np.stack(
        [[errors_of(one, xy, copy) for one in pair] for pair, (copy, xy) in zip(pairs, copies, strict=True)]
    )
    known = np.isfinite(errors)
    mean = np.where(known, errors, 0).sum(0) / np.maximum(known.sum(0), 1)
    overall = np.where(known, errors, 0).sum((0, 2)) / np.maximum(known.sum((0, 2)), 1)
    first, second = np.where(known.any(0), mean, overall[:, None])
    return first, second
