"""DICOM structured reports (TID 1500, Measurement Report), one for each DICOM radiograph; written through highdicom.

A landmark is a planar region of one point with its name as tracking identifier, and its expected error is a measurement.
DICOM counts pixels from the upper left corner of the first one, onemark from its centre, so points are half a pixel
further (PS3.3, C.18.6). The report refers to the image and repeats the patient's and the study's attributes,
as the standard asks; nothing else of the file is in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import onemark
from onemark.data.extras import import_extra
from onemark.data.landmarks.formats.base import Format, Target, bare_names, place_of
from onemark.data.paths import printable, read_regular
from onemark.types import LandmarkSet, UserError

SUFFIX = ".sr.dcm"
_MOST = 512 << 20
_SERIES = 1500
_HALF = 0.5
# A report has to have these of its image, but they may be empty.
_MAY_BE_EMPTY = [
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
]
# Code values have at most 16 characters.
_LANDMARK = ("landmark", "99ONEMARK", "Anatomical landmark")
_EXPECTED_ERROR = ("expected-error", "99ONEMARK", "Expected error")
_UNITS = {"mm": ("mm", "UCUM", "millimeter"), "px": ("{pixels}", "UCUM", "pixels")}


def _render(target: Target) -> Mapping[Path, bytes]:
    highdicom = import_extra("highdicom", "DICOM structured reports need highdicom", "sr")
    several = len(target.table) > 1
    bare = bare_names(target.table.images)
    return {
        place_of(target.path, one.image, SUFFIX, several, bare=bare): _report(one, target, highdicom)
        for one in target.table
    }


def _report(landmarks: LandmarkSet, target: Target, highdicom: Any) -> bytes:
    image, sr = _read_image(target, landmarks.image), highdicom.sr
    run = target.predicted_by
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=_uid("device", run), name="onemark", model_name="onemark", serial_number=run or "none"
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(_code(sr, ("121007", "DCM", "Device")), device)
        ),
        procedure_reported=_code(sr, ("168537006", "SCT", "Plain radiography")),
        imaging_measurements=list(_points(landmarks, image, run, sr)),
    )
    entropy = (image.SOPInstanceUID, run)
    report = sr.ComprehensiveSR(
        evidence=[image],
        content=content,
        series_instance_uid=_uid("series", image.SeriesInstanceUID, run),
        series_number=_SERIES,
        sop_instance_uid=_uid("report", *entropy, landmarks.xy.tobytes().hex()),
        instance_number=1,
        manufacturer="onemark",
        is_complete=True,
    )
    stream = io.BytesIO()
    report.save_as(stream)
    return stream.getvalue()


def _points(landmarks: LandmarkSet, image: Any, run: str, sr: Any) -> Iterator[Any]:
    """A region of one point for each visible landmark."""
    source = sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    algorithm = sr.AlgorithmIdentification("onemark", onemark.__version__, parameters=[f"run={run}"])
    errors = landmarks.expected_error if landmarks.unit in _UNITS else np.empty(0)
    for index, name in enumerate(landmarks.names):
        if not np.isfinite(landmarks.xy[index]).all():
            continue
        error = float(errors[index]) if errors.size else math.nan
        measurements = [
            sr.Measurement(_code(sr, _EXPECTED_ERROR), error, _code(sr, _UNITS[landmarks.unit]))
        ] * math.isfinite(error)
        point = landmarks.xy[index : index + 1] + _HALF
        yield sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(_uid("landmark", image.SOPInstanceUID, name), name),
            referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POINT, point, source),
            finding_type=_code(sr, _LANDMARK),
            algorithm_id=algorithm if run else None,
            measurements=measurements or None,
        )


def _read_image(target: Target, name: str) -> Any:
    """The data set of a radiograph, without its pixels."""
    if not hasattr(target.cohort, "path"):  # layers of napari are no files
        raise UserError(
            f"{printable(name)} is no file that a DICOM structured report can refer to; write another format"
        )
    path = target.cohort.path(name)
    pydicom = import_module("pydicom")
    try:
        found = pydicom.dcmread(io.BytesIO(read_regular(path, _MOST)), stop_before_pixels=True)
        found.SOPInstanceUID, found.SOPClassUID, found.StudyInstanceUID, found.SeriesInstanceUID  # noqa: B018
    except (OSError, AttributeError, pydicom.errors.InvalidDicomError):
        raise UserError(
            f"{printable(path)} is no DICOM image that a structured report can refer to; write another format, such "
            "as .csv, or leave it out"
        ) from None
    for keyword in _MAY_BE_EMPTY:
        if keyword not in found:
            setattr(found, keyword, None)
    return found


def _code(sr: Any, code: tuple[str, str, str]) -> Any:
    return sr.CodedConcept(*code)


def _uid(*entropy: str) -> str:
    """The same of the same, so that a report written twice replaces itself."""
    found: str = import_module("pydicom.uid").generate_uid(entropy_srcs=["onemark", *entropy])
    return found


FORMAT = Format(
    "dicom-sr",
    "DICOM structured report, TID 1500 (.sr.dcm)",
    SUFFIX,
    lambda source: False,
    render=_render,
    separate=True,
    claims=True,
)
