"""Keeps the session on disk after every edit, and brings it back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.preferences import Preferences
from onemark.gui.state import autosave
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.schema import Schema
from onemark.types import UserError


class SessionStore(QObject):
    """The autosave of one session.

    Attributes:
        work: Folder of the session file and the runs, or None before a cohort is open.
        run: Folder of the last run, or None.
        former: The run before that one, while it is not known whether the last one learns anything; else None.
        suggested: Folder of the run that the last suggestion has begun, or None when a training has ended since.
        wishes: What the person has chosen.
    """

    _troubled = Signal(str, str)

    def __init__(self, context: Context, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context = context
        self.work: Path | None = None
        self.run: Path | None = None
        self.former: Path | None = None
        self.suggestion_run: Path | None = None
        self.preferences = Preferences.from_napari()
        self._autosave: autosave.Autosave | None = None
        self._orphans: dict[str, Any] = {}
        self._troubled.connect(self._tell, Qt.ConnectionType.QueuedConnection)
        session = context.session
        session.annotations_changed.connect(lambda image: self.save())
        session.schema_changed.connect(self.save)
        session.current_changed.connect(self.save)

    def begin(self, folder: Path) -> None:
        """Begin to keep the session of a cohort's folder, bringing back what was kept of it.

        The session must have the cohort open already, and the one kept before must have been ended before that.
        """
        self.work = autosave.work_folder(folder)
        found = autosave.kept(self.work, self._unreadable)
        newest, *older = found or [self.work / autosave.NAME]
        self.run, self.former, self.suggestion_run, self._orphans = None, None, None, {}
        if found:
            saved = autosave.merge(list(found.values()))
            self._restore(saved)
            self._welcome(saved, older)
        self._autosave = autosave.Autosave(newest, self._post)
        self.save()
        self._put_away(older)

    def save(self, *, closed: bool = False) -> None:
        """Write the session, soon."""
        if self._autosave is not None:
            self._autosave.save(self._content(closed))

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._autosave is not None:
            self._autosave.flush()

    def saved(self) -> bool:
        """Whether everything can be, and now is, on disk."""
        self.save()
        self.flush()
        return self._autosave is None or self._autosave.error is None

    def end(self) -> None:
        """Close the session properly."""
        if self._autosave is not None:
            self.save(closed=True)
            self._autosave.close()
            self._autosave = None

    def choose_new_run(self) -> Path:
        """A folder for the next run, which does not exist yet."""
        assert self.work is not None
        return autosave.find_unused(self.work / f"run-{time.strftime('%Y-%m-%d-%H%M%S')}")

    def take_run(self, run: Path) -> None:
        """Take a run made elsewhere, as by the command line, for the last one; or for the last suggestion."""
        from onemark.pipeline.runs import RunFolder

        if RunFolder.open(run).status().waits_for_exemplar:
            self.suggestion_run = run
        else:
            self.run, self.former = run, None
        self.save()

    def begin_run(self, run: Path) -> None:
        """A training begins in this folder; what was trained before is not forgotten until it has learned something."""
        if run != self.run:
            self.former = self.run if has_learned(self.run) else self.former
            self.run = run

    def end_run(self, run: Path) -> None:
        """The training in this folder has ended: fall back on the run before it where it has learned nothing."""
        self.begin_run(run)  # it was given up already where its folder was left and opened again meanwhile
        self._settle_run()

    def _settle_run(self) -> None:
        if self.former is not None and not has_learned(self.run):
            self.run = self.former
        self.run, self.former = _folder(self.run), None

    def _tell(self, text: str, kind: str) -> None:
        self.context.tell(text, kind)

    def _post(self, text: str, kind: str) -> None:
        # Called in the writer's thread; the window may be gone by now, and with it the C++ side of this object.
        with contextlib.suppress(RuntimeError):
            self._troubled.emit(text, kind)

    def _unreadable(self, path: Path, error: UserError) -> None:
        autosave.set_aside(path)
        self.context.tell(str(error), "warn")

    def _put_away(self, older: list[Path]) -> None:
        # Not before what was taken from them is on disk, and never to be read again: what is deleted stays so.
        if not older or self._autosave is None:
            return
        self._autosave.flush()
        if self._autosave.error is None:
            for path in older:
                autosave.set_aside(path)

    def _content(self, closed: bool) -> Callable[[], dict[str, Any]]:
        # Marks are immutable, so a shallow copy is a snapshot; turning them into text is left to the writer's thread.
        session = self.context.session
        annotation, orphans = dict(session.annotations), dict(self._orphans)
        plain = {
            "closed": closed,
            "cohort": str(session.cohort.folder) if session.cohort else "",
            "current": session.current,
            "schema": vars(session.schema),
            "wishes": self.preferences.to_json(),
            "run": str(self.run) if self.run else None,
            "former": str(self.former) if self.former else None,
            "suggested": str(self.suggestion_run) if self.suggestion_run else None,
        }
        return lambda: {
            **plain,
            "marks": {**orphans, **{image: one.to_json() for image, one in annotation.items()}},
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        session = self.context.session
        assert session.cohort is not None
        schema = saved["schema"]
        session.set_schema(Schema(schema["title"], tuple(schema["names"]), tuple(schema["labels"])))
        for image, annotation in saved["marks"].items():
            if image in session.cohort:
                session.annotations[image] = Annotation.from_json(annotation)
            else:
                self._orphans[image] = annotation
        self.preferences.take(saved["wishes"])
        self.run, self.former, self.suggestion_run = (
            _folder(saved.get(key)) for key in ("run", "former", "suggested")
        )
        self._settle_run()
        if saved["current"] in session.cohort.names:
            session.current = saved["current"]

    def _welcome(self, saved: dict[str, Any], older: list[Path]) -> None:
        count = len(saved["marks"])
        if not count:
            return
        points = f"your points on {count} radiograph{'s' if count > 1 else ''}"
        gone = (
            f" {len(self._orphans)} of them are no longer in the folder; their points are kept."
            if self._orphans
            else ""
        )
        if older:
            gone += f" They come from {len(older) + 1} files, as after two windows; the newest counts."
        if saved["closed"]:
            self.context.tell(f"Welcome back: {points} are here again.{gone}", "good")
            return
        when = time.strftime("%d %b, %H:%M", time.localtime(saved["saved"]))
        choices: list[tuple[str, Callable[[], None]]] = [("Start without them", self._start_anew)]
        self.context.tell(
            f"onemark did not end properly. {points.capitalize()} were recovered ({when}).{gone}",
            "warn",
            choices,
        )

    def _start_anew(self) -> None:
        session = self.context.session
        assert self._autosave is not None
        assert session.cohort is not None
        self._autosave.close()
        kept = autosave.set_aside(self._autosave.path)
        self._autosave = autosave.Autosave(self._autosave.path, self._post)
        self.run, self.former, self.suggestion_run, self._orphans = None, None, None, {}
        current = session.current or session.cohort.names[0]
        session.open(session.cohort)
        session.show(current)
        self.context.tell(f"Begun anew. The recovered points are kept in {kept}.")


def _folder(path: str | Path | None) -> Path | None:
    return Path(path) if path and Path(path).is_dir() else None


def has_learned(run: Path | None) -> bool:
    """Whether there is something in a run that can be used or gone on from, and not the matcher of a suggestion alone."""
    from onemark.pipeline.runs import status_of

    status = status_of(run)
    return status is not None and not status.waits_for_exemplar and status.has_learned
