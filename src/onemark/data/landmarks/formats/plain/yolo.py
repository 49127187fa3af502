"""YOLO-pose: `labels/STEM.txt` in shares of the picture's sides, and a `data.yaml` that says how many key points.

A line is `class x y width height`, then `x y` or `x y visibility` for each landmark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.keys import canonical
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries, point
from onemark.data.landmarks.formats.base import (
    Format,
    Reading,
    Source,
    Target,
    bare_names,
    number,
    numbered,
    parse_number,
)
from onemark.data.names import image_stem
from onemark.data.paths import read_regular, safe_child
from onemark.types import LandmarkSet, UserError

_BOX = 5
_CONFIGS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_LONGEST_CONFIG = 1 << 20
_PADDING = 0.1


def _recognises(source: Source) -> bool:
    if source.suffix != ".txt" or not source.lines:
        return False
    cells = source.lines[0].split()
    values = [parse_number(cell) for cell in cells]
    if any(map(math.isnan, values)):
        return False
    return len(values) > _BOX and values[0].is_integer() and all(0 <= value <= 1 for value in values[1:_BOX])


def _read(source: Source) -> Reading:
    image = source.own_image()
    lines = [line for line in source.text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise UserError(f"{source.path} holds {len(lines)} objects; onemark takes one object for each image")
    height, width = source.size_of(image, "holds shares of the picture's sides")
    values = [number(cell, f"{source.path}, line 1") for cell in lines[0].split()]
    config = _config(source.path)
    count, each = _shape(source.path, values[_BOX:], config)
    names = _names(config, count)
    entries: list[Entry] = []
    for index, name in enumerate(names):
        x, y, *visible = values[_BOX + each * index : _BOX + each * (index + 1)]
        # Ultralytics writes 0 0 for a point that is not there where it has no visibility.
        is_gone = visible == [0.0] or (x == 0 and y == 0)
        entries.append(point(image, name, NOWHERE if is_gone else (x * width, y * height), "line 1"))
    return Reading(group_entries(source.path, entries))


def _shape(path: Path, values: Sequence[float], config: Mapping[str, Any]) -> tuple[int, int]:
    """How many key points, and how many numbers each has: as the configuration says, else by the visibilities."""
    shape = config.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(value, int) for value in shape):
        if shape[0] * shape[1] != len(values) or shape[1] not in (2, 3):
            raise UserError(
                f"{path} has {len(values)} numbers of key points, but data.yaml says {shape}; correct it"
            )
        return shape[0], shape[1]
    if len(values) % 3 == 0 and all(value in (0, 1, 2) for value in values[2::3]):
        return len(values) // 3, 3
    if len(values) % 2:
        raise UserError(
            f"{path} has {len(values)} numbers of key points, not two or three for each; correct it"
        )
    return len(values) // 2, 2


def _names(config: Mapping[str, Any], count: int) -> Sequence[str]:
    found = config.get("kpt_names")
    if isinstance(found, dict):
        found = next(iter(found.values()), None)
    names = [canonical(str(name)) for name in found] if isinstance(found, list) else []
    return names if len(names) == count and len(set(names)) == count and all(names) else numbered(count)


def _config(path: Path) -> Mapping[str, Any]:
    """The data set's own description: beside the file or up to three folders above."""
    import yaml

    for folder in list(path.absolute().parents)[:4]:
        for name in _CONFIGS:
            try:
                found = yaml.safe_load(read_regular(folder / name, _LONGEST_CONFIG))
            except (OSError, yaml.YAMLError, UserError, ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return {}


def _render(target: Target) -> Mapping[Path, str]:
    import yaml

    folder = target.path.with_suffix("") if target.path.suffix in (".txt", ".yaml") else target.path
    bare = bare_names(target.table.images)
    texts = {}
    for one in target.table:
        name = image_stem(one.image) if bare else one.image
        texts[safe_child(folder, f"labels/{name}.txt")] = _line(one, target.size(one.image))
    texts[folder / "data.yaml"] = yaml.safe_dump(_describe_set(target), sort_keys=False, allow_unicode=True)
    return texts


def _describe_set(target: Target) -> dict[str, Any]:
    names = list(target.table.names)
    return {
        "path": str(target.cohort.folder),
        "train": ".",
        "val": ".",
        "kpt_shape": [len(names), 3],
        "names": {0: "radiograph"},
        "kpt_names": {0: names},
    }


def _line(one: LandmarkSet, size: tuple[int, int]) -> str:
    height, width = size
    shares = one.xy / (width, height)
    visible = np.isfinite(shares).all(axis=1)
    low, high = np.zeros(2), np.ones(2)
    if visible.any():
        low, high = shares[visible].min(axis=0), shares[visible].max(axis=0)
        room = _PADDING * (high - low)
        low, high = np.clip(low - room, 0, 1), np.clip(high + room, 0, 1)
    cells = [*((low + high) / 2).tolist(), *(high - low).tolist()]
    for x, y in shares.tolist():
        cells += [x, y, 2] if math.isfinite(x) and math.isfinite(y) else [0, 0, 0]
    return " ".join(["0", *(f"{cell:.10g}" for cell in cells)]) + "\n"


FORMAT = Format(
    "yolo",
    "YOLO-pose (folder of labels/*.txt and data.yaml)",
    "",
    _recognises,
    _read,
    _render,
    rank=9,
    separate=True,
)
