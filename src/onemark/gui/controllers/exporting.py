"""The work of the Export step: all formats at once, outside the GUI thread, replacing no file without asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state.autosave import find_unused
from onemark.gui.state.measuring import load_measurable
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.measurement.sets.schema import MeasurementSet


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        key: Short name.
        title: For people.
        file: Name of what it writes in the chosen folder.
        separate: Whether each radiograph has a file of its own, and several have a folder.
    """

    key: str
    title: str
    file: str
    separate: bool = False


FORMATS = (
    Format("csv", "CSV table (px, and mm where known)", "landmarks.csv"),
    Format("slicer", "3D Slicer markups (.mrk.json)", "landmarks.mrk.json", separate=True),
    Format("tps", "tpsDig (.tps)", "landmarks.tps"),
    Format("coco", "COCO keypoints (.json)", "landmarks.json"),
    Format("labelme", "labelme (.json for each radiograph)", "labelme.json", separate=True),
    Format("pts", "BoneFinder (.pts for each radiograph)", "points.pts", separate=True),
    Format("yolo", "YOLO-pose (folder)", "yolo"),
    Format(
        "dicom-sr", "DICOM structured report (.sr.dcm for each DICOM file)", "reports.sr.dcm", separate=True
    ),
    Format("report", "Report with pictures (.html)", "report.html"),
)


class Exporting(QObject):
    """Writes the landmarks of the session.

    Attributes:
        folder: Where it has written last, or None.
    """

    working = Signal(bool)
    wrote = Signal(object)

    def __init__(self, context: Context, session_store: SessionStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self.folder: Path | None = None

    def export(self, folder: Path, keys: list[str], *, overwrite: bool = False) -> None:
        """Write these formats into a folder, asking before a file is replaced.

        Raises:
            UserError: nothing to export, no format chosen, or the folder is the radiographs' own.
        """
        from onemark.data.landmarks.table import LandmarkTable

        session = self.context.session
        session.check_not_reading()
        sets, cohort = session.collect_results(), session.cohort
        if cohort is None or not sets:
            raise UserError("there is nothing to export yet; annotate a radiograph or train first")
        if not keys:
            raise UserError("no format is selected; tick at least one")
        if folder.resolve().is_relative_to(cohort.folder.resolve()):
            raise UserError(
                f"{folder} lies inside the folder of radiographs, where onemark looks for images; choose another folder"
            )
        existing = [f.file for f in FORMATS if f.key in keys and _find_written(folder, f).exists()]
        if existing and not overwrite:
            self._ask(folder, keys, existing)
            return
        self.working.emit(True)
        chosen = load_measurable(self.session_store.preferences.measurements, session.schema.names)
        self.context.background.run(
            lambda: write_all(LandmarkTable.from_sets(sets), cohort, folder, keys, chosen),
            lambda files: self._on_written(folder, files),
            self._on_failed,
        )

    def _ask(self, folder: Path, keys: list[str], existing: list[str]) -> None:
        beside = find_unused(folder)
        choices: list[tuple[str, Callable[[], None]]] = [
            (
                "Replace",
                lambda: self.context.try_to("exporting", lambda: self.export(folder, keys, overwrite=True)),
            ),
            (
                f"Write to {beside.name}",
                lambda: self.context.try_to("exporting", lambda: self.export(beside, keys)),
            ),
        ]
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        self.context.tell(f"{folder} already holds {existing[0]}{more}.", "warn", choices)

    def _on_written(self, folder: Path, files: list[Path]) -> None:
        self.folder = folder
        self.working.emit(False)
        self.context.tell(f"Exported {', '.join(file.name for file in files[:3])} to {folder}.", "good")
        self.wrote.emit(files)

    def _on_failed(self, error: BaseException) -> None:
        self.working.emit(False)
        self.context.fail(error, "exporting")


def write_all(
    table: LandmarkTable,
    cohort: Cohort,
    folder: Path,
    keys: list[str],
    measurements: MeasurementSet | None = None,
) -> list[Path]:
    """Write the formats and replace files of the same names; returns the written files.

    Args:
        table: The landmarks.
        cohort: The radiographs.
        folder: Where to write.
        keys: Which formats.
        measurements: What the report measures; by default the set that fits the landmarks, if there is one.
    """
    from onemark.data.landmarks.convert import write_landmarks
    from onemark.evaluation.report import write_report
    from onemark.measurement.report import add_measurements

    written: list[Path] = []
    for one in FORMATS:
        if one.key not in keys:
            continue
        path = folder / one.file
        if one.key == "report":
            write_report(path, cohort, table, addition=add_measurements(cohort, table, None, measurements))
            written.append(path)
        else:
            mm = one.key == "csv" and any(cohort.spacing(name) for name in table.images)
            written += write_landmarks(table, path, cohort=cohort, format=one.key, mm=mm, overwrite=True)
    return written


def _find_written(folder: Path, written: Format) -> Path:
    path = folder / written.file
    several = folder / path.name.partition(".")[0]
    return several if written.separate and several.is_dir() else path
