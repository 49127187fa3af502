"""The process in which pictures are read whose decoders may take for ever: the child's side of `aside`."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.dicom.identity import Identity
from onemark.data.images.header import Decoded, Header
from onemark.data.images.itk import Geometry
from onemark.data.images.limits import Limits, use_limits
from onemark.data.images.read import explain_fault
from onemark.data.images.stream import BoundedReader


def serve(seconds: float) -> None:
    """Read the pictures that stdin names, one line of JSON each, until it ends; exit where one takes longer."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a decoder's C code prints must not get between the answers.
    os.dup2(2, 1)
    _send(answers, {})
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        for line in sys.stdin.buffer:
            # This watch also ends C code that loops, and a child whose parent has died.
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            answer, values = _answer(json.loads(line))
            _send(answers, answer, values)
            faulthandler.cancel_dump_traceback_later()


def _answer(order: Mapping[str, Any]) -> tuple[dict[str, Any], NDArray[Any] | None]:
    path = Path(order["path"])
    try:
        with use_limits(Limits(**order["limits"])), BoundedReader.open(path) as stream:
            reader = import_module(f"onemark.data.images.{order['kind']}")
            found = getattr(reader, order["what"])(stream)
    except Exception as error:
        return {"error": explain_fault(error)}, None
    if isinstance(found, Decoded):
        # Byte orders and layouts of files end here.
        values = np.ascontiguousarray(found.values)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        about = {"notes": found.notes, "shape": values.shape, "dtype": values.dtype.str}
        return _describe(found.header) | about, values
    return _describe(found), None


def _describe(found: Header | Geometry | Identity) -> dict[str, Any]:
    return found._asdict() if isinstance(found, Header) else vars(found)


def _send(stream: IO[bytes], answer: Mapping[str, Any], values: NDArray[Any] | None = None) -> None:
    stream.write(json.dumps(answer, default=float).encode() + b"\n")
    if values is not None:
        stream.write(values.reshape(-1).view(np.uint8).data)
    stream.flush()
