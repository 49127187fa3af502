"""How a cohort is predicted into a file, the same for every way to share the work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """How a cohort is predicted into a file.

    Attributes:
        mm: CSV: add the columns `x_mm,y_mm`.
        shard_size: Radiographs of a part; by default 256, or that of the parts that are there.
        dicom_uid: CSV and Parquet: add the column `sop_instance_uid`, empty for files that are not DICOM.
        overwrite: Replace the file, and discard parts of another run, list or settings.
        safe_csv: See `LandmarkTable.to_csv`.
    """

    mm: bool = False
    shard_size: int | None = None
    dicom_uid: bool = False
    overwrite: bool = False
    safe_csv: bool = False


DEFAULTS = PredictOptions()
