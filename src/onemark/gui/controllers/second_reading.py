"""A second, blind reading of a random subset, saved as files that `onemark agree` reads."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QObject, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state.annotation import Annotation, State
from onemark.gui.state.autosave import find_unused
from onemark.gui.state.second_reading import choose_subset, read_first, split_saved
from onemark.types import UserError

FOLDER = "readings"


class Rereading(QObject):
    """Begins, continues and ends a second reading.

    Signals:
        changed: It has begun or ended, or a radiograph of it has changed.

    Attributes:
        rng: Draws the radiographs; None for a fresh source of randomness each time.
    """

    changed = Signal()

    def __init__(self, context: Context, session_store: SessionStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self.rng: np.random.Generator | None = None
        session = context.session
        session.reading_changed.connect(self.changed.emit)
        session.cohort_changed.connect(self.changed.emit)
        session.annotations_changed.connect(lambda image: self.changed.emit())

    @property
    def counts(self) -> tuple[int, int]:
        """How many radiographs of the reading are finished, and how many there are."""
        reading = self.context.session.reading
        return len(list(self.context.session.list_finished())), len(reading.names) if reading else 0

    def begin(self, count: int, *, own: bool) -> None:
        """Begin a second reading.

        Args:
            count: How many radiographs.
            own: Whether to draw from those that the person has finished; else from the predicted ones, too.

        Raises:
            UserError: there is nothing to read again, or a reading is under way.
        """
        session = self.context.session
        session.check_not_reading()
        sets = session.collect_results()
        if own:
            sets = [one for one in sets if session.state(one.image) in (State.EXEMPLAR, State.CORRECTED)]
        session.begin_reading(choose_subset(sets, count, self.rng), {})
        self.session_store.save()

    def restore(self) -> None:
        """Continue the reading of the saved session, if there is one; radiographs that are not there wait."""
        session, saved = self.context.session, self.session_store.waiting_reading
        if saved is None or session.cohort is None:
            return
        here, waiting = split_saved(saved, session.cohort, session.schema.names)
        self.session_store.waiting_reading = waiting if waiting["first"] else None
        if here["first"]:
            again = {image: Annotation.from_json(one) for image, one in here["annotations"].items()}
            session.begin_reading(read_first(here), again)
        if count := len(waiting["first"]):
            self.context.tell(
                f"{count} radiographs of the second reading are not in the folder, or had other landmarks; onemark keeps "
                "their points.",
                "warn",
                [("Forget them", self._forget_waiting)],
            )

    def finish(self) -> None:
        """End the reading, and write both readings of its finished radiographs beside the runs.

        Raises:
            UserError: no radiograph of it is finished, or the files cannot be written; the reading then goes on.
        """
        from onemark.data.landmarks.table import LandmarkTable

        session, work = self.context.session, self.session_store.work
        reading = session.reading
        if reading is None or work is None:
            return
        again = session.exemplar_sets()
        if not again:
            raise UserError(
                "no radiograph of this reading has all of its landmarks yet; place them, or discard it"
            )
        stem = find_unused(work / FOLDER / time.strftime("%Y-%m-%d-%H%M%S-second.csv"))
        first = stem.with_name(stem.name.replace("-second", "-first"))
        read = {one.image for one in again}
        LandmarkTable.from_sets(one for one in reading.first if one.image in read).to_csv(first)
        LandmarkTable.from_sets(again).to_csv(stem)
        left = len(reading.names) - len(again)
        self._end()
        also = f" {left} unfinished radiographs are left out." if left else ""
        if waiting := self.session_store.waiting_reading:
            also += f" {len(waiting['first'])} more wait for their radiographs."
        self.context.tell(
            f"Both readings of {len(again)} radiographs are in {stem.parent}.{also} Compare them: onemark agree "
            f"{first.name} {stem.name}",
            "good",
        )

    def discard(self) -> None:
        """End the reading and forget its points."""
        if self.context.session.reading is not None:
            self._end()

    def _forget_waiting(self) -> None:
        self.session_store.waiting_reading = None
        self.session_store.save()

    def _end(self) -> None:
        self.context.session.end_reading()
        self.session_store.save()
