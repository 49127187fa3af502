"""The session on disk, beside the runs: written atomically after every edit, outside the GUI thread."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from platformdirs import user_data_path

from onemark.data.atomic import may_write, write_text
from onemark.data.json import read_json
from onemark.data.landmarks.schema import match_names
from onemark.data.paths import printable, refuse_links
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.saved_session import check_session
from onemark.gui.state.second_reading import join_saved
from onemark.types import UserError

NAME = "session.json"
VERSION = 1
FORMER_KEYS = {"marks": "annotations", "wishes": "preferences"}
"""Keys that earlier releases wrote -> their names today; files with either are read."""
FILES = re.compile(r"session(-\d+)*\.json")  # not those set aside


def work_folder(cohort: Path) -> Path:
    """The folder of a cohort's session and runs: `<folder>-onemark` beside it, else one in the user's data folder.

    It never lies inside the cohort, because onemark searches the cohort's sub-folders for radiographs.
    """
    cohort = cohort.resolve()
    if cohort.name:  # a drive or a share has none, and nothing lies beside it
        beside = cohort.with_name(f"{cohort.name}-onemark")
        if may_write(beside if beside.exists() else cohort.parent):
            return beside
    digest = hashlib.sha256(str(cohort).encode()).hexdigest()[:8]
    return user_data_path("onemark") / f"{cohort.name or 'drive'}-{digest}"


def read(path: Path) -> dict[str, Any] | None:
    """Read an autosave; None when there is none.

    Raises:
        UserError: the file exists but cannot be understood; it stays as it is.
    """
    try:
        data = read_json(path)
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']!r}")
        return {FORMER_KEYS.get(key, key): value for key, value in data.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{printable(path)} cannot be read ({printable(error)}); onemark keeps the file and starts a new session "
            "beside it"
        ) from error


def read_all(work: Path, report: Callable[[Path, UserError], None]) -> dict[Path, dict[str, Any]]:
    """Read every session in a work folder, the newest first; there are several where two windows had it open.

    Args:
        work: See `work_folder`.
        report: Called with each file that cannot be understood, and the reason.
    """
    sessions = {}
    for path in sorted(one for one in work.glob("session*.json") if FILES.fullmatch(one.name)):
        try:
            refuse_links(work, [path.name])  # what is saved would go to where it leads
            session = read(path)
            if session is not None:
                sessions[path] = check_session(path, session)
        except UserError as error:
            report(path, error)
    return dict(sorted(sessions.items(), key=lambda one: one[1]["saved"], reverse=True))


def merge(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge sessions, the newest first: the newest counts, and the others fill in what it lacks."""
    whole = dict(sessions[0])
    whole["schema"] = next((one["schema"] for one in sessions if one["schema"]["names"]), whole["schema"])
    names, annotations = whole["schema"]["names"], dict(whole["annotations"])
    for one in sessions[1:]:
        for image in one["annotations"].keys() - annotations.keys():
            annotation = one["annotations"][image]
            if "names" not in annotation:  # else it waits for its radiograph, under names of its own
                annotation = reorder(annotation, one["schema"]["names"], names)
            if annotation is not None:
                annotations[image] = annotation
    trained = next((one for one in sessions if one["run"]), sessions[0])
    whole["answers"], whole["aliases"], whole["reading"] = {}, {}, None
    for one in reversed(sessions):
        for key in ("answers", "aliases"):
            for of, known in _rename(one, names, key).items():
                whole[key].setdefault(of, {}).update(known)
        whole["reading"] = join_saved(_name_points(one), whole["reading"])
    return whole | {"annotations": annotations} | {key: trained.get(key) for key in ("run", "former")}


def _rename(session: Mapping[str, Any], names: Sequence[str], key: str) -> dict[str, dict[str, Any]]:
    """A session's `answers` or `aliases` under the landmarks of another, as `reorder` brings its points there."""
    before = session["schema"]["names"]
    rows = match_names(tuple(before), tuple(names))
    now = {before[row]: name for name, row in zip(names, rows, strict=True) if row is not None}

    def follow(known: Mapping[str, Any]) -> dict[str, Any]:
        if key == "aliases":  # a run's own name -> the person's
            return {own: now.get(name, name) for own, name in known.items()}
        return {now.get(name, name): place for name, place in known.items()}

    return {of: follow(known) for of, known in session.get(key, {}).items()}


