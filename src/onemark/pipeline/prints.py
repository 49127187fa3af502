"""Fingerprints of the exemplars: whether a picture is still the one that was annotated."""

from __future__ import annotations

from collections.abc import Mapping

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.pipeline.model import fingerprint
from onemark.progress import Progress, Sink
from onemark.types import UserError


def take_prints(
    cohort: Cohort, exemplars: LandmarkTable, known: Mapping[str, str], sink: Sink
) -> dict[str, str]:
    """The exemplars' fingerprints; says whose picture was replaced, which the model takes for a stranger.

    Args:
        cohort: The radiographs as they lie.
        exemplars: What a person annotated.
        known: Image -> fingerprint of the picture that was annotated, where it was taken before.
        sink: Takes the messages.
    """
    prints: dict[str, str] = {}
    for image in exemplars.images:
        try:
            now = fingerprint(cohort[image])
        except UserError:
            now = ""
        prints[image] = known.get(image, now)
        if prints[image] != now:
            where = printable(cohort.path(image))
            message = f"{where} was replaced after it was annotated: its points are of the former picture"
            sink(Progress("read", 0, 1, message=message))
    return prints
