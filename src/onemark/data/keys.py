"""The one spelling of names: two spellings that a person cannot tell apart are the same name."""

from __future__ import annotations

import unicodedata


def canonical(text: str) -> str:
    """A name as onemark writes it: NFC, no blanks around, control characters as blanks, valid Unicode."""
    if text.isascii() and text.isprintable():  # most names; a list may hold a million
        return text.strip()
    composed = unicodedata.normalize("NFC", text)
    shown = (_SHOWN.get(unicodedata.category(c), c) for c in composed)
    return "".join(shown).strip()


# Lone surrogates stand for bytes of a file name that are no UTF-8.
_SHOWN = {"Cc": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}


def image_key(text: str) -> str:
    """The key of a radiograph: its canonical relative name with `/` as separator and no `./` in front."""
    key = canonical(text).replace("\\", "/")
    while key.startswith("./"):
        key = key.removeprefix("./").strip()
    return key


def without_suffix(name: str) -> str:
    """A relative name without the suffix of its file. Any text will do, so that a bad name is refused where it counts."""
    folder, slash, last = name.rpartition("/")
    stem, _, suffix = last.rpartition(".")
    return folder + slash + (stem if stem and suffix else last)
