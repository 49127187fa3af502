"""The weights file of a run: every stage's tensors under its slot's name, with a JSON head; safetensors, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from onemark.data.atomic import writing
from onemark.types import UserError

Tensors = Mapping[str, torch.Tensor]
FORMER_SLOTS = {"sharpen": "refine", "expect": "error_model"}
"""Names that slots had in files of the first version, which must stay readable."""


def write_weights(path: Path, slots: Mapping[str, tuple[Tensors, Mapping[str, Any]]]) -> None:
    """Write slot -> (tensors, JSON head), atomically."""
    flat = {
        f"{slot}.{key}": value.detach().cpu().contiguous()
        for slot, (tensors, _) in slots.items()
        for key, value in tensors.items()
    }
    heads = {slot: json.dumps(head) for slot, (_, head) in slots.items()}
    with writing(path, "wb") as file:
        file.write(to_bytes(flat, heads))


def read_weights(path: Path) -> dict[str, tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """Read what `write_weights` wrote.

    Raises:
        UserError: no such file, or a damaged one.
    """
    try:
        with safe_open(path, "pt") as file:
            heads = {_slot(name): json.loads(head) for name, head in (file.metadata() or {}).items()}
            slots: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any]]] = {
                slot: ({}, head) for slot, head in heads.items()
            }
            for key in file.keys():  # noqa: SIM118  it is no dict
                slot, _, name = key.partition(".")
                slots[_slot(slot)][0][name] = file.get_tensor(key)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: the run was stopped before its first stage was done; resume it"
        ) from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): run the fit again") from None
    return slots


def _slot(name: str) -> str:
    return FORMER_SLOTS.get(name, name)


def take_fitting(network: nn.Module, start: Tensors) -> None:
    """Give a network those of other weights that fit in name and shape; heads of other landmarks do not."""
    own = network.state_dict()
    fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
