"""DICOM's optional tags, each read on its own: what one of them says wrong must not cost the picture."""

from __future__ import annotations

import math
import re
from typing import Any

from onemark.types import UserError

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_LONGEST = 64
_LONGEST_VALUE, _MOST_VALUES = 1 << 16, 1024


class Tags:
    """A data set and what was passed over in it.

    Attributes:
        dataset: Of pydicom.
        notes: One for each unusable tag or window, the end of a sentence that starts with the file's name.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.notes: list[str] = []

    def numbers(self, tag: str) -> list[float | None]:
        """The values of a tag; None for one that is empty or no finite number. A decimal comma is a point."""
        texts = self._texts(tag)[:_MOST_VALUES]
        values = [_number(text) for text in texts]
        wrong = [text for text, value in zip(texts, values, strict=True) if text and value is None]
        if wrong:
            self.pass_over(tag, f"it says {wrong[0][:_LONGEST]!r}")
        return values

    def number(self, tag: str) -> float | None:
        """The first value of a tag; None where there is no number."""
        return next(iter(self.numbers(tag)), None)

    def word(self, tag: str) -> str:
        """The first value of a tag as upper-case text; empty where there is none."""
        return next(iter(self._texts(tag)), "").upper()

    def sequence(self, tag: str) -> list[Any]:
        """The items of a sequence; none where it cannot be read."""
        try:
            return list(self.dataset.get(tag) or [])
        except Exception as error:  # pydicom raises many kinds for a damaged sequence
            self.pass_over(tag, type(error).__name__)
            return []

    def pass_over(self, tag: str, why: str) -> None:
        """Say that a tag is not used."""
        self.note(f"is read without its DICOM tag {tag}: {why}")

    def note(self, note: str) -> None:
        """Say something about the file, once."""
        if note not in self.notes:
            self.notes.append(note)

    def size(self) -> tuple[int, int]:
        """`(H, W)` in px. Raises UserError, without the file's name, where the file has none."""
        rows, columns = int(self.number("Rows") or 0), int(self.number("Columns") or 0)
        if rows <= 0 or columns <= 0:
            raise UserError("is no DICOM image (it has no Rows and Columns); remove it from the folder")
        return rows, columns

    def _texts(self, tag: str) -> list[str]:
        """The values as text, from the file's own bytes where pydicom has not read them yet."""
        if tag not in self.dataset:
            return []
        value = self.dataset.get_item(tag).value
        if isinstance(value, bytes):
            short = value[:_LONGEST_VALUE]
            value = _quietly(self.dataset, tag) if _is_binary(tag) else short.decode("latin-1").split("\\")
        if value is None:
            return []
        several = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        return [str(one).strip(" \0") for one in several]


def _is_binary(tag: str) -> bool:
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(tag) not in ("DS", "IS", "CS", "LO", "SH", "ST")


def _quietly(dataset: Any, tag: str) -> Any:
    try:
        return dataset.get(tag)
    except Exception:  # an optional tag; pydicom raises many kinds
        return None


def _number(text: str) -> float | None:
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None
