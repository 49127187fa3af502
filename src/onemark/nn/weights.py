"""The weights file of a run: every stage's tensors under its slot's name, with a JSON head; safetensors, never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from onemark.data.atomic import writing
from onemark.data.json import parse_json
from onemark.data.paths import open_regular, printable
from onemark.types import UserError

Tensors = Mapping[str, torch.Tensor]
Slots = dict[str, tuple[dict[str, torch.Tensor], dict[str, Any]]]
"""Slot -> (tensors, JSON head)."""
HEAD = "onemark"
"""The one key of the metadata: safetensors writes several in any order, and equal content must give equal bytes."""
FORMER_SLOTS = {"sharpen": "refine", "expect": "error_model"}
"""Names that slots had in files of the first version, which must stay readable."""


@dataclass(frozen=True)
class SavedWeights:
    """What a weights file holds.

    Attributes:
        slots: Slot -> (tensors, JSON head).
        note: What the writer noted about the whole, such as recipe and landmarks; empty in files of the first version.
    """

    slots: Slots
    note: Mapping[str, Any] = field(default_factory=dict)


def write_weights(
    path: Path,
    slots: Mapping[str, tuple[Tensors, Mapping[str, Any]]],
    note: Mapping[str, Any] | None = None,
    *,
    make_folder: bool = True,
) -> None:
    """Write slot -> (tensors, JSON head), atomically; equal content gives equal bytes.

    Args:
        path: The file.
        slots: Slot -> (tensors, JSON head).
        note: A JSON object about the whole, for `SavedWeights.note`.
        make_folder: Make the folder where it is missing.

    Raises:
        UserError: it cannot be written.
    """
    flat = {
        f"{slot}.{key}": value.detach().cpu().contiguous()
        for slot, (tensors, _) in slots.items()
        for key, value in tensors.items()
    }
    head = {"slots": {slot: head for slot, (_, head) in slots.items()}, "note": note or {}}
    text = json.dumps(head | {"digest": _digest(flat, head["slots"], head["note"])}, sort_keys=True)
    with writing(path, "wb", make_folder=make_folder) as file:
        file.write(to_bytes(flat, {HEAD: text}))


def read_weights(path: Path) -> Slots:
    """Slot -> (tensors, JSON head), as `open_weights` reads them."""
    return open_weights(path).slots


def open_weights(path: Path) -> SavedWeights:
    """Read what `write_weights` wrote.

    Raises:
        UserError: no such file, or a damaged one.
    """
    try:
        open_regular(path).close()  # a pipe would wait for ever
        with safe_open(path, "pt") as file:
            head = _parsed(file.metadata() or {}, path)
            # Cloned to memory of torch's own: sums over tensors that lie as they do in a file round otherwise.
            flat = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  it is no dict
    except FileNotFoundError:
        raise UserError(
            f"{printable(path)} is missing: the run was stopped before its first stage was done; resume it"
        ) from None
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _damaged(path, error) from None
    if head.digest is not None and head.digest != _digest(flat, head.slots, head.note):
        raise _damaged(path, "its checksum does not fit")
    return SavedWeights(_sorted_out(flat, head.slots, path), head.note)


class _Head(NamedTuple):
    """The metadata of a file: its slots' heads, the note, and the checksum, which the first version did not have."""

    slots: Mapping[str, Any]
    note: Mapping[str, Any]
    digest: str | None


def _digest(flat: Tensors, slots: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    """A checksum of everything that the file holds."""
    head = json.dumps({"slots": slots, "note": note}, sort_keys=True)
    total = hashlib.blake2b(head.encode(), digest_size=16)
    for key in sorted(flat):
        value = flat[key]
        total.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _parsed(metadata: Mapping[str, str], path: Path) -> _Head:
    """The head of the file, of this or the first version, which had a key for each slot."""
    if HEAD not in metadata:
        return _Head({slot: parse_json(text, path) for slot, text in metadata.items()}, {}, None)
    head = parse_json(metadata[HEAD], path)
    if not isinstance(head, dict) or not all(isinstance(head.get(key), dict) for key in ("slots", "note")):
        raise ValueError("its head is incomplete")
    if not isinstance(head.get("digest"), str):
        raise ValueError("its checksum is missing")
    return _Head(head["slots"], head["note"], head["digest"])


def _sorted_out(flat: Tensors, heads: Mapping[str, Any], path: Path) -> Slots:
    slots: Slots = {_present(slot): ({}, one) for slot, one in heads.items()}
    if not all(isinstance(one, dict) for _, one in slots.values()):
        raise _damaged(path, "its head is incomplete")
    for key, value in flat.items():
        slot, _, name = key.partition(".")
        if _present(slot) not in slots:
            raise _damaged(path, f"nothing is said about {slot!r}")
        slots[_present(slot)][0][name] = value
    return slots


def _damaged(path: Path, why: object) -> UserError:
    return UserError(
        f"{printable(path)} is damaged ({printable(why)}): put back a copy, or run the fit again"
    )


def _present(slot: str) -> str:
    return FORMER_SLOTS.get(slot, slot)


def take_fitting(network: nn.Module, start: Tensors) -> None:
    """Give a network those of other weights that fit in name and shape; heads of other landmarks do not."""
    own = network.state_dict()
    fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
