"""One rule for the names that tables use for radiographs, whatever program wrote them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from onemark.data.images.kinds import is_image_name
from onemark.data.keys import image_key, without_suffix
from onemark.data.paths import quoted
from onemark.types import UserError

_LONGEST_NAME = 1000
# Roboflow renames p1.png to p1_png.rf.HASH.jpg.
_ROBOFLOW = re.compile(r"(?P<stem>.+)_(?P<suffix>[A-Za-z0-9]{2,5})\.rf\.[A-Za-z0-9]+\.[A-Za-z]+")


@dataclass(frozen=True)
class NameIndex:
    """Finds the radiograph that a table means.

    Attributes:
        names: Relative file names with `/`, all different.
        where: Where they are, for messages.
    """

    names: Sequence[str]
    where: str

    def resolve(self, name: str) -> str:
        """The one of `names` that is meant.

        Tried in this order, each only where a single radiograph fits: the name as it is, without its suffix,
        without its folder, without regard to case, and the name that Roboflow made of it.

        Raises:
            UserError: none fits, or several do; a close name is suggested.
        """
        key = image_key(name).strip("'\"")
        for candidate in (key, *_before_roboflow(key)):
            for names in self._matches(candidate):
                if len(names) > 1:
                    found = ", ".join(names[:5])
                    raise UserError(
                        f"{quoted(name)} may be any of {found} in {self.where}; "
                        "give the name with its suffix and folder"
                    )
                if names:
                    return names[0]
        raise UserError(f"no radiograph {quoted(name)} in {self.where}; {self._hint(key)}")

    def _matches(self, key: str) -> Iterator[Sequence[str]]:
        parts = key.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            yield [tail] if tail in self._known else ()
            yield self._stems.get(tail, ())
        yield self._bare.get(parts[-1], ())
        yield self._bare_stems.get(parts[-1], ())
        yield self._folded.get(parts[-1].casefold(), ())
        yield self._folded_stems.get(parts[-1].casefold(), ())

    def _hint(self, key: str) -> str:
        stem = image_stem(key).rsplit("/", 1)[-1]
        padded = self._unpadded.get(stem.lstrip("0"), ()) if stem.isdecimal() else ()
        if padded:
            return f"did the table lose its leading zeros, and is {padded[0]!r} meant? Format that column as text"
        # Comparing takes the product of the lengths, so a name that can be none is not compared.
        close = difflib.get_close_matches(key, self.names, 1) if len(key) <= _LONGEST_NAME else []
        if close:
            return f"did you mean {close[0]!r}?"
        return f"there is, for one, {next(iter(self.names), 'nothing')!r}"

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _stems(self) -> Mapping[str, Sequence[str]]:
        return self._by(image_stem, pictures=True)

    @cached_property
    def _bare(self) -> Mapping[str, Sequence[str]]:
        return self._by(_last)

    @cached_property
    def _bare_stems(self) -> Mapping[str, Sequence[str]]:
        return self._by(lambda name: image_stem(_last(name)), pictures=True)

    @cached_property
    def _folded(self) -> Mapping[str, Sequence[str]]:
        return self._by(lambda name: _last(name).casefold())

    @cached_property
    def _folded_stems(self) -> Mapping[str, Sequence[str]]:
        return self._by(lambda name: image_stem(_last(name)).casefold(), pictures=True)

    @cached_property
    def _unpadded(self) -> Mapping[str, Sequence[str]]:
        return self._by(lambda name: image_stem(_last(name)).lstrip("0"))

    def _by(self, key: Callable[[str], str], *, pictures: bool = False) -> Mapping[str, Sequence[str]]:
        """Names by what `key` makes of them; only names that end as a picture's do when `pictures`."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            if is_image_name(name) or not pictures:
                found.setdefault(key(name), []).append(name)
        return found


def is_elsewhere(said: str, name: str) -> bool:
    """Whether a table says another folder than that of the radiograph for which its name was taken."""
    theirs, own = (image_key(one).casefold().split("/")[:-1] for one in (said, name))
    deep = min(len(theirs), len(own))
    return bool(deep) and theirs[-deep:] != own[-deep:]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def image_stem(name: str) -> str:
    """A name without the suffix of a picture; any other dot is part of the name, as in `1.2.840.1` of DICOM."""
    return without_suffix(name) if is_image_name(name) else name


def _before_roboflow(key: str) -> Iterable[str]:
    match = _ROBOFLOW.fullmatch(key[-_LONGEST_NAME:].rsplit("/", 1)[-1])
    return (f"{match['stem']}.{match['suffix']}",) if match else ()
