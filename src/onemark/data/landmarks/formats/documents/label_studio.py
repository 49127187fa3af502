"""Label Studio's JSON export: tasks with `keypointlabels`, in percent of the picture as a browser shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Size, Source, number
from onemark.types import UserError

# An upload gets eight hexadecimal digits before its name.
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")
_POINTS = ("keypointlabels", "keypoint")


def _tasks(source: Source) -> list[dict[str, Any]]:
    document = source.document if isinstance(source.document, list) else [source.document]
    return [task for task in document if isinstance(task, dict)]


def _recognises(source: Source) -> bool:
    tasks = _tasks(source)
    return bool(tasks) and all(
        isinstance(task.get("data"), dict) and ("annotations" in task or "completions" in task)
        for task in tasks[:5]
    )


def _read(source: Source) -> Reading:
    """The points of each task's first annotation that was not cancelled."""
    entries: list[Entry] = []
    sizes: dict[str, Size] = {}
    others = unlabelled = several = 0
    try:
        for task in _tasks(source):
            done = list(task.get("annotations") or task.get("completions") or [])
            done = [one for one in done if not one.get("was_cancelled")]
            unlabelled += not done
            several += len(done) > 1
            image = _image(source, task["data"])
            for result in done[0]["result"] if done else ():
                if str(result.get("type", "")).lower() not in _POINTS:
                    others += result.get("type") != "choices"
                    continue
                entry, sizes[image] = _point(result, image, f"task {task.get('id', '?')}")
                entries.append(entry)
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{source.path} is no export of Label Studio ({error!r}); export it as JSON"
        ) from error
    notes = _notes(others, unlabelled, several)
    return Reading(group_entries(source.path, entries), list(notes), sizes)


def _notes(others: int, unlabelled: int, several: int) -> Iterator[str]:
    if others:
        yield f"{others} regions that are no key points were not used"
    if unlabelled:
        yield f"{unlabelled} tasks without annotation were not used"
    if several:
        yield f"{several} tasks have several annotations, of which the first was used"


def _point(result: dict[str, Any], image: str, where: str) -> tuple[Entry, Size]:
    size = int(result["original_height"]), int(result["original_width"])
    value = result["value"]
    labels = value.get("keypointlabels") or value.get("labels") or [""]
    name = canonical(str(labels[0]))
    if not name:
        raise UserError(f"{where} has a key point without label; label it")
    x, y = number(value["x"], where) * size[1] / 100, number(value["y"], where) * size[0] / 100
    return point(image, name, (x, y), where), size


def _image(source: Source, data: dict[str, Any]) -> str:
    url = next(
        (value for value in data.values() if isinstance(value, str) and re.search(r"\.\w{2,6}($|\?)", value)),
        "",
    ) or next((value for value in data.values() if isinstance(value, str)), "")
    if not url:
        raise UserError("a task names no image; export it with its data")
    parts = urlsplit(url)
    local = parse_qs(parts.query).get("d")
    path = image_key(unquote(local[0] if local else parts.path).lstrip("/"))
    folder, _, last = path.rpartition("/")
    if match := _UPLOAD.fullmatch(last):
        whole = f"{folder}/{match['name']}" if folder else match["name"]
        located = source.locate(path) if source.cohort is not None else None
        source.missing.pop(path, None)
        return located or whole
    return path


FORMAT = Format("label-studio", "Label Studio (.json)", ".json", _recognises, _read, rank=3, oriented=True)
