"""Which way up each radiograph lies, relative to the exemplar: found by registration, without a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.letterbox import Letterbox, canvas_for
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation, Pairs
from onemark.nn.registration.features import describe_appearance
from onemark.nn.registration.register import fit_affine
from onemark.progress import Progress, Sink, watched_by
from onemark.types import LandmarkSet, Radiograph

SLOT = "orientation"
"""Names the orienter beside the stages' slots, in weights files and progress."""

AREA = (
    20480  # px of the canvas: a lateral skull, a hand and a jaw differ from their mirror images at 160 x 128
)
STRIDE = 8
STEPS = 20
FIRST = (
    20  # radiographs of which all eight orientations are tried, to know how unlike upright ones usually are
)
USUAL = 1.3  # times that unlikeness: such a radiograph is taken as upright without trying the others
CLEARLY = 0.85  # of the unlikeness of the radiograph as it lies: a better orientation must reach that
# The same where no radiograph of the cohort reaches it: of 169 upright chests, two are between both limits.
SURELY = 0.72
# The logarithm of how much more unlike a pair of radiographs is where one is mirrored: it is within this of 0 for no pair
# of lateral skulls and for 2 % of hands at most, but for 9 % of bent spines at least, 12 of jaws and 42 of chests.
HARDLY = 0.1
HARDLY_SHARE = 0.05  # of the pairs: from then on a better fit of a mirror image means nothing
STRANGE = 2.0  # times the usual unlikeness: such a radiograph has no say about mirror images
WITNESSES = (
    3  # with the exemplar alone, 2 of 150 cephalograms that lie as it does were taken for mirror images
)
TOGETHER = 16  # radiographs that are compared at once
STRETCH = 1.5  # as for mixed cohorts: upright radiographs of any shape fill the canvas
NAMED = 5  # radiographs that a message names


Weighed = tuple[Orientation, float]
"""An orientation, and how unlike others a radiograph is in it, as a share of how unlike it is as it lies."""
AS_IT_LIES: Weighed = (UPRIGHT, 1.0)


