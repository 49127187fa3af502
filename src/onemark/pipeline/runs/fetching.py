"""Runs at an address: fetched into a folder of this machine, which goes when the process ends."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onemark.data.atomic import user_errors
from onemark.data.paths import printable
from onemark.data.urls import join_url, open_filesystem, parse_place, read_url, url_errors
from onemark.pipeline.runs.folder import ANSWERS, CONFIG, EXEMPLARS, LOG, TEACHING, WEIGHTS
from onemark.types import UserError

NEEDED = (CONFIG, EXEMPLARS)
WANTED = (WEIGHTS, TEACHING, ANSWERS, LOG)
_MOST = 1 << 32
_fetched: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until the process ends: a model reads its weights again when it is identified."""


def find_run(run: Path | str) -> Path:
    """The folder of a run; one at an address is fetched first, as it is now.

    Args:
        run: A folder, or an address such as `s3://bucket/runs/hips`.

    Raises:
        UserError: there is no run at the address, it cannot be reached, or it holds credentials.
    """
    place = parse_place(run)
    return place if isinstance(place, Path) else _fetch(place)


def _fetch(url: str) -> Path:
    filesystem, path = open_filesystem(url)
    with url_errors(url):
        filesystem.invalidate_cache()  # a training may have gone on since
        found = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
    there = {str(one).rstrip("/").rpartition("/")[2] for one in found}
    if missing := [name for name in NEEDED if name not in there]:
        raise UserError(
            f"{printable(url)} holds no run (no {missing[0]}): give the address of a folder that `onemark fit` wrote"
        )
    with user_errors(tempfile.gettempdir()):
        _fetched.append(tempfile.TemporaryDirectory(prefix="onemark-run-"))
        folder = Path(_fetched[-1].name)
        # Only files of these names: what else an address holds never reaches the disk.
        for name in (*NEEDED, *WANTED):
            if name in there:
                (folder / name).write_bytes(read_url(join_url(url, name), _MOST))
    return folder
