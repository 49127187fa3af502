"""From a dropped path to an open cohort: folders, run folders, single files, the phantom cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_config_path
from qtpy.QtCore import QObject, QTimer, Signal

from onemark.data.json import SMALL, read_json
from onemark.data.landmarks.schema import rename_pairs, schema_from_names
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.autosave import read_saved_spacing
from onemark.gui.state.predictions import rename
from onemark.gui.state.session import Session
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.imaging.orientation import Pairs

SpacingLookup = Callable[[Path], float | Sequence[float] | None]
PHANTOMS = 24
RECENT = 6  # as many as fit below the drop zone in a window of 720 px


class Opening(QObject):
    """Opens cohorts outside the GUI thread, and decodes no radiograph before it is shown.

    Signals:
        opening: onemark starts to open something of this name.
        opened: Another cohort is open.
        failed: Nothing could be opened; what was open before stays open.
    """

    opening = Signal(str)
    opened = Signal()
    failed = Signal()

    def __init__(self, context: Context, session_store: SessionStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self._then: Callable[[], None] | None = None

    def open(self, path: str | Path) -> None:
        """Open a folder of radiographs, a run folder, or the folder of a single radiograph."""
        path = Path(path)
        self.opening.emit(path.name)
        spacing_of = self._make_spacing_lookup()
        self.context.background.run(
            lambda: interpret_path(path, spacing_of),
            lambda target: self._open(target),
            lambda error: self._on_failed(error),
        )

    def open_phantom(self) -> None:
        """Write the phantom cohort to the user's cache, unless it is there, and open it with its landmark names."""
        self.opening.emit("phantom")
        self.context.background.run(
            ensure_phantom, lambda folder: self.open_with_names(folder), lambda error: self._on_failed(error)
        )

    def open_with_names(self, folder: Path) -> None:
        """Open the phantom cohort; use its landmark names unless the person has chosen landmarks."""
        from onemark.phantom import LANDMARKS

        def name_them() -> None:
            if not len(self.context.session.schema):
                self.context.session.set_schema(schema_from_names(LANDMARKS, "phantom"))

        # The schema of a saved session comes first, so wait until the folder is open.
        self._then = name_them
        self.open(folder)

    def set_spacing(self, spacing_mm: float | None) -> None:
        """Set the size of a pixel, and open the cohort again with it."""
        if spacing_mm != self.session_store.preferences.spacing_mm:
            self.session_store.preferences.spacing_mm = spacing_mm
            cohort = self.context.session.cohort
            if cohort is not None:
                self.open(cohort.folder)

    def _make_spacing_lookup(self) -> SpacingLookup:
        # A typed size belongs to the open folder, or to the first one opened; other folders have their own.
        typed, now = self.session_store.preferences.spacing_mm, self.context.session.cohort

        def spacing_of(folder: Path) -> float | Sequence[float] | None:
            same = now is not None and now.folder.resolve() == folder.resolve()
            return typed if same or (now is None and typed is not None) else read_saved_spacing(folder)

        return spacing_of

    def _open(self, target: Target, *, losing: bool = False) -> None:
        session, cohort = self.context.session, target.cohort
        if not losing and not self.session_store.try_save():
            # The autosave's own message, which says why, is still queued and must not replace this question.
            QTimer.singleShot(0, lambda: self._ask(target))
            return
        self.session_store.end()  # before the session drops the points that the store writes
        session.open(cohort)
        self.session_store.begin(cohort.folder)
        self.session_store.preferences.spacing_mm = _simplest(cohort.spacing_mm)
        self._take_run(target)
        if self._then is not None:
            self._then()
            self._then = None
        remember_folder(cohort.folder)
        self.opened.emit()
        session.show(target.first or session.current or cohort.names[0])

    def _take_run(self, target: Target) -> None:
        if target.run is not None:
            self.session_store.take_run(target.run)
            if target.exemplars is not None:
                self._take_exemplars(target.exemplars)
            self._take_pairs(target.swap)

    def _ask(self, target: Target) -> None:
        assert self.context.session.cohort is not None
        now, then = self.context.session.cohort.folder.name, target.cohort.folder.name
        self.context.tell(
            f"onemark cannot save your points on {now}, so it did not open {then}. Export them first, or lose them.",
            "bad",
            [("Open and lose them", lambda: self._open(target, losing=True))],
        )
        self.failed.emit()

    def _take_exemplars(self, exemplars: LandmarkTable) -> None:
        from onemark.data.landmarks.table import LandmarkTable

        session, store = self.context.session, self.session_store
        exemplars = LandmarkTable.from_sets(rename(one, store.names_of_run()) for one in exemplars)
        if not session.annotations and exemplars.names != session.schema.names:
            # Those that were in use before are other landmarks, not the run's under former names.
            session.set_schema(schema_from_names(exemplars.names, "of the run"), renaming=False)
        if set(exemplars.names) & set(session.schema.names):
            # Single answers would hide the predictions of their radiographs as unfinished points.
            session.import_annotations(
                LandmarkTable.from_sets(one for one in exemplars if _is_complete(one, session))
            )
        store.answers.add(one for one in exemplars if not _is_complete(one, session))
        store.save()

    def _take_pairs(self, pairs: Pairs) -> None:
        session = self.context.session
        pairs = rename_pairs(pairs, self.session_store.names_of_run())
        known = {name for pair in pairs for name in pair} <= set(session.schema.names)
        if known and pairs and not session.schema.swap and session.reading is None:
            session.set_schema(replace(session.schema, swap=pairs))

    def _on_failed(self, error: BaseException) -> None:
        self._then = None
        self.context.fail(error, "opening the folder")
        self.failed.emit()