@dataclass(frozen=True)
class Orienter:
    """Finds the orientation of radiographs relative to an exemplar.

    Attributes:
        canvas: `[1 + W, 1, H, W]` the exemplar, and witnesses: radiographs of the cohort that lie as it does.
        usual: How unlike upright radiographs of the cohort are, at the median.
        mirrors: Whether a mirror image can be recognized, as of a lateral skull; of a spine it cannot.
        known: Name -> orientation of the radiographs of the cohort that were looked at.
        swap: Landmarks that change names with each other on mirrored radiographs.
    """

    canvas: torch.Tensor
    usual: float = 0.0
    mirrors: bool = True
    known: Mapping[str, Orientation] = field(default_factory=dict)
    swap: Pairs = ()

    @cached_property
    def _features(self) -> torch.Tensor:
        return describe_appearance(self.canvas, STRIDE)

    @property
    def other_ways(self) -> dict[str, Orientation]:
        """Name -> orientation of the radiographs that lie otherwise than the exemplar."""
        return {name: self._with_pairs(one) for name, one in self.known.items() if not one.is_upright}

    def _with_pairs(self, orientation: Orientation) -> Orientation:
        return replace(orientation, swap=self.swap)

    def find(self, radiograph: Radiograph) -> Orientation:
        """The orientation of a radiograph; upright where no other is clearly better."""
        return self.look(radiograph)[0]

    @property
    def limit(self) -> float:
        """What share of a radiograph's unlikeness as it lies another orientation must reach.

        Where some of the cohort surely lie otherwise, others may, too; else one that seems to is rather an odd one.
        """
        return CLEARLY if self.other_ways else SURELY

    def weigh_all(self, cohort: Cohort, names: Sequence[str]) -> dict[str, Weighed]:
        """Name -> the best orientation of the radiographs that can be read, compared together as they lie."""
        limit = USUAL * self.usual
        unlike = self.compare(cohort.readable(names), [UPRIGHT], enough=limit)
        doubtful = [name for name, values in unlike.items() if values[0] > limit]
        turned = self.compare(cohort.readable(doubtful), ALL[1:])
        found = dict.fromkeys(unlike, AS_IT_LIES)
        for name, others in turned.items():
            every = [*unlike[name], *others]
            if not self.choose(every).is_upright:
                found[name] = self._weigh(cohort[name], every)
        return found

    def look(self, radiograph: Radiograph) -> tuple[Orientation, float]:
        """The orientation as of `find`, and how unlike the exemplar it is then, as a multiple of the usual.

        The multiple is at most so much where the radiograph is as like the exemplar as upright ones usually are: it is
        then not fitted to the end.
        """
        usual = self.usual or float("inf")
        limit = USUAL * self.usual
        as_it_lies = self.unlikeness(radiograph, [UPRIGHT], enough=limit)[0]
        if as_it_lies <= limit:
            return UPRIGHT, as_it_lies / usual
        unlike = [as_it_lies, *self.unlikeness(radiograph, ALL[1:])]
        found, share = self._weigh(radiograph, unlike)
        found = found if share < self.limit else UPRIGHT
        return found, unlike[ALL.index(found)] / usual

    def choose(self, unlike: Sequence[float]) -> Orientation:
        """The orientation, from how unlike the exemplar a radiograph is in each of the eight."""
        possible = [n for n, one in enumerate(ALL) if self.mirrors or not one.mirrored]
        best = min(possible, key=lambda n: unlike[n])
        return ALL[best] if unlike[best] < CLEARLY * unlike[0] else UPRIGHT

    def _weigh(self, radiograph: Radiograph, unlike: Sequence[float]) -> Weighed:
        """The orientation that is best for the exemplar, and its share for exemplar and witnesses together.

        A radiograph may be less like the exemplar than its own mirror image.
        """
        found = self.choose(unlike)
        if found.is_upright:
            return AS_IT_LIES
        pairs = [(unlike[0], unlike[ALL.index(found)])]
        for witness in range(1, len(self.canvas)):
            as_it_lies, turned = self.unlikeness(radiograph, [UPRIGHT, found], witness)
            pairs.append((as_it_lies, turned))
        as_it_lies, turned = map(sum, zip(*pairs, strict=True))
        return self._with_pairs(found), turned / as_it_lies

    def unlikeness(
        self,
        radiograph: Radiograph,
        orientations: Sequence[Orientation],
        reference: int = 0,
        enough: float | None = None,
    ) -> list[float]:
        """How unlike the exemplar, or a witness, a radiograph is in some orientations.

        Args:
            radiograph: The radiograph.
            orientations: How to turn it.
            reference: 0 for the exemplar, n for the nth witness.
            enough: As for `fit_affine`.

        Returns:
            For each orientation, the mean squared difference after the best affine map.
        """
        return self.compare([radiograph], orientations, reference, enough)[radiograph.name]

    def compare(
        self,
        radiographs: Iterable[Radiograph],
        orientations: Sequence[Orientation],
        reference: int = 0,
        enough: float | None = None,
    ) -> dict[str, list[float]]:
        """Name -> the same for several radiographs at once, which takes much less time.

        Only their canvases are kept, so that a batch of large scans takes no more memory than one.
        """
        size = (self.canvas.shape[2], self.canvas.shape[3])
        turned = {
            one.name: torch.cat([_render(way.turn_pixels(one.pixels), size) for way in orientations])
            for one in radiographs
        }
        if not turned:
            return {}
        theirs = describe_appearance(torch.cat(list(turned.values())), STRIDE)
        ours = self._features[reference : reference + 1].expand(len(theirs), -1, -1, -1)
        _, unlike = fit_affine(ours, theirs, STEPS, STRIDE, scales=(1.0,), enough=enough)
        return dict(zip(turned, unlike.view(len(turned), -1).tolist(), strict=True))

    def is_of(self, exemplar: Radiograph) -> bool:
        """Whether an exemplar's picture is the one that radiographs are compared with."""
        size = (self.canvas.shape[2], self.canvas.shape[3])
        return canvas_for([exemplar.size], AREA) == size and torch.allclose(
            _render(exemplar.pixels, size), self.canvas[:1], atol=1e-3
        )

    def state(self) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        known = {name: [one.mirrored, one.quarters] for name, one in self.known.items()}
        return {"canvas": self.canvas}, {"usual": self.usual, "mirrors": self.mirrors, "known": known}

    @classmethod
    def restore(
        cls, tensors: Mapping[str, torch.Tensor], head: Mapping[str, Any], swap: Pairs = ()
    ) -> Orienter:
        """The orienter that `state` described, with the pairs of the run's configuration."""
        known = {name: Orientation(bool(m), int(q) % 4) for name, (m, q) in head["known"].items()}
        return cls(tensors["canvas"], float(head["usual"]), bool(head["mirrors"]), known, swap)


