"""From a dropped path to an open cohort: folders, run folders, single files, the phantom."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_config_path
from qtpy.QtCore import QObject, Signal

from onemark.gui.autosave import saved_spacing
from onemark.gui.desk import Desk
from onemark.gui.keeper import Keeper
from onemark.gui.schema import of_names
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.io.cohort import Cohort

PHANTOMS = 24
RECENT = 6


class Opening(QObject):
    """Opens cohorts off the GUI thread; nothing is decoded before it is shown.

    Attributes:
        spacing_mm: mm per pixel said by the person, or None.
    """

    opening = Signal(str)
    opened = Signal()

    def __init__(self, desk: Desk, keeper: Keeper, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.desk, self.keeper = desk, keeper
        self._first: str | None = None
        self._then: Callable[[], None] | None = None

    def open(self, path: str | Path) -> None:
        """Open a folder of radiographs, a run folder, or the folder of a single radiograph."""
        path = Path(path)
        self.opening.emit(path.name)
        spacing_of = self._spacing_of()
        self.desk.background.run(
            lambda: cohort_of(path, spacing_of),
            lambda found: self._open(*found),
            lambda error: self._failed(error),
        )

    def open_phantom(self) -> None:
        """Write the phantom cohort to the user's cache, once, and open it with its landmark names."""
        self.opening.emit("phantom")
        self.desk.background.run(
            phantom_folder, lambda folder: self.open_with_names(folder), lambda error: self._failed(error)
        )

    def open_with_names(self, folder: Path) -> None:
        """Open the phantom cohort; its landmark names are used when none are chosen yet."""
        from onemark.phantom import LANDMARKS

        def name_them() -> None:
            if not len(self.desk.session.schema):
                self.desk.session.set_schema(of_names(LANDMARKS, "phantom"))

        self._then = name_them
        self.open(folder)

    def set_spacing(self, spacing_mm: float | None) -> None:
        """Say how large a pixel is; the open cohort is opened anew with it."""
        if spacing_mm != self.keeper.wishes.spacing_mm:
            self.keeper.wishes.spacing_mm = spacing_mm
            cohort = self.desk.session.cohort
            if cohort is not None:
                self.open(cohort.folder)

    def _spacing_of(self) -> Callable[[Path], float | None]:
        # What was typed belongs to the folder that is open, or to the first one that will be; others have their own.
        said, now = self.keeper.wishes.spacing_mm, self.desk.session.cohort

        def spacing_of(folder: Path) -> float | None:
            same = now is not None and now.folder.resolve() == folder.resolve()
            return said if same or (now is None and said is not None) else saved_spacing(folder)

        return spacing_of

    def _open(self, cohort: Cohort, first: str | None) -> None:
        session = self.desk.session
        self.keeper.end()  # while the session still holds the points of the folder that it keeps
        session.open(cohort)
        self.keeper.begin(cohort.folder)
        self.keeper.wishes.spacing_mm = cohort.spacing_mm[0] if cohort.spacing_mm else None
        if self._then is not None:
            self._then()
            self._then = None
        remember(cohort.folder)
        self.opened.emit()
        session.show(first or session.current or cohort.names[0])

    def _failed(self, error: BaseException) -> None:
        self._then = None
        self.desk.fail(error, "opening the folder")
        self.opened.emit()


def cohort_of(path: Path, spacing_of: Callable[[Path], float | None]) -> tuple[Cohort, str | None]:
    """The cohort a path means, and the radiograph to show first when the path named one.

    Args:
        path: A folder of radiographs, a run folder or one file.
        spacing_of: The mm per pixel said of a folder, or None.

    Raises:
        UserError: nothing there that can be opened.
    """
    from onemark.io.cohort import is_run_folder, open_cohort
    from onemark.io.run import RunFolder

    first = spacing_mm = None
    if path.is_file():
        path, first = path.parent, path.name
    if path.is_dir() and is_run_folder(path):
        config = RunFolder.open(path).config
        path = Path(config.get("cohort") or path)
        spacing_mm = config.get("spacing_mm")
    cohort = open_cohort(path, spacing_mm=spacing_of(path) or spacing_mm)
    if first is not None and first not in cohort:
        raise UserError(
            f"{first} is not a radiograph onemark reads; drop a folder of PNG, JPEG, TIFF or DICOM files"
        )
    return cohort, cohort.resolve(first) if first else None


def phantom_folder() -> Path:
    """The phantom cohort's folder, written on first use."""
    from onemark.phantom import phantom_name, write_phantom_cohort

    folder = Path(user_cache_path("onemark") / "phantom")
    if not all((folder / phantom_name(i)).exists() for i in range(1, PHANTOMS + 1)):
        write_phantom_cohort(folder, PHANTOMS)
    return folder


def recent() -> list[Path]:
    """Folders opened lately that are still there, the last one first."""
    try:
        folders = json.loads(_recent_file().read_text(encoding="utf-8"))
        return [Path(folder) for folder in folders if Path(folder).is_dir()]
    except (OSError, ValueError, TypeError):
        return []


def remember(folder: Path) -> None:
    """Put a folder at the head of the recent ones."""
    from onemark.io.atomic import write_text

    folder = folder.resolve()
    folders = [folder, *(other for other in recent() if other != folder)][:RECENT]
    try:
        write_text(_recent_file(), json.dumps([str(one) for one in folders]))
    except UserError:
        return  # a list of recent folders is a convenience, not worth a message


def _recent_file() -> Path:
    return Path(user_config_path("onemark") / "recent.json")
