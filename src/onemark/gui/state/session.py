"""The state behind the five steps: cohort, schema, annotations with undo, predictions, and what is in view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from onemark.data.landmarks.schema import EMPTY, Schema, match_names
from onemark.data.suggestion import Suggestion
from onemark.gui.state.annotation import Annotation, State, Step, are_same, find_changed
from onemark.gui.state.predictions import Predictions, rename, restrict
from onemark.gui.state.questioning import AnswerBook, Place
from onemark.gui.state.second_reading import Known, SecondReading
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.evaluation.verdict import Verdict

UNDO_DEPTH = 500  # edits per radiograph, some KB each


class Session:
    """What the person is doing. Every change goes through a method, which notifies the listeners.

    Signals:
        annotations_changed: name of the radiograph whose points have changed; empty when an import changed many.
        renamed: old -> new name of landmarks that keep their points under another name.

    Attributes:
        cohort: The radiographs, or None before a folder is open.
        schema: The landmarks to place.
        current: Name of the radiograph in view, or None.
        landmark: Index of the landmark to place next.
        annotations: Radiograph -> the person's points; radiographs that nobody has touched are missing.
        answers: The person's answers to questions about single landmarks.
        predictions: Radiograph -> predicted landmarks.
        errors: Radiograph -> its mean expected error, all in `error_unit`.
        error_unit: `mm` when every spacing is known, else `px`; empty where there are no predictions.
        verdict: Why the predictions are not usable; None where they are, or there are none.
        suggestion: Which radiographs to annotate first; None if nobody asked, or a training has ended since.
        reading: A second, blind reading under way, or None; the points in `annotations` are then those of that reading.
    """

    cohort_changed = Signal()
    schema_changed = Signal()
    current_changed = Signal()
    landmark_changed = Signal()
    annotations_changed = Signal(str)
    predictions_changed = Signal()
    suggestion_changed = Signal()
    reading_changed = Signal()
    renamed = Signal(object)

    def __init__(self) -> None:
        self.cohort: Cohort | None = None
        self.schema: Schema = EMPTY
        self.current: str | None = None
        self.landmark = 0
        self.annotations: dict[str, Annotation] = {}
        self.answers = AnswerBook()
        self.predictions: dict[str, LandmarkSet] = {}
        self.errors: dict[str, float] = {}
        self.error_unit = ""
        self.verdict: Verdict | None = None
        self._typical: float | None = None
        self.suggestion: Suggestion | None = None
        self.reading: SecondReading | None = None
        self._undo: dict[str, list[Step]] = defaultdict(list)
        self._redo: dict[str, list[Step]] = defaultdict(list)

    def open(self, cohort: Cohort) -> None:
        """Open another cohort and drop everything about the previous one, which its autosave keeps."""
        self.cohort, self.current, self.landmark = cohort, None, 0
        self.suggestion, self.reading, self.verdict, self._typical = None, None, None, None
        self.error_unit = ""
        for kept in (self.annotations, self.predictions, self.errors, self._undo, self._redo):
            kept.clear()
        self.cohort_changed.emit()

    @property
    def listed(self) -> tuple[str, ...]:
        """The radiographs to list: all of them, or those of a second reading in its order."""
        if self.reading is not None:
            return self.reading.names
        return self.cohort.names if self.cohort is not None else ()

    def begin_reading(self, first: Iterable[LandmarkSet], again: Mapping[str, Annotation]) -> None:
        """Hide everything that is known, and list only these radiographs, in this order.

        Args:
            first: What is known of the radiographs to read again.
            again: The points of the second reading so far, where it continues.
        """
        first = tuple(first)
        known = Known(
            self.annotations,
            self.predictions,
            self.errors,
            self.error_unit,
            self.verdict,
            self.suggestion,
            self._undo,
            self._redo,
        )
        self.reading = SecondReading(tuple(one.image for one in first), first, known)
        self._know(Known(dict(again), undo=defaultdict(list), redo=defaultdict(list)))
        self.show(next((name for name in self.reading.names if name not in again), self.reading.names[0]))

    def end_reading(self) -> list[LandmarkSet]:
        """Bring back what was known before; returns the finished points of the second reading."""
        assert self.reading is not None
        again, known = self.exemplar_sets(), self.reading.known
        self.reading = None
        self._know(known)
        if self.current is not None:
            self.show(self.current)
        return again

    def check_not_reading(self) -> None:
        """Refuse what would mix the second reading with the first. Raises UserError during a second reading."""
        if self.reading is not None:
            raise UserError("a second reading is under way; finish or discard it first")

    @property
    def own_annotations(self) -> dict[str, Annotation]:
        """The person's points, even while a second reading hides them."""
        return self.annotations if self.reading is None else self.reading.known.annotations

    def _know(self, known: Known) -> None:
        self.annotations, self.predictions, self.errors = known.annotations, known.predictions, known.errors
        self.verdict, self.suggestion, self._typical = known.verdict, known.suggestion, None
        self.error_unit = known.error_unit
        self._undo, self._redo = known.undo, known.redo
        self.predictions_changed.emit()
        self.annotations_changed.emit("")
        self.reading_changed.emit()

    def show(self, name: str) -> None:
        """Bring a radiograph into view and ask for its first open landmark."""
        if self.cohort is None or name not in self.cohort:
            raise UserError(f"{name} is not among the open radiographs; open its folder first")
        self.current = name
        self.landmark = self.find_next_open(-1) or 0
        self.current_changed.emit()
        self.landmark_changed.emit()

    def set_schema(self, schema: Schema, *, renaming: bool = True) -> None:
        """Change the landmarks; points and predictions keep their landmark by name.

        Args:
            schema: The new landmarks.
            renaming: Whether a new name in the position of a missing one is the same landmark, renamed.

        Raises:
            UserError: a second reading is under way.
        """
        self.check_not_reading()
        sources = match_names(self.schema.names, schema.names, renaming=renaming)
        for image in self.annotations:
            self.annotations[image] = self.annotations[image].reorder(sources)
        for steps in (*self._undo.values(), *self._redo.values()):
            # Each state of a step is an annotation, or None where there was none.
            steps[:] = [tuple(one and one.reorder(sources) for one in step) for step in steps]  # type: ignore[misc]
        renamed = {
            self.schema.names[i]: name
            for i, name in zip(sources, schema.names, strict=True)
            if i is not None and self.schema.names[i] != name
        }
        self.schema = schema
        if renamed:
            self.predictions = {image: rename(one, renamed) for image, one in self.predictions.items()}
            self.answers.rename(renamed)
            self.renamed.emit(renamed)
        self._ask_from(min(self.landmark, max(len(schema) - 1, 0)))
        self.schema_changed.emit()
        if self.current is not None:
            self.annotations_changed.emit(self.current)
        self.landmark_changed.emit()

    def find_lost(self, schema: Schema, *, renaming: bool = True) -> list[str]:
        """Find the landmarks with placed points that a change to `schema` would drop."""
        kept = set(match_names(self.schema.names, schema.names, renaming=renaming))
        used = [np.any([m.placed[i] for m in self.annotations.values()]) for i in range(len(self.schema))]
        return [name for i, name in enumerate(self.schema.names) if used[i] and i not in kept]

    def select(self, landmark: int) -> None:
        """Ask for this landmark next; indices wrap around."""
        if len(self.schema):
            self.landmark = landmark % len(self.schema)
            self.landmark_changed.emit()

    def find_next_open(self, after: int) -> int | None:
        """Find the next landmark in view that is neither placed nor hidden, in cyclic order; None when all are done."""
        done = self.shown_annotation.done
        order = [(after + 1 + i) % len(done) for i in range(len(done))]
        return next((i for i in order if not done[i]), None)

    def _ask_from(self, landmark: int) -> None:
        following = self.find_next_open(landmark - 1)
        self.landmark = landmark if following is None else following

    @property
    def shown_annotation(self) -> Annotation:
        """The points in view: the person's, else the prediction to be corrected, else none."""
        return self.annotation_of(self.current) if self.current else Annotation.blank(len(self.schema))

    def annotation_of(self, image: str) -> Annotation:
        """As `shown_annotation`, for any radiograph."""
        if image in self.annotations:
            return self.annotations[image]
        one, names = self.prediction_of(image), self.schema.names
        return Annotation.of(one, names, corrects=True) if one else Annotation.blank(len(names))

    def answer(self, image: str, landmark: str, place: Place | None) -> None:
        """Keep the answer to a question, or "not visible"; where a correction is begun, it is put there, too."""
        self.answers.put(image, landmark, place)
        if image in self.annotations and landmark in self.schema.names:
            own, k = self.annotations[image], self.schema.names.index(landmark)
            self._remember(image, own.hide(k) if place is None else own.place(k, place))
        self.annotations_changed.emit(image)

    def prediction_of(self, image: str) -> LandmarkSet | None:
        """A prediction with the person's answers in it; None where there is none."""
        return self.answers.laid_over(self.predictions[image]) if image in self.predictions else None

    def edit(self, change: Callable[[Annotation], Annotation], *, ask_next: bool = True) -> None:
        """Change the points in view; the step can be undone.

        Args:
            change: Turns the points in view into the new ones.
            ask_next: Move on to the next open landmark.
        """
        if self.current is None:
            return
        new = change(self.shown_annotation)
        kept = new if new.done.any() or new.corrects else None
        if not are_same(self.annotations.get(self.current), kept):
            self._remember(self.current, kept)
        following = self.find_next_open(self.landmark) if ask_next else None
        if following is not None:
            self.landmark = following
        self.annotations_changed.emit(self.current)
        self.landmark_changed.emit()

    def place(self, landmark: int, xy: Any) -> None:
        """Place or move a landmark of the radiograph in view."""
        if landmark < len(self.schema):
            self.edit(lambda annotation: annotation.place(landmark, xy))

    def hide(self, landmark: int) -> None:
        """Declare a landmark of the radiograph in view not visible."""
        if landmark < len(self.schema):
            self.edit(lambda annotation: annotation.hide(landmark))

    def confirm(self) -> None:
        """Accept the points in view; a predicted radiograph becomes a corrected one.

        Raises:
            UserError: a landmark is neither placed nor declared not visible.
        """
        annotation = self.shown_annotation
        if not annotation.complete:
            missing = self.find_next_open(-1)
            what = (
                "no landmark is placed" if missing is None else f"{self.schema.names[missing]} is not placed"
            )
            raise UserError(f"{self.current}: {what}; place it, or say that it is not visible")
        self.edit(Annotation.confirm)

    def undo(self) -> bool:
        """Undo the last edit of the radiograph in view; False when there is none."""
        return self._step(self._undo, self._redo, 0)

    def redo(self) -> bool:
        """Redo the last undone edit; False when there is none."""
        return self._step(self._redo, self._undo, 1)

    def _remember(self, image: str, new: Annotation | None) -> None:
        self._undo[image].append((self.annotations.get(image), new))
        del self._undo[image][:-UNDO_DEPTH]
        self._redo[image].clear()
        self._put(image, new)

    def _step(self, source: dict[str, list[Step]], target: dict[str, list[Step]], side: int) -> bool:
        if self.current is None or not source[self.current]:
            return False
        step = source[self.current].pop()
        target[self.current].append(step)
        self._put(self.current, step[side])
        self._ask_from(find_changed(step, len(self.schema), self.landmark))
        self.annotations_changed.emit(self.current)
        self.landmark_changed.emit()
        return True

    def _put(self, image: str, annotation: Annotation | None) -> None:
        if annotation is None:
            self.annotations.pop(image, None)
        else:
            self.annotations[image] = annotation

    def set_predictions(self, predictions: Predictions) -> None:
        """Replace the predictions; the person's own points stay as they are."""
        if self.reading is not None:
            # A training has ended meanwhile, and the reading must stay blind.
            known = self.reading.known
            known.predictions, known.errors = predictions.sets, predictions.errors
            known.verdict, known.error_unit = predictions.verdict, predictions.unit
            return
        self.predictions, self.errors = predictions.sets, predictions.errors
        self.verdict, self.error_unit, self._typical = predictions.verdict, predictions.unit, None
        self.predictions_changed.emit()

    @property
    def typical_error(self) -> float:
        """Median over the radiographs of their mean expected errors, in `error_unit`; 0 where there are none."""
        if self._typical is None:
            known = [error for error in self.errors.values() if np.isfinite(error)]
            self._typical = float(np.median(known)) if known else 0.0
        return self._typical

    def set_suggestion(self, suggestion: Suggestion | None) -> None:
        """Replace the suggestion, limited to the open radiographs; None when nobody needs it any more."""
        names = frozenset(self.cohort.names if self.cohort is not None else ())
        suggestion = suggestion.within(names.__contains__) if suggestion is not None else None
        if self.reading is not None:
            self.reading.known.suggestion = suggestion
            return
        self.suggestion = suggestion
        self.suggestion_changed.emit()

    def place_in_suggestion(self, image: str) -> int | None:
        """1 for the radiograph to annotate first, and so on; None for others and for those that the person has begun."""
        if self.suggestion is None or image in self.annotations:
            return None
        return self.suggestion.place(image)

    def import_annotations(self, table: LandmarkTable) -> tuple[int, list[str]]:
        """Import points placed elsewhere as exemplars, and single answers, which hide no predictions, as answers.

        Args:
            table: Landmarks of radiographs, some of which may be in the cohort.

        Returns:
            How many radiographs got points, and the names of those that kept their own.

        Raises:
            UserError: a second reading is under way.
        """
        self.check_not_reading()
        taken, there = 0, [one for one in table if self.cohort is not None and one.image in self.cohort]
        kept = [one.image for one in there if one.image in self.annotations]
        for one in (one for one in there if one.image not in kept and one.answered.any()):
            own = Annotation.of(one, self.schema.names)
            if one.image in self.predictions and not own.complete:
                self.answers.add([one], newer=True)
            else:
                self._remember(one.image, own)
            taken += 1
        if taken:
            self._ask_from(self.landmark)
            self.annotations_changed.emit("")
            self.landmark_changed.emit()
        return taken, kept

    def state(self, image: str) -> State:
        """What is known about a radiograph."""
        if image in self.annotations:
            return self.annotations[image].state
        return State.PREDICTED if image in self.predictions else State.NONE

    def exemplar_sets(self) -> list[LandmarkSet]:
        """The person's points on every finished radiograph: exemplars and corrected ones."""
        return [
            LandmarkSet(image, self.schema.names, self.annotations[image].xy.copy())
            for image in self.list_finished()
        ]

    def list_finished(self) -> Iterator[str]:
        """List the radiographs whose points are finished, lazily, because `any` needs only the first."""
        return (i for i, m in self.annotations.items() if m.state in (State.EXEMPLAR, State.CORRECTED))

    def list_unfinished(self) -> list[str]:
        """List the radiographs with unfinished points, which training leaves out."""
        return [i for i, m in self.annotations.items() if m.state in (State.ANNOTATING, State.CORRECTING)]

    def collect_results(self) -> list[LandmarkSet]:
        """Collect what to export, in the cohort's order: the person's finished points, else the predictions."""
        predicted = {one.image: self.answers.laid_over(one) for one in self.predictions.values()}
        best = predicted | {one.image: one for one in self.exemplar_sets()}
        names = [name for name in (self.cohort.names if self.cohort else ()) if name in best]
        # The model still predicts a landmark that the person has since removed from the schema.
        sets = (restrict(best[name], self.schema.names or best[name].names) for name in names)
        return [one for one in sets if one.names]