def find_reference(exemplars: LandmarkTable) -> str:
    """The image that says how radiographs lie: the first exemplar that shows a landmark."""
    return next((one.image for one in exemplars if one.visible.any()), exemplars.images[0])


def learn_orientations(
    cohort: Cohort,
    exemplars: LandmarkTable,
    sink: Sink,
    saved: tuple[Mapping[str, torch.Tensor], Mapping[str, Any]] | None = None,
    swap: Pairs = (),
) -> Orienter:
    """Find how radiographs of a cohort lie relative to the first exemplar.

    Args:
        cohort: The radiographs; those that cannot be read are passed over; who reads them next says so.
        exemplars: At least one of them.
        sink: Takes the progress.
        saved: What an earlier training found, with the same picture of the first exemplar. Radiographs that it lacks are
            looked at, and once more those that were turned: their files may lie upright by now.
        swap: Landmarks that change names with each other on mirrored radiographs.
    """
    first = find_reference(exemplars)
    others = [name for name in cohort.names if name != first]
    orienter = Orienter.restore(*saved) if saved else None
    if orienter is None or not orienter.is_of(cohort[first]):
        orienter = _start(cohort, first, others)
    orienter = replace(orienter, swap=swap)
    upright = {name: way for name, way in orienter.known.items() if way.is_upright or name not in cohort}
    known, weighed = {first: UPRIGHT, **upright}, dict[str, Weighed]()
    for start in range(0, len(others), TOGETHER):
        some = others[start : start + TOGETHER]
        weighed |= orienter.weigh_all(cohort, [name for name in some if name not in known])
        sink(Progress(SLOT, start + len(some), len(others)))
    surely = any(share < SURELY for _, share in weighed.values())
    limit = CLEARLY if surely else orienter.limit
    known |= {name: way if share < limit else UPRIGHT for name, (way, share) in weighed.items()}
    return replace(orienter, known=known)


def _start(cohort: Cohort, first: str, others: Sequence[str]) -> Orienter:
    """Try all orientations of a few radiographs, to know how unlike upright ones are and whether mirror images differ."""
    exemplar = cohort[first]
    orienter = Orienter(_render(exemplar.pixels, canvas_for([exemplar.size], AREA)))
    tried = pick_evenly(others, FIRST)
    unlike = orienter.compare(cohort.readable(tried), ALL)
    if not unlike:
        return orienter
    size = (orienter.canvas.shape[2], orienter.canvas.shape[3])
    best = {name: ALL[int(np.argmin(values))] for name, values in unlike.items()}
    lying = [_render(way.turn_pixels(cohort[name].pixels), size) for name, way in best.items()]
    mirrors = _mirror_images_differ(torch.cat([orienter.canvas, *lying]))
    possible = [n for n, one in enumerate(ALL) if mirrors or not one.mirrored]
    usual = float(np.median([min(values[n] for n in possible) for values in unlike.values()]))
    orienter = replace(orienter, usual=usual, mirrors=mirrors)
    upright = [name for name, values in unlike.items() if orienter.choose(values).is_upright]
    witnesses = sorted(upright, key=lambda name: unlike[name][0])[:WITNESSES]
    canvases = [orienter.canvas, *(_render(cohort[name].pixels, size) for name in witnesses)]
    return replace(orienter, canvas=torch.cat(canvases), known=dict.fromkeys(upright, UPRIGHT))


