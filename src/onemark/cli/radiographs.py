"""The radiographs of a run: where they are, and which of a folder's are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import onemark
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.pipeline.runs.folder import RunFolder

Hint = Callable[[object], str]
"""How a command is told that the radiographs are in this folder."""

XRAYS: Hint = "--xrays {}".format


def open_run_cohort(
    run_folder: Path,
    xrays: Path | None,
    spacing_mm: float | None,
    follow: bool = True,
    hint: Hint = XRAYS,
) -> Cohort:
    """Open the radiographs that a run learns from, at their recorded place or in `xrays`.

    Args:
        run_folder: The run.
        xrays: Where the radiographs are now, if they have moved.
        spacing_mm: mm per pixel; None for what the run recorded.
        follow: Take in what symbolic links lead to.
        hint: How this command is told another folder.

    Raises:
        UserError: there is no run, or its radiographs are gone.
    """
    from onemark.pipeline.runs.folder import RunFolder

    config = RunFolder.open(run_folder).config
    if xrays is None and not Path(config.cohort).is_dir():
        raise UserError(
            f"the radiographs of {run_folder} are no longer in {config.cohort}; say where they are now: {hint('FOLDER')}"
        )
    spacing = config.spacing_mm if spacing_mm is None else spacing_mm
    return onemark.open_cohort(xrays or config.cohort, spacing_mm=spacing, follow_links=follow)


def limit_to_run(
    cohort: Cohort,
    run_folder: Path,
    xrays: Path | None,
    exemplars: LandmarkTable | None = None,
    hint: Hint = XRAYS,
) -> Cohort:
    """The radiographs that a run learns from and those of further exemplars; all of them where `xrays` gives a folder.

    A run on a list knows the folder that all its files share, which may hold many others.
    """
    from onemark.pipeline.resuming import learned_from
    from onemark.pipeline.runs.folder import RunFolder

    if xrays is not None:
        return cohort
    own = learned_from(RunFolder.open(run_folder), cohort, () if exemplars is None else exemplars.images)
    others = len(cohort) - len(own)
    if others:
        print(
            f"left out: {others} of the {len(cohort)} radiographs in {cohort.folder}, which {run_folder} did not learn "
            f"from; to let them join, give {hint(cohort.folder)}"
        )
    return own


def find_run_of(landmarks: Path) -> RunFolder | None:
    """The run whose predictions a file is, by its name and place; None for any other table."""
    from onemark.data.cohort import is_run_folder
    from onemark.pipeline.runs.folder import RunFolder

    folder = landmarks.parent
    return RunFolder.open(folder) if landmarks.name == "landmarks.csv" and is_run_folder(folder) else None


def find_spacings(run: RunFolder, images: Iterable[str]) -> Spacing | dict[str, Spacing | None] | None:
    """mm per pixel of a run's radiographs: as it was given, else as their files say.

    Returns:
        `(x, y)` for all; or image -> that, None where a file is gone or tells none; or None where the folder is gone.
    """
    if run.config.spacing_mm is not None:
        return run.config.spacing_mm
    try:
        cohort = onemark.open_cohort(run.config.cohort)
    except UserError:  # angles and ratios need no spacing
        print(f"the radiographs of {run.path} are no longer in {run.config.cohort}, so they tell no spacing")
        return None
    return {image: cohort.spacing(image) for image in images}
