"""The session on disk, beside the runs: written atomically after every edit, off the GUI thread."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from onemark.data.atomic import write_text
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.session import match_names
from onemark.types import UserError

NAME = "session.json"
VERSION = 1
KEYS = ("closed", "current", "marks", "run", "saved", "schema", "wishes")
FILES = re.compile(r"session(-\d+)*\.json")  # not those set aside


def work_folder(cohort: Path) -> Path:
    """Where a cohort's session and runs are kept: `<folder>-onemark` beside it, else in the user's data folder.

    Never inside the cohort, whose sub-folders are searched for radiographs.
    """
    cohort = cohort.resolve()
    beside = cohort.with_name(f"{cohort.name}-onemark")
    if os.access(beside if beside.exists() else cohort.parent, os.W_OK):
        return beside
    digest = hashlib.sha256(str(cohort).encode()).hexdigest()[:8]
    return user_data_path("onemark") / f"{cohort.name}-{digest}"


def read(path: Path) -> dict[str, Any] | None:
    """Read an autosave; None when there is none.

    Raises:
        UserError: the file is there but cannot be understood; it is left as it is.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); it is kept, and a new session is begun beside it"
        ) from error
    return data


def kept(work: Path, failed: Callable[[Path, UserError], None]) -> dict[Path, dict[str, Any]]:
    """Every session that was kept in a work folder, the newest first; several where two windows had it open.

    Args:
        work: See `work_folder`.
        failed: Called with each file that cannot be understood, and why.
    """
    found = {}
    for path in sorted(one for one in work.glob("session*.json") if FILES.fullmatch(one.name)):
        try:
            session = read(path)
            if session is not None:
                found[path] = _check_complete(path, session)
        except UserError as error:
            failed(path, error)
    return dict(sorted(found.items(), key=lambda one: one[1]["saved"], reverse=True))


def _check_complete(path: Path, session: dict[str, Any]) -> dict[str, Any]:
    gone = [key for key in KEYS if key not in session]
    if gone:
        raise UserError(f"{path} has lost its {gone[0]!r}; it is kept, and a new session is begun beside it")
    return session


def merge(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One session of several, the newest first: that one counts, and what it lacks is taken from the others."""
    whole = dict(sessions[0])
    whole["schema"] = next((one["schema"] for one in sessions if one["schema"]["names"]), whole["schema"])
    whole["marks"] = dict(whole["marks"])
    for one in sessions[1:]:
        for image in one["marks"].keys() - whole["marks"].keys():
            annotation = _reorder_annotation(
                whole["schema"]["names"], one["schema"]["names"], one["marks"][image]
            )
            if annotation is not None:
                whole["marks"][image] = annotation
    trained = next((one for one in sessions if one["run"]), sessions[0])
    whole |= {key: trained.get(key) for key in ("run", "former")}
    return whole


def _reorder_annotation(
    names: Sequence[str], before: Sequence[str], annotation: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Kept points under another schema; None where nothing is left of them."""
    if list(names) == list(before):
        return annotation
    points = Annotation.from_json(dict(annotation))
    if len(points.xy) != len(before):
        return None
    points = points.reorder(match_names(tuple(before), tuple(names)))
    return points.to_json() if points.done.any() else None


def read_saved_spacing(cohort: Path) -> float | None:
    """mm per pixel that the person said of this cohort's folder when it was open last, or None."""
    # What cannot be read is told when the session is begun.
    newest = next(iter(kept(work_folder(cohort), lambda path, error: None).values()), {})
    said = newest.get("wishes", {}).get("spacing_mm")
    return float(said) if isinstance(said, int | float) else None


class Autosave:
    """Writes one session file. Calls return at once; the newest content wins.

    Args:
        path: The file. When another program changes it meanwhile, `session-2.json` and so on is written instead.
        tell: Called, in the writer's thread, with a sentence and its kind when that happens or nothing can be written.
    """

    def __init__(self, path: Path, tell: Callable[[str, str], None] = lambda text, kind: None) -> None:
        self.path = path
        self.error: Exception | None = None
        self._tell = tell
        self._writer = ThreadPoolExecutor(1, "onemark-autosave")
        self._last: Future[None] | None = None
        self._stamp = _stamp(path)

    def save(self, content: Callable[[], Mapping[str, Any]]) -> None:
        """Write what `content` gives, soon; superseded content that has not been begun is skipped.

        Args:
            content: Called in the writer's thread, so it must work on a snapshot.
        """
        if self._last is not None:
            self._last.cancel()
        self._last = self._writer.submit(self._write, content)

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._last is not None and not self._last.cancelled():
            self._last.result()

    def close(self) -> None:
        """Write what is left and stop."""
        self.flush()
        self._writer.shutdown()

    def _write(self, content: Callable[[], Mapping[str, Any]]) -> None:
        before = self.error
        try:
            text = json.dumps({"version": VERSION, "saved": time.time(), **content()}, indent=1)
            if _stamp(self.path) != self._stamp:
                self._move()
            write_text(self.path, text)
            self._stamp = _stamp(self.path)
            self.error = None
        except Exception as error:  # whatever it is, the person must hear that nothing is saved
            self.error = error
            if before is None:
                self._tell(f"Your points cannot be saved: {error}", "bad")

    def _move(self) -> None:
        path = find_unused(self.path)
        if path != self.path:
            self._tell(
                f"Another window or program has changed {self.path.name}, so your points are kept in {path.name} from "
                "here on; both are read when the folder is opened again.",
                "warn",
            )
        self.path, self._stamp = path, None


def set_aside(path: Path) -> Path:
    """Rename an autosave out of the way, keeping it; returns its new path."""
    kept = find_unused(path.with_name(f"{path.stem}-set-aside{path.suffix}"))
    path.rename(kept)
    return kept


def find_unused(path: Path) -> Path:
    """`path`, or `name-2.ext`, `name-3.ext`, ... the first that does not exist."""
    stem, suffix = path.name.split(".", 1) if "." in path.name else (path.name, "")
    tries = (path.with_name(f"{stem}-{n}.{suffix}" if suffix else f"{stem}-{n}") for n in range(2, 10_000))
    return path if not path.exists() else next(p for p in tries if not p.exists())


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
