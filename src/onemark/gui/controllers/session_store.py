"""Saves the session after every edit, and restores it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from onemark.data.landmarks.schema import Schema
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.preferences import Preferences
from onemark.gui.state import autosave
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.questioning import AnswerBook
from onemark.gui.state.run_status import awaits_exemplar, has_learned, read_exemplars
from onemark.gui.state.second_reading import join_saved, rename_saved
from onemark.types import LandmarkSet, UserError


class SessionStore(QObject):
    """The autosave of one session.

    Attributes:
        work: Folder of the session file and the runs, or None before a cohort is open.
        run: Folder of the last run, or None.
        former: The run before that one, until the last one has learned something; else None.
        suggestion_run: Folder of the run that the last suggestion has made, or None if a training has ended since.
        aliases: Run folder -> the run's name of a landmark -> the person's name for it, where they differ now.
        preferences: What the person has chosen.
        answers: What the person has answered to questions.
        waiting_reading: What was saved of a second reading and is not under way: its radiographs may not be there now.
    """

    _troubled = Signal(str, str)

    def __init__(self, context: Context, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context = context
        self.work: Path | None = None
        self.run: Path | None = None
        self.former: Path | None = None
        self.suggestion_run: Path | None = None
        self.aliases: dict[str, dict[str, str]] = {}
        self.preferences = Preferences.from_napari()
        self._autosave: autosave.Autosave | None = None
        self._orphans: dict[str, Any] = {}
        self.waiting_reading: dict[str, Any] | None = None
        self._troubled.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        session = context.session
        session.annotations_changed.connect(lambda image: self.save())
        session.schema_changed.connect(self.save)
        session.renamed.connect(self._follow_names)
        session.current_changed.connect(self.save)

    def begin(self, folder: Path) -> None:
        """Restore the saved session of a cohort's folder, and save it from now on.

        First `end` the previous session, then open the cohort in the session, then call this.
        """
        self.work = autosave.work_folder(folder)
        kept = autosave.read_all(self.work, self._set_unreadable_aside)
        newest, *older = kept or [autosave.find_unused(self.work / autosave.NAME)]
        self.run, self.former, self.suggestion_run, self._orphans = None, None, None, {}
        self.waiting_reading, self.aliases = None, {}
        self.answers.load({})
        self.preferences.contrast, self.preferences.inverted = None, False  # those of another cohort
        if kept:
            saved = autosave.merge(list(kept.values()))
            self._restore(saved)
            self._welcome(saved, older)
        self._autosave = autosave.Autosave(newest, self._post)
        self.save()
        self._put_away(older)

    def save(self, *, closed: bool = False) -> None:
        """Write the session, soon."""
        if self._autosave is not None:
            self._autosave.save(self._make_content(closed))

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._autosave is not None:
            self._autosave.flush()

    def try_save(self) -> bool:
        """Save and wait; True if everything is on disk. Without an autosave, nothing that was placed is."""
        self.save()
        self.flush()
        saved = self._autosave is not None and self._autosave.error is None
        return saved or not self.holds_work

    @property
    def answers(self) -> AnswerBook:
        """The person's answers to questions."""
        return self.context.session.answers

    @property
    def holds_work(self) -> bool:
        """Whether there are points or answers, even such as a second reading hides."""
        session = self.context.session
        return bool(session.own_annotations or session.annotations or self.answers.answers)

    def end(self) -> None:
        """Save the session as properly closed, and stop saving it."""
        if self._autosave is not None:
            self.save(closed=True)
            self._autosave.close()
            self._autosave = None

    def names_of_run(self) -> dict[str, str]:
        """The last run's name of a landmark -> the person's name for it, where they differ."""
        return self.aliases.get(str(self.run), {})

    def collect_sets(self) -> list[LandmarkSet]:
        """The person's finished points, and the answers on all other radiographs."""
        session = self.context.session
        finished = session.exemplar_sets()
        known = {one.image for one in finished}
        answers = self.answers.sets(session.schema.names, session.cohort or ())
        return [*finished, *(one for one in answers if one.image not in known)]

    def has_new_exemplar(self) -> bool:
        """Whether the last run was not taught all landmarks of some finished radiograph."""
        return any(True for _ in self.list_untaught())

    def list_untaught(self) -> Iterator[str]:
        """List the finished radiographs of which the last run was not taught all; none where that is unknown."""
        taught, names = read_exemplars(self.run), self.names_of_run()
        if taught is None:
            return
        told = {one.image: {names.get(name, name) for name in one.answered_names} for one in taught}
        landmarks = set(self.context.session.schema.names)
        for image in self.context.session.list_finished():
            if not landmarks <= told.get(image, set()):
                yield image

    def count_kept(self) -> int:
        """How many radiographs the last run was taught that have no finished points and no answers any more."""
        taught = read_exemplars(self.run)
        answered = (image for image, known in self.answers.answers.items() if known)
        now = {*self.context.session.list_finished(), *answered}
        return 0 if taught is None else len(taught) - sum(image in taught for image in now)

    def _follow_names(self, renamed: dict[str, str]) -> None:
        # The networks of a run go by its own names, so they stay there, and the window translates.
        for run in filter(None, (self.run, self.former)):
            names = self.aliases.setdefault(str(run), {})
            fresh = {old: new for old, new in renamed.items() if old not in names.values()}
            names |= {own: renamed.get(name, name) for own, name in names.items()} | fresh
        # A landmark that had a new name before, and has no other now, has none that is known.
        former = dict.fromkeys(renamed.values(), "") | renamed
        for image, one in self._orphans.items():
            if "names" in one:  # a new dict, because the writer may be reading this one
                self._orphans[image] = one | {"names": [former.get(name, name) for name in one["names"]]}
        if self.waiting_reading is not None:
            self.waiting_reading = rename_saved(self.waiting_reading, former)

    def choose_new_run(self) -> Path:
        """Choose a folder for the next run, which does not exist yet."""
        assert self.work is not None
        return autosave.find_unused(self.work / f"run-{time.strftime('%Y-%m-%d-%H%M%S')}")

    def take_run(self, run: Path) -> None:
        """Make a run from elsewhere, such as the command line, the last run or the last suggestion."""
        if awaits_exemplar(run):
            self.suggestion_run = run
        else:
            self.run, self.former = run, None
        self.save()

    def begin_run(self, run: Path) -> None:
        """Note that a training starts in this folder; remember the run before it until it has learned something."""
        if run != self.run:
            self.former = self.run if has_learned(self.run) else self.former
            self.run = run

    def end_run(self, run: Path) -> None:
        """Note that the training in this folder has ended; return to the run before it if it has learned nothing."""
        # If the folder was reopened during the training, the run before it has become the last one again.
        self.begin_run(run)
        self._settle_run()

    def _settle_run(self) -> None:
        if self.former is not None and not has_learned(self.run):
            self.run = self.former
        self.run, self.former = _existing_folder(self.run), None

    def _tell(self, text: str, kind: str) -> None:
        self.context.tell(text, kind)

    def _post(self, text: str, kind: str) -> None:
        # Called in the writer's thread. The window may be gone by now, and the C++ side of this object with it.
        with contextlib.suppress(RuntimeError):
            self._troubled.emit(text, kind)

    def _set_unreadable_aside(self, path: Path, error: UserError) -> None:
        with contextlib.suppress(OSError):  # where it cannot be renamed, a new session gets another name
            autosave.set_aside(path)
        self.context.tell(str(error), "warn")

    def _put_away(self, older: list[Path]) -> None:
        # Only once their points are on disk. Later they must not be read again, or deleted points would come back.
        if not older or self._autosave is None:
            return
        self._autosave.flush()
        if self._autosave.error is None:
            for path in older:
                autosave.set_aside(path)

    def _make_content(self, closed: bool) -> Callable[[], dict[str, Any]]:
        # Annotations are immutable, so a shallow copy is a snapshot, which the writer's thread can turn into text.
        session = self.context.session
        annotations, orphans = dict(session.own_annotations), dict(self._orphans)
        reading, again, waiting = session.reading, dict(session.annotations), self.waiting_reading
        plain = {
            "closed": closed,
            "cohort": str(session.cohort.folder) if session.cohort else "",
            "current": session.current,
            "schema": vars(session.schema),
            "aliases": {run: dict(names) for run, names in self.aliases.items()},
            "preferences": self.preferences.to_json(),
            "run": str(self.run) if self.run else None,
            "former": str(self.former) if self.former else None,
            "suggested": str(self.suggestion_run) if self.suggestion_run else None,
            "answers": self.answers.to_json(),
        }
        return lambda: {
            **plain,
            "reading": join_saved(None if reading is None else reading.to_json(again), waiting),
            "annotations": {**orphans, **{image: one.to_json() for image, one in annotations.items()}},
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        session = self.context.session
        assert session.cohort is not None
        schema = saved["schema"]
        pairs = tuple((left, right) for left, right in schema.get("swap", ()))
        session.set_schema(Schema(schema["title"], tuple(schema["names"]), tuple(schema["labels"]), pairs))
        self._restore_annotations(saved["annotations"])
        self.preferences.update(saved["preferences"])
        self.waiting_reading, self.aliases = saved.get("reading"), saved.get("aliases", {})
        self.answers.load(saved.get("answers", {}))
        self.run, self.former, self.suggestion_run = (
            _existing_folder(saved.get(key)) for key in ("run", "former", "suggested")
        )
        # A window that closed during a training must not come back with a run that has learned nothing.
        self._settle_run()
        if saved["current"] in session.cohort.names:
            session.current = saved["current"]

    def _restore_annotations(self, saved: dict[str, Any]) -> None:
        session = self.context.session
        assert session.cohort is not None
        names = list(session.schema.names)
        for image, annotation in saved.items():
            # Points kept for a radiograph that was gone may be of a former schema, whose names earlier releases left out.
            own = annotation.get("names", names)
            known = len(own) == len(annotation["xy"])
            fits = autosave.reorder(annotation, own, names, renaming=False) if known else None
            if image in session.cohort and fits is not None:
                session.annotations[image] = Annotation.from_json(dict(fits))
            else:
                self._orphans[image] = annotation | ({"names": own} if known else {})

    def _welcome(self, saved: dict[str, Any], older: list[Path]) -> None:
        count = len(saved["annotations"])
        if not count:
            return
        points = f"your points on {count} radiograph{'s' if count > 1 else ''}"
        also = self._describe_peculiarities(older)
        if saved["closed"]:
            self.context.tell(f"Welcome back. onemark has restored {points}.{also}", "good")
            return
        when = time.strftime("%d %b, %H:%M", time.localtime(saved["saved"]))
        choices: list[tuple[str, Callable[[], None]]] = [("Start without them", self._start_over)]
        self.context.tell(
            f"onemark was not closed properly. It has recovered {points} ({when}).{also}",
            "warn",
            choices,
        )

    def _describe_peculiarities(self, older: list[Path]) -> str:
        text = ""
        if self._orphans:
            text = f" {len(self._orphans)} of these are no longer in the folder; onemark keeps their points."
        if older:
            text += f" They come from {len(older) + 1} files, because two windows had the folder open; the newest counts."
        return text

    def _start_over(self) -> None:
        session = self.context.session
        assert self._autosave is not None
        assert session.cohort is not None
        self._autosave.close()
        kept = autosave.set_aside(self._autosave.path)
        self._autosave = autosave.Autosave(self._autosave.path, self._post)
        self.run, self.former, self.suggestion_run, self._orphans = None, None, None, {}
        self.answers.load({})
        self.waiting_reading = None
        current = session.current or session.cohort.names[0]
        session.open(session.cohort)
        session.show(current)
        self.context.tell(f"Started without the recovered points. They are in {kept}.")


def _existing_folder(path: str | Path | None) -> Path | None:
    return Path(path) if path and Path(path).is_dir() else None
