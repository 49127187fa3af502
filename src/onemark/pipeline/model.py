"""A fitted recipe, which predicts landmarks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.images.header import Header
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.landmarks.units import scale_errors
from onemark.imaging.ellipses import make_round
from onemark.imaging.orientation import UPRIGHT, Orientation
from onemark.nn.threads import spread
from onemark.pipeline.orienting import Orienter
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import Progress, Sink, silent
from onemark.stages.answers import Stages, device_of, locators_of, refiner_of
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import Trust, ask, ask_locators
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError, mean_side
from onemark.uncertainty.error_model import ErrorModel
from onemark.uncertainty.learning import add_expected_errors, doubt_stranger


@dataclass
class Model:
    """A fitted recipe.

    Attributes:
        recipe: Name of the recipe.
        stages: Slot -> fitted stage.
        exemplars: What a person annotated; returned unchanged for these very radiographs.
        fingerprints: Image name of an exemplar -> digest of its pixels.
        cohort: The radiographs it learned from, when they are at hand.
        log: One dict per training step: stage, step, loss, seconds.
        error_model: Gives expected errors; None where the cohort is too small: they are then the width of the peak.
        orienter: Brings radiographs upright, as the first exemplar lies; None where they are read as they lie.
        trust: How far detector and refiner are believed; None where the last stage counts alone.
        folder: The run that keeps it, if there is one.
        mean_error: What answers showed of each landmark's mean error; None where there were none.
    """

    recipe: str
    stages: Stages
    exemplars: LandmarkTable
    fingerprints: Mapping[str, str]
    cohort: Cohort | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    error_model: ErrorModel | None = None
    orienter: Orienter | None = None
    trust: Trust | None = None
    folder: RunFolder | None = None
    mean_error: MeanError | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The landmark names, in the exemplars' order."""
        return self.exemplars.names

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of one radiograph; for an exemplar, what the person annotated.

        A landmark that the person said is not visible stays so. Where the person was asked for some landmarks only, the
        others are predicted.
        """
        known = self.fingerprints.get(radiograph.name)
        if known is None or known != fingerprint(radiograph):
            return self.predict_one(radiograph)
        placed = self.exemplars[radiograph.name]
        seen, unit = placed.visible, "px" if radiograph.spacing is None else "mm"
        score, error = seen.astype(float), np.where(seen, 0.0, np.nan)
        if placed.answered.all():
            return LandmarkSet(
                placed.image, placed.names, placed.xy, score, error, unit, ellipse=make_round(error)
            )
        return self.predict_one(radiograph).with_answers(placed)

    def locate_all(self, radiographs: Iterable[Radiograph]) -> Iterator[LandmarkSet]:
        """As `locate` for each of several radiographs, in their order: several at once where there are several cores."""
        return spread(self.locate, radiographs, device_of(self.stages))

    def predict_one(self, radiograph: Radiograph) -> LandmarkSet:
        """As `locate`, but predicted also where a person annotated the radiograph."""
        orientation, unlike = self.look(radiograph)
        upright = orientation.turn(radiograph)
        answers = ask(self.stages, upright, self.trust)
        found = answers.final
        if self.error_model is not None:
            found = add_expected_errors(self.error_model, self.stages, upright, answers)
        if not found.ellipse.size:
            found = replace(found, ellipse=make_round(found.expected_error))
        found = scale_errors(found, doubt_stranger(unlike), found.unit)
        if self.mean_error is not None:
            found = self.mean_error.correct(found, upright.size)
        return orientation.restore(found, radiograph.size)

    def look(self, radiograph: Radiograph) -> tuple[Orientation, float]:
        """How the radiograph is brought upright, and how unlike the exemplar it is, as a multiple of what is usual."""
        return (UPRIGHT, 1.0) if self.orienter is None else self.orienter.look(radiograph)

    def orientation(self, radiograph: Radiograph) -> Orientation:
        """How the radiograph is brought upright before the stages see it."""
        return UPRIGHT if self.orienter is None else self.orienter.find(radiograph)

    def conformal_factor(self, coverage: float = 0.9) -> float | None:
        """The multiple of the expected error that holds a share of true points; None while corrections are few."""
        return None if self.error_model is None else self.error_model.calibration.conformal_factor(coverage)

    def conformal_radii(
        self, found: LandmarkSet, header: Radiograph | Header, coverage: float = 0.9
    ) -> NDArray[np.float64]:
        """Radii of discs around predicted landmarks that hold the true places with this coverage, with a promise.

        `Calibration.conformal_radii` states the promise and its bound. It takes 4 corrections for 80 %, 9 for 90 %, 19
        for 95 %; without them nothing is promised.

        Args:
            found: A prediction of this model.
            header: Its radiograph, or what `Cohort.header` says of it.
            coverage: The share of true places that the discs are to hold, between 0 and 1.

        Returns:
            `[K]` in the unit of the expected errors; infinite where nothing is promised.

        Raises:
            ValueError: a coverage outside 0...1.
        """
        if self.error_model is None:
            return np.full(len(found.names), np.inf)
        side = mean_side(header.size, header.spacing)
        return np.asarray(self.error_model.radii(found.expected_error / side, coverage) * side)

    def predict(self, cohort: Cohort, progress: Sink = silent) -> LandmarkTable:
        """Landmarks of every radiograph that can be read; the others are reported to `progress`.

        Raises:
            UserError: not one radiograph could be read.
            Cancelled: `progress` asked to stop.
        """
        predictions: list[LandmarkSet] = []
        for found in self.locate_all(cohort.readable(sink=progress, ahead=True)):
            predictions.append(found)
            progress(Progress("predict", len(predictions), len(cohort), preview=predictions[-1:]))
        if not predictions:
            raise UserError(f"no radiograph in {cohort.folder} could be read: see the messages above")
        return LandmarkTable.from_sets(predictions)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """What the stages can show for their answers, together.

        Raises:
            UserError: no landmark of that name.
        """
        locators, refiner = locators_of(self.stages), refiner_of(self.stages)
        orientation, name = self.orientation(radiograph), radiograph.name
        radiograph = orientation.turn(radiograph)
        partner = landmark if landmark is None else orientation.partner(landmark)
        upright = partner if partner in self.names else landmark  # as where landmarks are turned
        shown = [stage.explain(radiograph, upright) for stage in locators if stage.explains]
        if refiner is not None and refiner.explains:
            coarse = ask_locators(self.stages, radiograph, self.trust).coarse
            shown.append(refiner.explain(radiograph, coarse, upright))
        maps = {key: orientation.restore_pixels(m) for one in shown for key, m in one.maps.items()}
        fields = [orientation.restore_field(one.field) for one in shown if one.field is not None]
        numbers = {key: n for one in shown for key, n in (one.numbers or {}).items()}
        return Evidence(name, landmark, maps, fields[-1] if fields else None, numbers or None)


def fingerprint(radiograph: Radiograph) -> str:
    """A digest of a radiograph's pixels."""
    return hashlib.blake2b(radiograph.pixels.tobytes(), digest_size=16).hexdigest()
