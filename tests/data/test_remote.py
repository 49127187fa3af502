"""Radiographs behind an address."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark import Cohort, UserError
from onemark.data import remote
from onemark.data.landmarks.convert import check_target
from onemark.data.urls import join_url, parse_place, read_url
from onemark.progress import Progress

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["memory", "zip"])
def url(request: pytest.FixtureRequest, xrays: Path, tmp_path: Path) -> Iterator[str]:
    """Three radiographs in a sub-folder, one of them damaged, and what does not count."""
    files = {
        f"xrays/sub/{name}": (xrays / name).read_bytes() for name in ("phantom-010.png", "phantom-002.png")
    }
    files |= {"xrays/sub/bad.png": b"\x89PNG\r\n\x1a\n", "xrays/.hidden/a.png": b"", "xrays/notes.txt": b"n"}
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        yield f"zip://xrays::{tmp_path / 'x.zip'}"
        return
    memory = fsspec.filesystem("memory")
    for name, data in files.items():
        memory.pipe_file(f"/test/{name}", data)
    yield "memory://test/xrays"
    memory.rm("/test", recursive=True)


def test_radiographs_behind_an_address_are_those_of_the_folder(url: str, phantoms: Cohort):
    cohort, said = onemark.open_cohort(url), list[Progress]()
    assert cohort.names == ("sub/bad.png", "sub/phantom-002.png", "sub/phantom-010.png")
    assert cohort.place == url
    for found in cohort.readable(sink=said.append):
        here = phantoms[found.name.removeprefix("sub/")]
        assert np.array_equal(found.pixels, here.pixels)
        assert found.spacing == here.spacing
        assert cohort.header(found.name) == phantoms.header(here.name)
    messages = [event.message for event in said]
    assert any("bad.png" in one and "damaged" in one for one in messages)
    assert any("no suffix of a radiograph" in one for one in messages)
    with pytest.raises(UserError, match="no file of this machine"):
        cohort.path("phantom-002")


def test_a_file_is_fetched_once(url: str, monkeypatch: pytest.MonkeyPatch):
    fetched: list[str] = []

    def note(address: str, most: int) -> bytes:
        fetched.append(address)
        return read_url(address, most)

    monkeypatch.setattr(remote, "read_url", note)
    cohort = onemark.open_cohort(url)
    for found in cohort.readable(ahead=True):
        assert cohort.sop_instance_uid(found.name) == ""
    assert fetched == [cohort.address(name) for name in cohort.names]


def test_two_files_of_one_name_are_refused():
    memory = fsspec.filesystem("memory")
    for name in ("\u00e9.png", "e\u0301.png"):
        memory.pipe_file(f"/twice/{name}", b"")
    try:
        with pytest.raises(UserError, match="memory://twice holds two files that read"):
            onemark.open_cohort("memory://twice")
    finally:
        memory.rm("/twice", recursive=True)


@pytest.mark.parametrize(
    ("name", "format"), [("p.mrk.json", None), ("p.sr.dcm", None), ("p.json", "labelme")]
)
def test_formats_made_from_the_files_are_refused_before_the_work(
    url: str, name: str, format: str | None, tmp_path: Path
):
    cohort = onemark.open_cohort(url)
    with pytest.raises(UserError, match="no file of this machine"):
        check_target(tmp_path / name, cohort, format=format)
    check_target(tmp_path / "p.tps", cohort)


def test_training_asks_for_a_folder(url: str, exemplars: onemark.LandmarkTable):
    cohort = onemark.open_cohort(url)
    point = onemark.LandmarkTable.from_sets([one_point("sub/phantom-002.png")])
    with pytest.raises(UserError, match="on this machine"):
        onemark.fit(cohort, point)


def one_point(image: str) -> onemark.LandmarkSet:
    return onemark.LandmarkSet(image, ("a",), np.array([[5.0, 5.0]]))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("memory://nothing-here", "does not exist|no radiographs"),
        ("nonsense://x", "cannot be reached|needs another package"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("https://host/x?X-Amz-Signature=secret", "credentials"),
        ("zip://x::/no/such.zip", "does not exist"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence_without_secrets(place: str, said: str):
    with pytest.raises(UserError, match=said) as caught:
        onemark.open_cohort(place)
    assert "secret" not in str(caught.value)


def test_file_addresses_are_folders_of_this_machine(xrays: Path, phantoms: Cohort):
    assert onemark.open_cohort(f"file://{xrays}") == phantoms


def test_addresses_below_others():
    assert join_url("s3://b/x/", "a/1.png") == "s3://b/x/a/1.png"
    assert join_url("zip://in::file.zip", "1.png") == "zip://in/1.png::file.zip"
    assert parse_place("C:/xrays") == Path("C:/xrays")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_archive_that_is_a_pipe_is_refused(tmp_path: Path, scheme: str):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UserError, match="is a pipe or a device"):
        onemark.open_cohort(f"zip://::{scheme}{tmp_path / 'x.zip'}")


@pytest.mark.parametrize("address", ["http://[", "zip://a::s3://[x", "file:///a\0b", "s3://a\nb"])
def test_what_is_no_address_is_one_sentence(address: str):
    with pytest.raises(UserError) as caught:
        onemark.open_cohort(address)
    assert "\n" not in str(caught.value)


def test_more_bytes_than_allowed_are_refused_before_they_are_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bin", bytes(3 << 20))
    address = f"zip://a.bin::{tmp_path / 'x.zip'}"
    assert read_url(address, 3 << 20) == bytes(3 << 20)
    with pytest.raises(UserError, match="is larger than 2 MiB"):
        read_url(address, 2 << 20)
