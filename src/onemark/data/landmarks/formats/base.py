"""The one interface of all landmark formats: how a file is recognised, read and written.

A module in a folder beside this one that holds a `FORMAT` is a format; nothing else lists it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.images.itk import Geometry, read_geometry
from onemark.data.images.orientation import read_orientation, to_shown
from onemark.data.json import parse_json
from onemark.data.landmarks.text import decode, read_bytes
from onemark.data.names import image_stem
from onemark.data.paths import safe_child
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.landmarks.table import LandmarkTable

Size = tuple[int, int]
_HEAD = 1 << 16
LONGEST_NUMBER = 400
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ReadOptions:
    """What a person may say of a file that the file does not say.

    Attributes:
        y_from_top: TPS: y counts from the top, as some programs write it.
    """

    y_from_top: bool = False


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes:
        sets: Landmarks in px, images named as in the file or, where `Source.locate` was asked, as in the cohort.
        notes: What was left out or how something was understood; sentences without the file's name.
        sizes: Image as in `sets` -> `(H, W)` in px that the file states for it.
    """

    sets: Sequence[LandmarkSet]
    notes: Sequence[str] = ()
    sizes: Mapping[str, Size] = field(default_factory=dict)


@dataclass
class Source:
    """A file to be read.

    Attributes:
        path: The file.
        name: Its name relative to the folder that was given, with `/`; stands for the image where a file names none.
        cohort: The radiographs, if they are known.
        options: What a person said of it.
        in_folder: It is one of a folder of files, each of one image.
        missing: Image names that the cohort lacks -> why, filled by `locate`.
        encoding: How the text was decoded where that is a guess, else empty.
    """

    path: Path
    name: str
    cohort: Cohort | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    in_folder: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    encoding: str = ""

    @cached_property
    def data(self) -> bytes:
        """The file's bytes. Raises UserError where it cannot be read."""
        return read_bytes(self.path)

    @cached_property
    def text(self) -> str:
        """The file's text. Raises UserError where it is none."""
        names = self.cohort.names if self.cohort is not None else ()
        text, self.encoding = decode(self.path, self.data, names)
        return text

    @property
    def suffix(self) -> str:
        """The last suffix, in lower case."""
        return self.path.suffix.lower()

    @property
    def stem(self) -> str:
        """`name` without its suffixes of landmark files."""
        name = self.name
        for suffix in (".mrk.json", ".labelme.json", self.path.suffix):
            if suffix and name.lower().endswith(suffix.lower()):
                return name[: -len(suffix)]
        return name

    @cached_property
    def lines(self) -> list[str]:
        """The first lines that are not blank, without blanks around."""
        return [line.strip() for line in self.text[:_HEAD].splitlines() if line.strip()][:20]

    @cached_property
    def document(self) -> Any:
        """The value of a JSON file; None where the file is no JSON. Raises UserError where it is damaged."""
        if self.suffix == ".json" or self.text.lstrip()[:1] in ("{", "["):
            return parse_json(self.text, self.path)
        return None

    @cached_property
    def root(self) -> Element | None:
        """The root of an XML file; None where the file is no XML. Raises UserError where it is damaged."""
        if not self.text.lstrip().startswith("<"):
            return None
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring

        try:
            found: Element = fromstring(self.text.lstrip().encode())
        except ParseError as error:
            raise UserError(f"{self.path} is not readable as XML ({error}); save it again") from None
        except (DefusedXmlException, ValueError, LookupError) as error:
            raise UserError(
                f"{self.path} holds XML that is not read ({type(error).__name__}); save it again"
            ) from None
        return found

    def has_keys(self, *keys: str) -> bool:
        """Whether it is a JSON object with these keys."""
        return isinstance(self.document, dict) and all(key in self.document for key in keys)

    def locate(self, image: str) -> str | None:
        """The cohort's name of an image; None, noted in `missing`, where it has none.

        Without a cohort the name is taken as it is.
        """
        if self.cohort is None:
            return image
        try:
            return self.cohort.resolve(image)
        except UserError as error:
            self.missing[image] = str(error)
            return None

    def own_image(self) -> str:
        """The image that a file without any image name is about: the one of its stem.

        With a cohort the stem may go on after the image's name, as in `p1_RoiSet` or `p1_landmarks`.

        Raises:
            UserError: the cohort has no such image.
        """
        stem = self.stem
        if self.cohort is None:
            return stem
        for name in (stem, *_shortened(stem)):
            try:
                return self.cohort.resolve(name)
            except UserError as error:
                self.missing.setdefault(stem, str(error))
        raise UserError(
            f"{self.path} names no image, and its own name is none either; "
            f"call it after its radiograph, as in {stem_of(self.cohort.names[0])}{self.name[len(stem) :]}"
        )

    def size_of(self, image: str, why: str) -> Size:
        """`(H, W)` of a radiograph. Raises UserError, which says `why` it is needed, where it is not known."""
        if self.cohort is None:
            raise UserError(f"{self.path} {why}; give the folder of images")
        return self.cohort.header(image).size