@dataclass(frozen=True)
class Target:
    """What a dropped path stands for.

    Attributes:
        cohort: The radiographs.
        first: The radiograph to show first, if the path names one.
        run: The run folder, if the path is one.
        exemplars: The points that the run was trained on, if it has any.
        swap: The run's left-right pairs of landmarks.
    """

    cohort: Cohort
    first: str | None = None
    run: Path | None = None
    exemplars: LandmarkTable | None = None
    swap: Pairs = ()


def _simplest(spacing: Spacing | None) -> float | Sequence[float] | None:
    """One number where pixels are square."""
    return spacing[0] if spacing is not None and spacing[0] == spacing[1] else spacing


def interpret_path(path: Path, spacing_of: SpacingLookup) -> Target:
    """Find out what a path stands for.

    Args:
        path: A folder of radiographs, a run folder or one file.
        spacing_of: Returns the mm per pixel that a person has given for a folder, or None.

    Raises:
        UserError: there is nothing that onemark can open.
    """
    from onemark.data.cohort import is_run_folder, open_cohort

    if path.is_dir() and is_run_folder(path):
        return _interpret_run(path, spacing_of)
    folder, first = (path.parent, path.name) if path.is_file() else (path, None)
    cohort = open_cohort(folder, spacing_mm=spacing_of(folder))
    if first is None:
        return Target(cohort)
    if first not in cohort:
        raise UserError(f"onemark cannot read {first}; drop a folder of PNG, JPEG, TIFF or DICOM files")
    return Target(cohort, cohort.resolve(first))


def _interpret_run(path: Path, spacing_of: SpacingLookup) -> Target:
    from onemark.data.cohort import open_cohort
    from onemark.pipeline.runs.folder import RunFolder

    run = RunFolder.open(path)
    folder = Path(run.config.cohort or path)
    cohort = open_cohort(folder, spacing_mm=spacing_of(folder) or run.config.spacing_mm)
    placed = run.exemplars() if (path / "exemplars.csv").exists() else None
    return Target(cohort, None, path.resolve(), placed, run.config.swap)


def ensure_phantom() -> Path:
    """Write the phantom cohort unless it is there; returns its folder."""
    from onemark.phantom import phantom_name, write_phantom_cohort

    folder = Path(user_cache_path("onemark") / "phantom")
    if not all((folder / phantom_name(i)).exists() for i in range(1, PHANTOMS + 1)):
        write_phantom_cohort(folder, PHANTOMS)
    return folder


def list_recent() -> list[Path]:
    """List the recently opened folders that still exist, the last one first."""
    try:
        folders = read_json(_recent_file(), SMALL)
        return [Path(folder) for folder in folders if Path(folder).is_dir()]
    except (OSError, ValueError, TypeError):
        return []


def remember_folder(folder: Path) -> None:
    """Put a folder at the top of the recent ones."""
    from onemark.data.atomic import write_text

    folder = folder.resolve()
    folders = [folder, *(other for other in list_recent() if other != folder)][:RECENT]
    try:
        write_text(_recent_file(), json.dumps([str(one) for one in folders]))
    except UserError:
        return  # a missing list of recent folders is not worth a message


def _recent_file() -> Path:
    return Path(user_config_path("onemark") / "recent.json")


def _is_complete(one: LandmarkSet, session: Session) -> bool:
    """Whether points are all that a finished radiograph needs."""
    return Annotation.of(one, session.schema.names).complete