def _name_points(session: Mapping[str, Any]) -> dict[str, Any] | None:
    """A session's second reading, whose points say which landmarks they are of."""
    reading, names = session.get("reading"), session["schema"]["names"]
    if reading is None:
        return None
    again = {image: {"names": names, **one} for image, one in reading["annotations"].items()}
    return {**reading, "annotations": again}


def reorder(
    annotation: Mapping[str, Any], before: Sequence[str], after: Sequence[str], *, renaming: bool = True
) -> Mapping[str, Any] | None:
    """Bring a saved annotation under another schema, as `match_names` does; None where no point is left."""
    if list(before) == list(after):
        return annotation
    points = Annotation.from_json(dict(annotation))
    if len(points.xy) != len(before):
        return None
    points = points.reorder(match_names(tuple(before), tuple(after), renaming=renaming))
    return points.to_json() if points.done.any() else None


def read_saved_spacing(cohort: Path) -> float | Sequence[float] | None:
    """Read the mm per pixel last used for this cohort's folder instead of what files say; None where there was none."""
    # Opening the session reports unreadable files, so this look at them stays silent.
    newest = next(iter(read_all(work_folder(cohort), lambda path, error: None).values()), {})
    spacing = newest.get("preferences", {}).get("spacing_mm")
    return cast("float | list[float] | None", spacing)  # `check_session` has looked


class Autosave:
    """Writes one session file. Calls return at once, and the newest content wins.

    Args:
        path: The file. If another program changes it, `session-2.json` and so on takes its place.
        tell: Called in the writer's thread, with a sentence and its kind, when that happens or nothing can be written.
    """

    def __init__(self, path: Path, tell: Callable[[str, str], None] = lambda text, kind: None) -> None:
        self.path = path
        self.error: Exception | None = None
        self._tell = tell
        self._writer = ThreadPoolExecutor(1, "onemark-autosave")
        self._last: Future[None] | None = None
        self._stamp = _read_stamp(path)

    def save(self, content: Callable[[], Mapping[str, Any]]) -> None:
        """Write what `content` returns, soon; content that newer content supersedes before its turn is skipped.

        Args:
            content: Called in the writer's thread, so it must use a snapshot.
        """
        # Quick edits queue faster than a slow disk writes, and only the newest content matters.
        if self._last is not None:
            self._last.cancel()
        self._last = self._writer.submit(self._write, content)

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._last is not None and not self._last.cancelled():
            self._last.result()

    def close(self) -> None:
        """Write what is pending, then stop."""
        self.flush()
        self._writer.shutdown()

    def _write(self, content: Callable[[], Mapping[str, Any]]) -> None:
        before = self.error
        try:
            text = json.dumps({"version": VERSION, "saved": time.time(), **content()}, indent=1)
            if _read_stamp(self.path) != self._stamp:
                self._move()
            write_text(self.path, text)
            self._stamp = _read_stamp(self.path)
            self.error = None
        except Exception as error:  # whatever happens, the person must learn that nothing is saved
            self.error = error
            if before is None:
                self._tell(f"onemark cannot save your points: {error}", "bad")

    def _move(self) -> None:
        path = find_unused(self.path)
        if path != self.path:
            self._tell(
                f"Another window or program has changed {self.path.name}. onemark now saves your points in {path.name}, "
                "and reads both files when you open the folder again.",
                "warn",
            )
        self.path, self._stamp = path, None


def set_aside(path: Path) -> Path:
    """Rename an autosave so that it is kept but not read again; returns its new path."""
    kept = find_unused(path.with_name(f"{path.stem}-set-aside{path.suffix}"))
    path.rename(kept)
    return kept


def find_unused(path: Path) -> Path:
    """The first of `path`, `name-2.ext`, `name-3.ext`, ... that does not exist."""
    stem, suffix = path.name.split(".", 1) if "." in path.name else (path.name, "")
    tries = (path.with_name(f"{stem}-{n}.{suffix}" if suffix else f"{stem}-{n}") for n in range(2, 10_000))
    return path if not path.exists() else next(p for p in tries if not p.exists())


def _read_stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