def _mirror_images_differ(canvases: torch.Tensor) -> bool:
    """Whether radiographs `[B, 1, H, W]` that lie alike, or as mirror images, clearly tell which of both it is.

    A skull that faces left is far from all that face right. Of frontal radiographs, some pairs are more alike where one
    is mirrored, such as spines that bend to other sides, and some hardly are: no gap parts the two kinds.
    """
    one, other = torch.triu_indices(len(canvases), len(canvases), 1)
    ours, mirrored = (describe_appearance(each, STRIDE) for each in (canvases, canvases.flip(-1)))
    _, as_they_lie = fit_affine(ours[one], ours[other], STEPS, STRIDE, scales=(1.0,))
    _, as_mirrored = fit_affine(ours[one], mirrored[other], STEPS, STRIDE, scales=(1.0,))
    # A radiograph unlike all others, such as one of another body part, says nothing either way.
    unlike, count = torch.minimum(as_they_lie, as_mirrored), len(canvases)
    usual = torch.stack([unlike[(one == n) | (other == n)].median() for n in range(count)])
    alike = usual <= STRANGE * usual.median()
    hardly = ((as_mirrored / as_they_lie).log().abs() < HARDLY)[alike[one] & alike[other]]
    return len(hardly) > 0 and float(hardly.float().mean()) <= HARDLY_SHARE


def turn_table(
    table: LandmarkTable, cohort: Cohort, orientations: Mapping[str, Orientation]
) -> LandmarkTable:
    """Landmarks of radiographs as they lie, on the upright ones."""
    return LandmarkTable.from_sets(
        orientations.get(one.image, UPRIGHT).turn_landmarks(one, cohort.header(one.image).size)
        for one in table
    )


@dataclass(frozen=True)
class RestoringSink:
    """Passes events on, with previews on the radiographs as they lie.

    Attributes:
        sink: Who gets the events.
        cohort: The radiographs as they lie.
        orientations: Name -> how the stages see one.
    """

    sink: Sink
    cohort: Cohort
    orientations: Mapping[str, Orientation]

    def __call__(self, event: Progress) -> None:
        """Pass an event on."""
        restored = [self._restore(one) for one in event.preview]
        self.sink(replace(event, preview=restored) if restored else event)

    def watched(self) -> str | None:
        """The radiograph that previews should show first."""
        return watched_by(self.sink)

    def _restore(self, one: LandmarkSet) -> LandmarkSet:
        orientation = self.orientations.get(one.image, UPRIGHT)
        return orientation.restore(one, self.cohort.header(one.image).size)


def describe_orientations(found: Mapping[str, Orientation]) -> str:
    """One sentence for the person: which radiographs lie otherwise than the exemplar."""
    named = [f"{name} ({one})" for name, one in list(found.items())[:NAMED]]
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    count = "1 radiograph does" if len(found) == 1 else f"{len(found)} radiographs do"
    where = "points are mapped back to the files as they are"
    if any(one.mirrored and one.swap for one in found.values()):
        where += ", and left-right pairs change names on the mirrored ones"
    return f"{count} not lie as the exemplar does: {', '.join(named)}{more}; {where}"


def _render(pixels: np.ndarray, canvas: tuple[int, int]) -> torch.Tensor:
    size = (pixels.shape[0], pixels.shape[1])
    return Letterbox.fit(size, canvas, STRETCH).render(pixels)[None, None]
