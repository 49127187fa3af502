"""Which prediction belongs to which true set: by the rule for names that every way in has."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from onemark.data.keys import without_suffix
from onemark.data.names import NameIndex
from onemark.types import LandmarkSet, UserError

Sets = Mapping[str, LandmarkSet]
_PREDICTIONS, _TRUTH = "the predictions", "the truth"


@dataclass(frozen=True)
class Match:
    """Predictions and truth, image by image.

    Attributes:
        ours: Image as the predictions name it -> predicted set.
        theirs: Image as the truth names it -> true set.
        pairs: Image as the truth names it -> as the predictions name it, in the truth's order.
    """

    ours: Sets
    theirs: Sets
    pairs: Mapping[str, str]

    def resolve(self, names: Collection[str]) -> set[str]:
        """The truth's own names of images to exclude; a prediction without truth keeps its name.

        Raises:
            UserError: neither side has such an image, so that a misspelt name cannot let an exemplar count.
        """
        index = NameIndex(tuple(dict.fromkeys([*self.theirs, *self.ours])), f"{_PREDICTIONS} or {_TRUTH}")
        known = {mine: true for true, mine in self.pairs.items()}
        return {known.get(found, found) for found in map(index.resolve, names)}

    def is_same_name(self, image: str) -> bool:
        """Whether both sides name an image alike, up to its suffix."""
        return without_suffix(image) == without_suffix(self.pairs[image])

    def explain(self, image: str) -> str:
        """Why an image of the truth has no prediction, with what may have been meant."""
        try:
            found = NameIndex(tuple(self.ours), _PREDICTIONS).resolve(image)
        except UserError as error:
            return str(error)
        return f"{found!r} of the predictions belongs to another image"


def match_images(ours: Sets, theirs: Sets) -> Match:
    """Pair images by their very names, then by `onemark.data.names.NameIndex`, whichever side says less.

    The very name counts first; otherwise a pair counts only where no other image may be meant.

    Args:
        ours: Image -> predicted set.
        theirs: Image -> true set.
    """
    pairs = {image: image for image in theirs if image in ours}
    left = [image for image in ours if image not in pairs]
    true, mine = NameIndex(tuple(theirs), _TRUTH), NameIndex(tuple(left), _PREDICTIONS)
    meant: dict[str, set[str]] = {image: set() for image in theirs if image not in pairs}
    for image in left:
        with contextlib.suppress(UserError):
            meant.get(true.resolve(image), set()).add(image)
    for image, found in meant.items():
        with contextlib.suppress(UserError):
            found.add(mine.resolve(image))
    taken = Counter(image for found in meant.values() for image in found)
    pairs |= {image: next(iter(found)) for image, found in meant.items() if len(found) == 1}
    single = {image: name for image, name in pairs.items() if taken[name] <= 1}
    return Match(ours, theirs, {image: single[image] for image in theirs if image in single})
