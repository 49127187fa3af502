"""What `onemark doctor` says: everything a bug report needs and nothing of the radiographs."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onemark
from onemark.cli.tables import align_columns
from onemark.data.atomic import check_writable
from onemark.types import UserError

_GIB = 1 << 30
_LOW_DISK_GIB = 2.0
_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numpy",
    "scikit-image",
    "pillow",
    "tifffile",
)
# What it serves -> the packages it takes, and how to get them.
_OPTIONAL = {
    "DICOM": (("pydicom",), "pip install onemark[dicom]"),
    "compressed DICOM": (
        ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"),
        "pip install onemark[dicom]",
    ),
    "napari": (("napari", "PySide6-Essentials"), "pip install onemark[napari]"),
    "plots": (("matplotlib",), "pip install onemark[plots]"),
}


def examine() -> list[str]:
    """Return the lines of one screen, to be pasted into a bug report.

    Paths start with `~` where they lie in the home folder; no radiograph and no run is named.
    """
    rows = [("onemark", onemark.__version__), *_system(), *_device(), *_optional(), *_formats(), *_places()]
    return align_columns(rows)


def _system() -> Iterator[tuple[str, str]]:
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield "processors", f"{os.cpu_count() or '?'}, of which {_usable()} may be used"
    yield "memory", _memory()
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    yield "free disk", f"{free:.1f} GiB here{'; that is little' if free < _LOW_DISK_GIB else ''}"


def _usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return "unknown"
    text = f"{page * pages / _GIB:.1f} GiB"
    try:
        return f"{text}, {page * os.sysconf('SC_AVPHYS_PAGES') / _GIB:.1f} GiB of it unused"
    except (ValueError, OSError):
        return text


def _device() -> Iterator[tuple[str, str]]:
    from onemark.nn.device import choose, describe

    yield "device", describe()
    import torch

    yield "torch's threads", str(torch.get_num_threads())
    if choose() == "cuda":
        free, total = torch.cuda.mem_get_info()
        yield "GPU memory", f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free, CUDA {torch.version.cuda}"


def _optional() -> Iterator[tuple[str, str]]:
    for what, (packages, way) in _OPTIONAL.items():
        found = {package: _version(package) for package in packages}
        missing = [package for package, number in found.items() if not number]
        there = ", ".join(f"{package} {number}" for package, number in found.items() if number)
        yield what, f"no: {', '.join(missing)} missing; {way}" if missing else there


def _formats() -> Iterator[tuple[str, str]]:
    from onemark.data.landmarks.formats import readers, writers

    yield "reads", ", ".join(sorted(one.key for one in readers()))
    yield "writes", ", ".join(one.key for one in writers())


def _places() -> Iterator[tuple[str, str]]:
    from platformdirs import user_cache_path, user_config_path, user_data_path

    yield "runs of the window", _place(user_data_path("onemark"))
    yield "caches", _place(user_cache_path("onemark", appauthor=False))
    yield "preferences", _place(user_config_path("onemark"))


def _place(path: Path) -> str:
    try:
        shown = "~/" + path.relative_to(Path.home()).as_posix()
    except ValueError:
        shown = str(path)
    try:
        check_writable(path / "x")
    except UserError:
        return f"{shown} (not writable)"
    return shown if path.exists() else f"{shown} (not made yet)"


def _version(package: str) -> str:
    """The version of an installed package; empty when there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
