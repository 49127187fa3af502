"""Small files of every kind that onemark reads. `python tests/fuzz/seeds.py` writes them into the corpus."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

CORPUS = Path(__file__).parent / "corpus"
SIZE = (24, 32)
IMAGES = ("p1.png", "p2.png")


def picture() -> NDArray[np.uint8]:
    """`[24, 32]`, a ramp with a bright disc."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.where((x - 20) ** 2 + (y - 10) ** 2 < 30, 220, x * 5 + y).astype(np.uint8)


def pillow(kind: str, image: NDArray[Any] | Image.Image, **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def tiff(*pages: NDArray[Any], **options: Any) -> bytes:
    """The bytes of a file that tifffile writes; pages after the first are marked as reduced."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, imagej=options.pop("imagej", False)) as file:
        for number, page in enumerate(pages):
            file.write(page, subfiletype=int(number > 0), **options)
    return stream.getvalue()


def dicom(values: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """The bytes of a computed radiography file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8 * values.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(values.dtype.kind == "i")
    file.PixelSpacing = ["0.2", "0.1"]
    for tag, value in tags.items():
        setattr(file, tag, value)
    file.PixelData = values.tobytes()
    if syntax in (JPEG2000Lossless, RLELossless):
        file.compress(syntax, generate_instance_uid=False)
    file.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    file.save_as(stream)
    return stream.getvalue()


def lut() -> Dataset:
    """A VOI LUT that inverts 256 values."""
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = np.arange(256, dtype=np.uint16)[::-1].tobytes()
    return table


def _png() -> dict[str, bytes]:
    grey = picture()
    deep = grey.astype(np.uint16) * 200
    import imagecodecs

    return {
        "grey.png": pillow("PNG", grey),
        "palette.png": pillow("PNG", Image.fromarray(grey).convert("P")),
        "deep.png": pillow("PNG", deep),
        "deep-colour.png": imagecodecs.png_encode(np.dstack([deep] * 3)),
    }


def _jpeg() -> dict[str, bytes]:
    grey = picture()
    return {
        "grey.jpg": pillow("JPEG", grey, dpi=(254, 254)),
        "progressive.jpg": pillow("JPEG", np.dstack([grey] * 3), progressive=True),
    }


def _tiff() -> dict[str, bytes]:
    grey = picture()
    colour = np.dstack([grey] * 3)
    return {
        "plain.tif": tiff(grey, resolution=(254, 254)),
        "deflate.tif": tiff(grey.astype(np.uint16), compression="zlib", predictor=True, tile=(16, 16)),
        "lzw.tif": tiff(colour, compression="lzw", rowsperstrip=8, photometric="rgb"),
        "jpeg.tif": tiff(colour, compression="jpeg", photometric="rgb"),
        "jpeg2000.tif": tiff(grey, compression="jpeg2000"),
        "float.tif": tiff(grey.astype(np.float32), photometric="miniswhite"),
        "preview.tif": tiff(grey, grey[::2, ::2]),
        "imagej.tif": tiff(grey, imagej=True, resolution=(10, 10), metadata={"unit": "mm"}),
        "palette.tif": tiff(grey, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "two-levels.tif": pillow("TIFF", Image.fromarray(grey > 90), compression="group4"),
    }


def _dicom() -> dict[str, bytes]:
    grey = picture()
    deep = grey.astype(np.uint16) * 16
    window = {"WindowCenter": ["600", "2000"], "WindowWidth": ["1200", "3000"]}
    return {
        "plain.dcm": dicom(deep, **window, RescaleSlope="2", RescaleIntercept="-5"),
        "signed.dcm": dicom(grey.astype(np.int16) - 100, PhotometricInterpretation="MONOCHROME1"),
        "lut.dcm": dicom(grey, VOILUTSequence=[lut()], PixelPaddingValue=0),
        "rle.dcm": dicom(deep, RLELossless),
        "jpeg2000.dcm": dicom(np.tile(deep, (2, 2)), JPEG2000Lossless),
        "deflated.dcm": dicom(deep, DeflatedExplicitVRLittleEndian, **window),
        "bare": dicom(deep)[132 + 12 :],
    }


def _csv() -> dict[str, bytes]:
    return {
        "long.csv": b"image,landmark,x,y,score,expected_error\np1.png,a,1.5,2,0.9,3\np1.png,b,,,,\np2.png,a,3,4,1,2\n",
        "wide.csv": b"image;a_x;a_y;b_x;b_y\np1.png;1,5;2;3;4\np2;5;6;;\n",
        "utf16.csv": "image,landmark,x,y\np1.png,Sella Türcica,1,2\n".encode("utf-16"),
    }


def _tps() -> dict[str, bytes]:
    about = json.dumps({"height": 24, "landmarks": ["a", "b"]}).encode()
    return {
        "ours.tps": b"LM=2\r\n1.5 20\r\n-1 -1\r\nIMAGE=p1.png\r\nID=0\r\nCOMMENT=onemark "
        + about
        + b"\r\nSCALE=0.1\r\n",
        "foreign.tps": b"LM=2\n1 20\n3 4\nIMAGE=p1.png\nID=0\n"
        b"LM=2\nNA NA\n5 6\nCURVES=1\nPOINTS=1\n1 1\nIMAGE=p2.png\nID=1\n",
    }


def _slicer() -> dict[str, bytes]:
    point = {
        "id": "1",
        "label": "a",
        "position": [0.5, 0.6, 0.0],
        "positionStatus": "defined",
        "description": "score=0.5",
    }
    gone = {"id": "2", "label": "b", "position": [0, 0, 0], "positionStatus": "undefined"}
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": [point, gone],
    }
    about = {"image": "p1.png", "spacing_mm": [0.1, 0.1]}
    return {
        "p1.mrk.json": json.dumps({"markups": [markup], "onemark": about}).encode(),
        "p2.mrk.json": json.dumps({"markups": [{**markup, "coordinateSystem": "RAS"}]}, indent=1).encode(),
    }


def _coco() -> dict[str, bytes]:
    images = [{"id": i, "file_name": name, "width": 32, "height": 24} for i, name in enumerate(IMAGES, 1)]
    category = {"id": 1, "name": "radiograph", "keypoints": ["a", "b"], "skeleton": []}
    annotations = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "keypoints": [1.5, 2, 2, 0, 0, 0],
            "keypoint_scores": [0.5, None],
        },
        {
            "id": 2,
            "image_id": 2,
            "category_id": 1,
            "keypoints": [3, 4, 2, 5, 6, 1],
            "expected_errors": [1, 2],
        },
    ]
    document = {"images": images, "categories": [category], "annotations": annotations}
    return {"two.json": json.dumps(document, indent=1).encode()}


