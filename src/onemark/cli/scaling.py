"""The subcommands for scans that are too large: scale pictures and landmarks down, and landmarks back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import Follow, Overwrite, SafeCsv, SpacingMm, check_new_file
from onemark.cli.show import Show
from onemark.cli.steps import read_table
from onemark.types import UserError

LANDMARKS = "landmarks.csv"


def register_scaling(app: App) -> None:
    """Add the subcommands to the command line."""
    for command in (scale, unscale):
        app.command(command)


def scale(
    xrays: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder to create for the scaled radiographs.")],
    table: Annotated[
        Path | None,
        Parameter(help="Landmarks of these radiographs, to be scaled with them into OUT/landmarks.csv."),
    ] = None,
    factor: Annotated[float | None, Parameter(help="How far to scale down: 0.5 halves each side.")] = None,
    longest_side: Annotated[
        int | None,
        Parameter(help="Scale down until no side is longer, in px; smaller radiographs keep their size."),
    ] = None,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
) -> None:
    """Scale radiographs down together with their landmarks, such as scans of more than 80 million pixels.

    The scaled radiographs are TIFF files of 16 bits that state their spacing. `onemark unscale` brings landmarks back.

    Args:
        xrays: Folder of radiographs.
    """
    from onemark.data.images.limits import LARGE, use_limits
    from onemark.data.scaling import Amount, scale_cohort, scale_table

    amount = Amount(factor, longest_side)
    check_new_file(out, overwrite=False)
    if out.resolve().is_relative_to(xrays.resolve()):
        raise UserError(f"{out} lies in {xrays}, whose radiographs it would join; give a folder elsewhere")
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    with use_limits(LARGE):
        landmarks = None if table is None else read_table(table, cohort)
    with Show() as show:
        scaled = scale_cohort(cohort, out, amount, show)
    if landmarks is not None:
        scale_table(landmarks, scaled).to_csv(out / LANDMARKS)
    print(f"scaled {len(scaled)} of {len(cohort)} radiographs: {out}")


def unscale(
    folder: Path,
    table: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="File to write; its suffix chooses the format.")],
    images: Annotated[
        Path | None, Parameter(help="Folder of the original radiographs; formats other than CSV need it.")
    ] = None,
    safe_csv: SafeCsv = False,
    overwrite: Overwrite = False,
) -> None:
    """Bring landmarks of scaled radiographs back to the pixels of the originals.

    Args:
        folder: Folder that `onemark scale` wrote.
        table: Landmarks of its radiographs.
    """
    from onemark.data.images.limits import LARGE, use_limits
    from onemark.data.scaling import read_manifest, scale_back

    check_new_file(out, overwrite)
    read_manifest(folder)
    landmarks = scale_back(read_table(table, onemark.open_cohort(folder)), folder)
    with use_limits(LARGE):
        cohort = None if images is None else onemark.open_cohort(images)
        files = onemark.write_landmarks(landmarks, out, cohort=cohort, overwrite=overwrite, safe_csv=safe_csv)
    print(*files, sep="\n")
