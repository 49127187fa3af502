"""A GPU that is not there: tensors that say they lie on `cuda:0`, are computed on the CPU, and do not mix with others.

A computer without a GPU can so find what only shows on one: a tensor that was left on the CPU, a result that was not
brought back before NumPy reads it. As on Apple's GPUs, float64 is refused. It is slow, and says nothing about time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from onemark.nn import device

DEVICE = torch.device("cuda", 0)
# These take tensors of two devices on a real GPU, too.
MIXING = {"copy_", "_to_copy", "index", "index_put_", "index_put"}


class PretendTensor(torch.Tensor):
    """A tensor on the GPU that is not there; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> PretendTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="meta",  # what C++ sees: it knows no GPU here
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:
        """What Python sees."""
        return DEVICE

    is_cuda, is_meta = True, False

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.held!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute on the CPU what all lies on the GPU; refuse what does not."""
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        lost = [one for one in tensors if not isinstance(one, PretendTensor) and one.dim()]
        if lost and name not in MIXING:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
        stays = kwargs.get("device") in (None, DEVICE)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        if (
            name == "grid_sampler_2d_backward"
        ):  # called from Python, it crashes when it may leave one gradient out
            args = (*args[:-1], [True, True])
        held_args, held_kwargs = tree_map(_unwrap, (args, kwargs))
        result = func(*held_args, **held_kwargs)
        if name == "copy_" or (name.endswith("_") and not name.endswith("__")):
            return args[0]
        if stays and any(
            one.dtype == torch.float64 for one in tree_flatten(result)[0] if isinstance(one, torch.Tensor)
        ):
            raise TypeError(f"{name}: float64, which Apple's GPUs do not have")
        return tree_map(_wrap, result) if stays else result


def _unwrap(value: Any) -> Any:
    return value.held if isinstance(value, PretendTensor) else value


def _wrap(value: Any) -> Any:
    return PretendTensor(value) if isinstance(value, torch.Tensor) else value


class PretendGenerator(torch.Generator):
    """Random numbers of the GPU that is not there."""

    @property
    def device(self) -> torch.device:
        """What Python sees."""
        return DEVICE


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class _Placing(TorchFunctionMode):
    """Makes what is asked for on the GPU, and moves there what is sent there."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        on_gpu = _is_gpu(kwargs.get("device")) or isinstance(next(iter(args), None), PretendTensor)
        if isinstance(kwargs.get("generator"), PretendGenerator) and not on_gpu:
            raise RuntimeError(f"{name}: expected a 'cpu' device type for generator but found 'cuda'")
        if name == "tolist" and isinstance(args[0], PretendTensor):
            return args[0].held.tolist()
        if name in ("__getitem__", "__setitem__") and isinstance(args[0], PretendTensor):
            args = (args[0], _place_key(args[1]), *args[2:])
        if name == "__setitem__" and isinstance(args[0], PretendTensor) and isinstance(args[2], float | int):
            args = (*args[:2], PretendTensor(torch.tensor(args[2], dtype=args[0].dtype)))
        if name in ("to", "cuda") and not isinstance(args[0], PretendTensor):
            return _send(func, args, kwargs)
        if not _is_gpu(kwargs.get("device")) or isinstance(next(iter(args), None), PretendTensor):
            return func(*args, **kwargs)
        made = func(*args, **kwargs | {"device": "cpu"})
        return PretendTensor(made.detach(), made.requires_grad)


class _Making(TorchDispatchMode):
    """Gives values to what C++ makes beside a tensor on the GPU: the zeros of a gradient, say."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        made_here = str(kwargs.get("device")) == "meta"
        if made_here and not any(isinstance(one, torch.Tensor) for one in tree_flatten(args)[0]):
            return PretendTensor(func(*args, **kwargs | {"device": torch.device("cpu")}))
        return func(*args, **kwargs)


def _place_key(key: Any) -> Any:
    """Positions lie on the GPU, which a list and a tensor of the CPU are sent to."""
    if isinstance(key, tuple):
        return tuple(_place_key(one) for one in key)
    placed = torch.tensor(key) if isinstance(key, list) else key
    lies_here = isinstance(placed, torch.Tensor) and not isinstance(placed, PretendTensor)
    return PretendTensor(placed) if lies_here else placed


def _send(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`tensor.to(...)` or `tensor.cuda()` of a tensor on the CPU."""
    named = [one for one in (*args[1:], kwargs.get("device")) if isinstance(one, str | torch.device)]
    other = next((one for one in args[1:2] if isinstance(one, PretendTensor)), None)
    if func is torch.Tensor.to and other is None and not any(map(_is_gpu, named)):
        return func(*args, **kwargs)
    if other is not None:
        args = (args[0], other.dtype)
    here = [torch.device("cpu") if isinstance(one, str | torch.device) else one for one in args]
    kwargs = {
        key: torch.device("cpu") if key == "device" and value else value for key, value in kwargs.items()
    }
    return _Send.apply(args[0] if func is torch.Tensor.cuda else func(*here, **kwargs))


class _Send(torch.autograd.Function):
    """Keeps the gradient of a tensor that is sent to the GPU."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return PretendTensor(value.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.cpu()


class _PretendFabric(Fabric):
    """A Fabric on the GPU that is not there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(accelerator="cpu", devices=1, precision="32-true")
        self._strategy._root_device = DEVICE
        self._strategy.accelerator.setup_device = lambda device: None


@contextlib.contextmanager
def pretending(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `device="cuda"` mean the GPU that is not there."""
    real = torch.Generator
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "that is not there")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch, "Generator", lambda at="cpu": PretendGenerator() if _is_gpu(at) else real(at))
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # its tensors cannot be wrapped
    monkeypatch.setattr(device, "Fabric", _PretendFabric)
    # Otherwise a module that moves gets new parameters, and its optimizer keeps the old ones.
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)
    with _Making(), _Placing():
        yield
