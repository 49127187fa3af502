"""SOPInstanceUIDs beside the file names: only when asked for, and nothing else of a DICOM file."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import onemark
from onemark import Cohort, Model, UserError
from onemark.archive.job import predict_into
from onemark.archive.options import PredictOptions

UID = "1.2.826.0.1.3680043.8.498.7"
ASKED = PredictOptions(dicom_uid=True)


def write_dicom(path: Path, uid: str) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.Modality = pydicom.uid.ComputedRadiographyImageStorage, "CR"
    if uid:
        file.add_new("SOPInstanceUID", "UI", uid)
    file.PatientID, file.PatientName, file.StudyInstanceUID = "secret-7", "Doe^Jane", "1.2.3.4"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 24, 20, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = np.arange(480).astype(np.uint8).tobytes()
    file.save_as(path)


@pytest.fixture
def archive(few: Cohort, tmp_path: Path) -> Cohort:
    """A PNG, a DICOM file with a UID, and one without."""
    folder = tmp_path / "xrays"
    folder.mkdir()
    shutil.copy(few.path("3.png"), folder / "a.png")
    write_dicom(folder / "b.dcm", UID)
    write_dicom(folder / "c.dcm", "")
    return onemark.open_cohort(folder)


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_uids_stand_in_the_table_only_when_asked_for(model: Model, archive: Cohort, tmp_path: Path):
    predict_into(tmp_path / "plain.csv", model, archive)
    predict_into(tmp_path / "uids.csv", model, archive, ASKED)
    rows = cells(tmp_path / "uids.csv")
    assert {(row["image"], row["sop_instance_uid"]) for row in rows} == {
        ("a.png", ""),
        ("b.dcm", UID),
        ("c.dcm", ""),
    }
    plain = cells(tmp_path / "plain.csv")
    assert [{k: v for k, v in row.items() if k != "sop_instance_uid"} for row in rows] == plain
    text = (tmp_path / "uids.csv").read_text()
    assert not any(word in text for word in ("secret", "Doe", "1.2.3.4"))
    again = onemark.read_landmarks(tmp_path / "uids.csv")
    assert again.images == archive.names


def test_uids_stand_in_parquet(model: Model, archive: Cohort, tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    predict_into(tmp_path / "uids.parquet", model, archive, ASKED)
    frame = pandas.read_parquet(tmp_path / "uids.parquet").set_index("image")
    assert set(frame.loc["b.dcm", "sop_instance_uid"]) == {UID}
    assert frame.loc["a.png", "sop_instance_uid"].isna().all()


def test_other_formats_have_no_place_for_them(model: Model, archive: Cohort, tmp_path: Path):
    with pytest.raises(UserError, match=r"has no place for --dicom-uid; give it a \.csv or a \.parquet"):
        predict_into(tmp_path / "uids.tps", model, archive, ASKED)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("said", ["Doe^Jane", "1.2." + "3" * 70, "1..2", ""])
def test_what_is_no_uid_stays_in_the_file(said: str):
    from onemark.data.images.dicom.identity import Identity

    assert Identity.of(said).sop_instance_uid == ""
