"""Landmarks as DICOM structured reports, read back by highdicom."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import onemark
from onemark import LandmarkSet, LandmarkTable, UserError
from onemark.data.landmarks.convert import check_target

XY = np.array([[10.25, 20.0], [np.nan, np.nan], [0.0, 39.0]])
SET = LandmarkSet("b.dcm", ("sella", "hidden", "menton"), XY, np.ones(3), np.array([0.5, np.nan, 2.0]), "mm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`a.png` and the DICOM radiograph `b.dcm`, 60 x 40 px."""
    pixels = (np.arange(2400).reshape(40, 60) % 251).astype(np.uint8)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("b.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.Modality = "7", "Doe^J", "CR"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 40, 60, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = pixels.tobytes()
    (tmp_path / "xrays").mkdir()
    file.save_as(tmp_path / "xrays" / "b.dcm")
    Image.fromarray(pixels).save(tmp_path / "xrays" / "a.png")
    return tmp_path / "xrays"


def test_highdicom_reads_points_errors_and_the_run(folder: Path, tmp_path: Path):
    highdicom = pytest.importorskip("highdicom")
    cohort, table = onemark.open_cohort(folder), LandmarkTable.from_sets([SET])
    (path,) = onemark.write_landmarks(table, tmp_path / "p.sr.dcm", cohort=cohort, predicted_by="run-7")
    assert path == tmp_path / "p.sr.dcm"
    report, image = highdicom.sr.srread(path), pydicom.dcmread(folder / "b.dcm")
    assert (report.PatientID, report.StudyInstanceUID) == ("7", image.StudyInstanceUID)
    groups = report.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["sella", "menton"]
    for group, index in zip(groups, (0, 2), strict=True):
        assert np.allclose(group.roi.value, SET.xy[index] + 0.5)
        (measurement,) = group.get_measurements()
        assert measurement.value == SET.expected_error[index]
        assert measurement.unit.value == "mm"
    referenced = {item.ReferencedSOPInstanceUID for item in references(report)}
    assert referenced == {image.SOPInstanceUID}
    assert b"run-7" in path.read_bytes()
    again = onemark.write_landmarks(table, tmp_path / "q.sr.dcm", cohort=cohort, predicted_by="run-7")
    assert pydicom.dcmread(again[0]).SOPInstanceUID == report.SOPInstanceUID


def references(report: pydicom.Dataset) -> list[pydicom.Dataset]:
    return [element.value[0] for element in report.iterall() if element.keyword == "ReferencedSOPSequence"]


def test_what_is_no_dicom_is_one_sentence(folder: Path, tmp_path: Path):
    pytest.importorskip("highdicom")
    table = LandmarkTable.from_sets([LandmarkSet("a.png", ("sella",), XY[:1])])
    with pytest.raises(UserError, match=r"a\.png is no DICOM image"):
        onemark.write_landmarks(table, tmp_path / "p.sr.dcm", cohort=onemark.open_cohort(folder))
    assert not (tmp_path / "p.sr.dcm").exists()


def test_others_among_dicom_files_are_left_out_and_named(folder: Path, tmp_path: Path):
    pytest.importorskip("highdicom")
    cohort, table = onemark.open_cohort(folder), LandmarkTable.from_sets([replace(SET, image="a.png"), SET])
    with pytest.warns(UserWarning, match=r"a\.png left out"):
        files = onemark.write_landmarks(table, tmp_path / "p.sr.dcm", cohort=cohort)
    assert files == (tmp_path / "p" / "b.sr.dcm",)
    (folder / "b.dcm").unlink()
    with pytest.raises(UserError, match=r"b\.dcm cannot be read"):
        onemark.write_landmarks(table, tmp_path / "q.sr.dcm", cohort=cohort)


def test_what_reports_lack_is_said_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("highdicom")
    cohort, path = onemark.open_cohort(folder), tmp_path / "p.sr.dcm"
    check_target(path, cohort)
    with pytest.raises(UserError, match="xrays holds no DICOM image"):
        check_target(path, cohort.subset(["a.png"]))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"onemark\[sr\]"):
        check_target(path, cohort)


def test_without_highdicom_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"onemark\[sr\]"):
        onemark.write_landmarks(
            LandmarkTable.from_sets([SET]), tmp_path / "p.sr.dcm", cohort=onemark.open_cohort(folder)
        )
