"""The one tag that may leave a DICOM file, and only when asked for: the UID that archives know the image by."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from onemark.data.images.read import named_errors, reader_name, run_reader
from onemark.data.images.stream import BoundedReader

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST = 64


@dataclass(frozen=True)
class Identity:
    """What names an image in an archive.

    Attributes:
        sop_instance_uid: As the file has it; empty where it has none, or what it has is no UID.
    """

    sop_instance_uid: str = ""

    @classmethod
    def of(cls, text: str) -> Identity:
        """The identity that a tag states. Anything but a UID could be about the patient, and is dropped."""
        return cls(text if len(text) <= _LONGEST and _UID.fullmatch(text) else "")


def read_sop_instance_uid(source: Callable[[], BoundedReader], where: object) -> str:
    """The SOPInstanceUID of a DICOM file; empty for a file of another kind, or without one.

    Args:
        source: Opens the file.
        where: Names it in messages.

    Raises:
        UserError: it is missing, unreadable or damaged.
    """
    with named_errors(where):
        with source() as stream:
            if reader_name(stream) != "dicom":
                return ""
        found = run_reader(source, "read_identity")
        return (found if isinstance(found, Identity) else Identity(**found)).sop_instance_uid
