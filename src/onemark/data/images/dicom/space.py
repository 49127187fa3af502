"""The two spacings of a DICOM file: the measured one, and the geometry that ITK and 3D Slicer give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onemark.data.images.dicom.tags import Tags
from onemark.data.images.header import checked_spacing
from onemark.data.images.itk import Geometry, from_dicom
from onemark.data.images.spacing import Spacing

PIXEL, DETECTOR, SCANNED = "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"
MAGNIFICATION = "EstimatedRadiographicMagnificationFactor"
_ORDER = (PIXEL, DETECTOR, SCANNED)
"""The first that is there counts: calibrated to the patient, measured at the detector, given by a film scanner."""
_ACROSS, _POSITION, _ORIENTATION = "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"
_SHARED, _FRAMES = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
TAGS = [*_ORDER, MAGNIFICATION, "SOPClassUID", _ACROSS, _POSITION, _ORIENTATION, _SHARED, _FRAMES]
"""Everything that is read here."""

# Functional group -> what of it a plain file says at its top.
_GROUPS = {
    "PixelMeasuresSequence": (PIXEL,),
    "PlanePositionSequence": (_POSITION,),
    "PlaneOrientationSequence": (_ORIENTATION,),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
_LONGEST_VIEW_MM = 1500.0

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# By the ends of the SOP classes' UIDs, as GDCM 3 has them.
_BY_DETECTOR = frozenset(("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "12.1", "12.2", "12.3"))
_BY_PIXEL = frozenset(
    ("2", "3", "3.1", "4", "6", "6.1", "6.2", "7", "20", "128", "481.2", "77.1.1.1", "77.1.2", "77.1.4")
)
_CAPTURE, _NUCLEAR = "7", "20"
_BY_FRAME = frozenset(
    (
        "2.1",
        "2.2",
        "4.1",
        "4.3",
        "4.4",
        "7.1",
        "7.2",
        "7.3",
        "7.4",
        "13.1.1",
        "13.1.2",
        "13.1.3",
        "13.1.4",
        "13.1.5",
        "14.1",
        "14.2",
        "66.4",
        "77.1.5.4",
        "128.1",
        "130",
    )
)
_WITH_DEPTH = _BY_DETECTOR | {"2", "4", "6.2", "7", "20", "128", "481.1"}
_HARDCOPY_GREY, _HARDCOPY_COLOUR = "1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30"


def flatten(tags: Tags) -> None:
    """Put what the functional groups of an enhanced file say of its frame where a plain file says it."""
    for name, wanted in _GROUPS.items():
        for item in _items(tags, name):
            for tag in wanted:
                if tag in item and tag not in tags.dataset:
                    tags.dataset[tag] = item[tag]


def measured_spacing(tags: Tags, size: tuple[int, int]) -> Spacing | None:
    """The spacing that counts for errors in mm, or None; says in a note what was doubtful about it.

    Unknown are a placeholder of 1 mm and one that makes the view longer than 1.5 m.
    """
    for tag in _ORDER:
        values = tags.numbers(tag)
        # DICOM says rows first: the distance down, then the distance across.
        down, across = values if len(values) == 2 else (None, None)
        spacing = None if down is None or across is None else checked_spacing((across, down))
        if spacing is None:
            if any(value is not None for value in values):
                tags.pass_over(tag, "it is not two positive numbers")
        elif spacing == (1.0, 1.0):
            tags.pass_over(tag, "1 mm is a placeholder")
        elif max(spacing[0] * size[1], spacing[1] * size[0]) > _LONGEST_VIEW_MM:
            tags.pass_over(tag, "it would make the view longer than 1.5 m")
        else:
            _say_source(tags, tag, spacing)
            return spacing
    return None


def _say_source(tags: Tags, tag: str, spacing: Spacing) -> None:
    if tag == PIXEL:
        return
    factor = tags.number(MAGNIFICATION) if tag == DETECTOR else None
    where = "at the detector, not at the patient" if tag == DETECTOR else "on the scanned film"
    note = f"has its mm from the DICOM tag {tag}: {where}"
    if factor and factor > 0 and factor != 1:
        note += f"; by its magnification factor of {factor:g} a pixel is {spacing[0] / factor:.4g} mm at the patient"
    tags.note(note)


def itk_geometry(tags: Tags) -> Geometry:
    """What ITK says of the file, by the kind of image that it states."""
    kind = _kind(tags)
    if kind in _BY_FRAME and (_items(tags, "PixelMeasuresSequence") or not _has_groups(tags)):
        spacing, position = _of_frame(tags, PIXEL), _of_frame(tags, _POSITION)
        orientation = _of_frame(tags, _ORIENTATION) or tags.numbers(_ORIENTATION)
        return from_dicom(spacing, None, position, orientation)
    position = [] if kind == _NUCLEAR else tags.numbers(_POSITION)
    across = tags.number(_ACROSS) if kind in _WITH_DEPTH else None
    return from_dicom(_spacing(tags, kind), across, position, tags.numbers(_ORIENTATION))


def _spacing(tags: Tags, kind: str) -> Sequence[float | None]:
    if kind == _HARDCOPY_COLOUR or (kind == _CAPTURE and PIXEL not in tags.dataset):
        return tags.numbers(SCANNED)
    if kind in _BY_DETECTOR:
        return tags.numbers(DETECTOR)
    return tags.numbers(PIXEL) if kind in _BY_PIXEL or kind == _HARDCOPY_GREY else []


def _kind(tags: Tags) -> str:
    found = tags.word("SOPClassUID")
    if not found:
        meta = getattr(tags.dataset, "file_meta", None) or {}
        found = str(meta.get("MediaStorageSOPClassUID", ""))
    return found.removeprefix(_STORAGE)


def _has_groups(tags: Tags) -> bool:
    return _SHARED in tags.dataset or _FRAMES in tags.dataset


def _of_frame(tags: Tags, wanted: str) -> Sequence[float | None]:
    for name, held in _GROUPS.items():
        for item in _items(tags, name) if wanted in held else ():
            if values := Tags(item).numbers(wanted):
                return values
    return []


def _items(tags: Tags, name: str) -> list[Any]:
    """The items of a functional group: the frame's own first, then those of all frames."""
    found: list[Any] = []
    for sequence in (_FRAMES, _SHARED):
        for group in tags.sequence(sequence)[:1]:
            found += Tags(group).sequence(name)[:1]
    return found