def _foreign() -> dict[str, dict[str, bytes]]:
    import roifile

    shape = {"label": "a", "points": [[1.5, 2]], "shape_type": "point"}
    labelme = {"version": "5", "shapes": [shape], "imagePath": "p1.png", "imageHeight": 24, "imageWidth": 32}
    cvat = (
        b"<annotations><image id='0' name='p1.png' width='32' height='24'>"
        b"<points label='a' points='1.5,2;3,4'/></image></annotations>"
    )
    fcsv = b"# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n1,1,2,0,0,0,0,1,1,1,0,a,,\n"
    deeplabcut = b"scorer,J,J\nbodyparts,a,a\ncoords,x,y\nlabeled-data/s/p1.png,1,2\n"
    return {
        "labelme": {"a.json": json.dumps(labelme).encode()},
        "cvat": {"a.xml": cvat},
        "pts": {"p1.pts": b"version: 1\nn_points: 2\n{\n1.5 2\n3 4\n}\n"},
        "yolo": {"p1.txt": b"0 0.5 0.5 0.2 0.2 0.25 0.5 2 0.1 0.2 0\n"},
        "roi": {"p1.roi": bytes(roifile.ImagejRoi.frompoints(np.array([[1, 2], [3, 4]])).tobytes())},
        "fcsv": {"p1.fcsv": fcsv},
        "napari": {"p1.csv": b"index,axis-0,axis-1\n0,2,1.5\n1,4,3\n"},
        "deeplabcut": {"a.csv": deeplabcut},
    }


def _others() -> dict[str, dict[str, bytes]]:
    """Kinds that few programs write."""
    import roifile

    roi = bytes(roifile.ImagejRoi.frompoints(np.array([[1, 2]])).tobytes())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("a.roi", "b.roi"):
            file.writestr(zipfile.ZipInfo(name), roi)
    value = {"x": 20.0, "y": 30.0, "width": 0.5, "keypointlabels": ["a"]}
    result = {"type": "keypointlabels", "original_width": 32, "original_height": 24, "value": value}
    tasks = [{"id": 1, "data": {"image": "/data/0123abcd-p1.png"}, "annotations": [{"result": [result]}]}]
    region = {"shape_attributes": {"name": "point", "cx": 5, "cy": 6}, "region_attributes": {"name": "a"}}
    part = "<part name='a' x='5' y='6'/><part name='b' x='7' y='9'/>"
    imglab = f"<dataset><images><image file='p1.png'><box>{part}</box></image></images></dataset>"
    return {
        "roi-set": {"p1.zip": archive.getvalue()},
        "label-studio": {"a.json": json.dumps(tasks).encode()},
        "via": {"a.json": json.dumps({"k": {"filename": "p1.png", "regions": [region]}}).encode()},
        "imglab": {"a.xml": imglab.encode()},
        "isbi": {"p1.txt": b"5,6\n7,9\n10,11\n1\n2\n"},
        "imagej-results": {"a.csv": b" ,Area,X,Y,Label\n1,0,5,6,p1.png:a\n2,0,7,9,p1.png:b\n"},
    }


SEEDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "bmp": lambda: {
        "grey.bmp": pillow("BMP", picture()),
        "bits.bmp": pillow("BMP", Image.fromarray(picture() > 90)),
    },
    "webp": lambda: {
        "grey.webp": pillow("WEBP", picture()),
        "exact.webp": pillow("WEBP", picture(), lossless=True),
    },
    "jpeg2000": lambda: {
        "a.jp2": pillow("JPEG2000", picture()),
        "a.j2k": pillow("JPEG2000", picture(), no_jp2=True),
    },
    "tiff": _tiff,
    "dicom": _dicom,
    "csv": _csv,
    "tps": _tps,
    "slicer": _slicer,
    "coco": _coco,
    **{target: (lambda found=found: found) for target, found in (_foreign() | _others()).items()},
}


def write_seeds() -> None:
    """Write every seed into the corpus."""
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds().items():
            (CORPUS / target / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    write_seeds()