@dataclass(frozen=True)
class Target:
    """What is to be written.

    Attributes:
        table: Landmarks, images named as in the cohort.
        cohort: Their radiographs.
        path: The file or, where there are several, what their folder is named after.
        predicted_by: Identity of the run that predicted them; empty where that is unknown.
    """

    table: LandmarkTable
    cohort: Cohort
    path: Path
    predicted_by: str = ""

    def size(self, image: str) -> Size:
        """`(H, W)` in px."""
        return self.cohort.header(image).size

    def shown(self, one: LandmarkSet) -> tuple[Size, NDArray[np.float64]]:
        """`(H, W)` and points `[K, 2]` of a picture as programs show it that apply its rotation flag (EXIF)."""
        size = self.size(one.image)
        turn = read_orientation(self.cohort.path(one.image)) if hasattr(self.cohort, "path") else 1
        return (size[::-1] if turn >= 5 else size), to_shown(one.xy, turn, size)

    def geometry(self, image: str) -> Geometry:
        """Where ITK puts the radiograph; layers of napari, which are no files, have theirs from their scale."""
        if hasattr(self.cohort, "geometry"):
            found: Geometry = self.cohort.geometry(image)
            return found
        return read_geometry(self.cohort.path(image))


@dataclass(frozen=True)
class Format:
    """One landmark format.

    Attributes:
        key: Short name, as for `--format`.
        title: For people, with the suffix.
        suffix: Of the files it writes or, where it only reads, usually has; empty for folders.
        recognises: Whether a file is of this format, by its content first.
        read: Its points; None for a format that is only recognised, and then `way_out` says what to do.
        render: File -> text or bytes, of everything to be written; None for a format that is only read.
        rank: Those with a lower rank are asked first whether they recognise a file.
        way_out: End of a sentence, for formats that are only recognised.
        oriented: Its programs apply the rotation flag of a picture (EXIF), so its points lie in the turned picture.
        separate: One file for each image.
        claims: It is the one that a target's suffix means when no format is named.
        tells_asked: It tells a landmark that was not asked for from one that is not visible.
        names_run: It says which run predicted the landmarks.
    """

    key: str
    title: str
    suffix: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], Reading] | None = None
    render: Callable[[Target], Mapping[Path, str | bytes]] | None = None
    rank: int = 50
    way_out: str = ""
    oriented: bool = False
    separate: bool = False
    claims: bool = False
    tells_asked: bool = False
    names_run: bool = False


def number(value: object, where: str) -> float:
    """A finite number from a file's text or value; a text has ASCII digits and a decimal point.

    Raises:
        UserError: it is none; the sentence starts with `where`.
    """
    try:
        found = parse_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or isinstance(value, bool):
        raise UserError(f"{where} has {str(value)[:20]!r} where a number belongs; correct it")
    return found


def parse_number(text: str) -> float:
    """The number that a text is; NaN where it is none, infinite where it is too large."""
    # Python also takes digits of other scripts and underscores, which no program writes. A number of many thousand
    # digits takes minutes to match and to read.
    text = text.strip()
    return float(text) if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) else math.nan


def numbered(count: int) -> tuple[str, ...]:
    """Names of landmarks that have none: 1, 2, 3, ..."""
    return tuple(str(index) for index in range(1, count + 1))


def stem_of(image: str) -> str:
    """An image's name without suffix and folder."""
    return image_stem(PurePosixPath(image).name)


def _shortened(stem: str) -> list[str]:
    parts = [part for sign in "_-." if (part := stem.rpartition(sign)[0])]
    return sorted(set(parts), key=len, reverse=True)


def place_of(path: Path, image: str, suffix: str, several: bool, *, bare: bool = False) -> Path:
    """The file of one image: `path` itself, or `NAME/IMAGE.suffix` where `path` is `NAME.suffix` and there are more.

    Args:
        path: As the person gave it.
        image: Name of the radiograph.
        suffix: Of the format.
        several: There is a file for each of several images.
        bare: Leave out the suffix of a picture, as the format's programs do.

    Raises:
        UserError: the image's name leads out of the folder.
    """
    if not several:
        return path
    folder = path
    for end in dict.fromkeys((suffix, path.suffix)):
        if end and path.name.lower().endswith(end):
            folder = path.with_name(path.name[: -len(end)])
            break
    name = image_stem(image) if bare else image
    return safe_child(folder, f"{name}{suffix}")


def bare_names(images: Sequence[str]) -> bool:
    """Whether images keep different names without the suffixes of pictures, on disks that ignore case as well."""
    return len({image_stem(image).casefold() for image in images}) == len(images)
