"""Run, radiographs and result in a bucket of a real S3 server, over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import onemark
from onemark import Cohort, Model
from onemark.cli import main

s3fs = pytest.importorskip("s3fs", reason="extra `test`: s3fs")
server = pytest.importorskip("moto.server", reason="extra `test`: moto[s3]")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket, whose address and credentials only the environment knows."""
    there = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    there.start()
    host, port = there.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem(use_listings_cache=False)
    filesystem.mkdir("bucket")
    yield filesystem
    there.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_everything_may_lie_in_a_bucket(
    bucket: Any, model: Model, few: Cohort, capsys: pytest.CaptureFixture[str]
):
    for name in few.names:
        bucket.pipe_file(f"bucket/xrays/{name}", few.path(name).read_bytes())
    assert model.folder is not None
    for path in model.folder.path.iterdir():
        if path.is_file():
            bucket.pipe_file(f"bucket/run/{path.name}", path.read_bytes())
    words = [
        "predict",
        "s3://bucket/run",
        "s3://bucket/xrays",
        "--out",
        "s3://bucket/p.csv",
        "--device",
        "cpu",
    ]
    assert main(words) == 0, capsys.readouterr().err
    expected = model.predict(few)
    lines = bucket.cat_file("bucket/p.csv").decode().splitlines()
    assert len(lines) == 1 + len(expected.images) * len(expected.names)
    assert {line.split(",")[0] for line in lines[1:]} == set(few.names)
    assert not [path for path in bucket.find("bucket") if ".parts" in path]
    assert main(["predict", "s3://bucket/nothing", "s3://bucket/xrays", "--out", "s3://bucket/q.csv"]) == 2
    assert "holds no run" in capsys.readouterr().err
    onemark.load("s3://bucket/run", "cpu")
