"""Pictures of kinds whose decoders may take for ever are read in a process that can be ended."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.images import aside, limits
from onemark.data.images.itk import read_geometry
from onemark.data.images.read import decode_radiograph, read_decoded, read_header, read_radiograph
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

SHADES = np.random.default_rng(0).integers(0, 4096, (40, 60)).astype(np.uint16)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    tifffile.imwrite(
        folder / "a.tif", SHADES, byteorder=">", compression="zlib", resolution=(100, 50), resolutionunit=3
    )
    tifffile.imwrite(folder / "b é.tif", SHADES.astype(np.float64))
    Image.fromarray(SHADES.astype(np.uint8)).save(folder / "c.jp2")
    Image.fromarray(SHADES.astype(np.uint8)).save(folder / "d.webp", lossless=True)
    pydicom.dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm").save_as(
        folder / "e.dcm"
    )
    (folder / "f.tif").write_bytes(b"II*\0" + bytes(100))
    Image.fromarray(SHADES.astype(np.uint8)).save(folder / "g.png")
    return folder


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(aside.SECONDS_VARIABLE, "100")


def look(path: Path) -> list[object]:
    """All that is read of a picture, or why not."""
    try:
        found = read_decoded(path)
        values = found.values
        return [
            found.header,
            read_header(path),
            read_geometry(path),
            found.notes,
            values.dtype.kind,
            values.tolist(),
        ]
    except UserError as error:
        return [str(error)]


def test_the_other_process_reads_the_same(
    pictures: Path, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(pictures.iterdir())
    there = [look(path) for path in paths]
    process = aside.idle[0].process
    assert process.poll() is None, "one process reads all of them"
    assert len(aside.idle) == 1
    monkeypatch.setenv(aside.SECONDS_VARIABLE, "0")
    assert there == [look(path) for path in paths]
    assert read_decoded(paths[0]).values.flags.writeable


def test_limits_go_along(pictures: Path, limited: None) -> None:
    with limits.use_limits(limits.Limits(pixels=1000)), pytest.raises(UserError, match="onemark scale"):
        read_decoded(pictures / "a.tif")
    assert read_decoded(pictures / "a.tif").values.shape == (40, 60)


def test_threads_have_a_process_each_and_give_it_back(pictures: Path, limited: None) -> None:
    with aside.worker() as first, aside.worker() as second:
        assert first is not second
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(look(pictures / "a.tif"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [look(pictures / "a.tif")] * 4


@pytest.mark.parametrize(
    ("body", "seconds", "said"),
    [
        ("time.sleep(60)", "1", "takes longer than 1 s to read"),
        ("os._exit(3)", "50", "makes its decoder crash"),
        ("os.write(1, b'noise') and 1/0", "50", "is damaged or cut off"),
    ],
)
def test_a_decoder_that_hangs_or_crashes_costs_one_picture(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, seconds: str, said: str
) -> None:
    """A stub in the other process stands for a decoder that loops."""
    stub = (
        f"import os, time\nfrom onemark.data.images import tiff\ntiff.read_values = lambda stream: {body}\n"
    )
    (tmp_path / "decoder_stub.py").write_text(stub)
    also = f"sys.path.append({str(tmp_path)!r}); import decoder_stub; serve(float"
    monkeypatch.setattr(aside, "START", aside.START.replace("serve(float", also))
    monkeypatch.setenv(aside.SECONDS_VARIABLE, seconds)
    monkeypatch.setattr(aside, "idle", [])
    messages: list[str] = []
    cohort = open_cohort(pictures).subset(["a.tif", "c.jp2", "g.png"])
    read = [one.name for one in cohort.readable(cohort.names, lambda event: messages.append(event.message))]
    assert read == ["c.jp2", "g.png"]
    assert messages[0].startswith(f"skipped: {pictures / 'a.tif'} {said}")
    aside.end_all()


def test_without_another_process_pictures_are_read_in_this_one(
    pictures: Path, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "idle", [])
    monkeypatch.setattr(aside, "START", "import sys; sys.exit(1)")
    assert read_decoded(pictures / "a.tif").values.shape == (40, 60)


def test_scripts_without_a_guard_and_their_end_are_no_trouble(pictures: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import onemark\nprint(onemark.read_radiograph({str(pictures / 'a.tif')!r}).size)\n")
    env = {**os.environ, aside.SECONDS_VARIABLE: "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("(40, 60)\n", "", 0)


def test_what_is_no_file_is_read_there_too(pictures: Path, limited: None, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    ask = aside.ask

    def note(kind: str, what: str, path: Path) -> object:
        asked.append(kind)
        return ask(kind, what, path)

    monkeypatch.setattr(aside, "ask", note)
    for name, kinds in (("a.tif", ["tiff"]), ("g.png", [])):
        content = (pictures / name).read_bytes()
        asked.clear()
        found = decode_radiograph(
            lambda content=content: BoundedReader(io.BytesIO(content), "s3://bucket/x"), "s3://bucket/x", "x"
        )
        assert asked == kinds
        expected = read_radiograph(pictures / name, "x")
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.spacing == expected.spacing
