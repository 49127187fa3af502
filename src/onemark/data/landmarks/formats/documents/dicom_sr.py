"""DICOM structured reports (TID 1500, Measurement Report), one for each DICOM radiograph; written through highdicom.

A landmark is a planar region of one point with its name as tracking identifier, and its expected error is a measurement.
DICOM counts pixels from the upper left corner of the first one, onemark from its centre, so points are half a pixel
further (PS3.3, C.18.6). The report refers to the image and repeats the patient's and the study's attributes,
as the standard asks; nothing else of the file is in it.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import onemark
from onemark.data.atomic import reading_errors
from onemark.data.cohort import Cohort
from onemark.data.extras import import_extra
from onemark.data.images.kinds import kind_of_file
from onemark.data.landmarks.formats.base import Format, Target, bare_names, place_of
from onemark.data.paths import printable, read_regular
from onemark.types import LandmarkSet, UserError

SUFFIX = ".sr.dcm"
_SHOWN = 5
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


def check_reports(cohort: Cohort) -> None:
    """Check, before long work, that there can be reports of a cohort.

    Raises:
        UserError: highdicom is not installed, or not one radiograph is a DICOM file of this machine.
    """
    _load_highdicom()
    if not any(kind_of_file(cohort.path(name)) == "dicom" for name in cohort.names):
        raise _no_dicom(cohort.place, "holds")


def _render(target: Target) -> Mapping[Path, bytes]:
    """A report of each DICOM radiograph; warns of the others. Raises UserError where there are only others."""
    highdicom = _load_highdicom()
    several = len(target.table) > 1
    bare = bare_names(target.table.images)
    reports, others = dict[Path, bytes](), list[str]()
    for one in target.table:
        image = _read_image(target, one.image)
        if image is None:
            others.append(one.image)
        else:
            place = place_of(target.path, one.image, SUFFIX, several, bare=bare)
            reports[place] = _report(one, image, target.predicted_by, highdicom)
    if not reports:
        raise _no_dicom(target.cohort.address(others[0]), "is")
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        warnings.warn(
            f"{target.path}: {', '.join(map(printable, others[:_SHOWN]))}{more} left out, because a structured report "
            "can only refer to a DICOM image; CSV holds all",
            stacklevel=4,
        )
    return reports


def _load_highdicom() -> Any:
    return import_extra("highdicom", "DICOM structured reports need highdicom", "sr")


def _report(landmarks: LandmarkSet, image: Any, run: str, highdicom: Any) -> bytes:
    sr = highdicom.sr
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
    """The data set of a radiograph, without its pixels; None where it is no DICOM image."""
    if not hasattr(target.cohort, "path"):  # layers of napari are no files
        raise UserError(
            f"{printable(name)} is no file that a DICOM structured report can refer to; write another format"
        )
    path = target.cohort.path(name)
    pydicom = import_module("pydicom")
    with reading_errors(path):
        data = read_regular(path, _MOST)
    try:
        found = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        found.SOPInstanceUID, found.SOPClassUID, found.StudyInstanceUID, found.SeriesInstanceUID  # noqa: B018
    except (OSError, AttributeError, pydicom.errors.InvalidDicomError):
        return None
    for keyword in _MAY_BE_EMPTY:
        if keyword not in found:
            setattr(found, keyword, None)
    return found


def _no_dicom(where: str, verb: str) -> UserError:
    return UserError(
        f"{printable(where)} {verb} no DICOM image that a structured report can refer to; write another format, such "
        "as .csv"
    )


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
    names_run=True,
)
