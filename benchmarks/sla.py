"""Per-landmark matchers: all landmarks at once against one after the other, and what landmarks share.

    python benchmarks/sla.py speed                     # phantoms: seconds per step, and the largest gap between losses
    python benchmarks/sla.py size                      # parameters of joint, adapter and single decoders
    python benchmarks/sla.py seesaw DATA --minutes 60  # cephalograms: error per landmark of joint, single and adapter

`seesaw` shows whether landmarks that share one decoder gain at the expense of others; DATA is as for `ceph.py`. Each arm
is a whole fit of the recipe `sla-compact` with the same seed. With `--set match.steps=N` instead of minutes, all arms
also have the same encoder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import onemark
from common import arguments, describe_machine, fit_and_predict, link_images, parse_numbers, work_folder
from onemark.nn.backbones.unet import WIDTHS
from onemark.nn.backbones.vgg import TAPS
from onemark.nn.backbones.vgg import WIDTHS as PUBLISHED
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import CanvasCache, cohort_canvas
from onemark.phantom import write_phantom_cohort
from onemark.stages.match.sla import SLAConfig
from onemark.stages.match.sla.decoder import Decoder, Sharing
from onemark.stages.match.sla.foveal import WindowBatch, WindowViews
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.windows import LEVELS, Fovea

SPACING_MM = 0.25
STEPS = 2
ARMS = {
    "joint": {"match.decoders": "adapter", "match.adapter": 0},
    "single": {"match.decoders": "single"},
    "adapter": {"match.decoders": "adapter", "match.adapter": 16},
}


def speed() -> None:
    """Time the steps of all landmarks at once and of one landmark after the other, on phantoms."""
    with tempfile.TemporaryDirectory() as folder:
        truth = write_phantom_cohort(folder, 8)
        cohort = onemark.open_cohort(folder)
        config = SLAConfig()
        canvas = cohort_canvas(cohort, config.area)
        store = CanvasCache(cohort, canvas)
        canvases = store.read([i for i in range(len(store)) if store.usable(i)])
        marks = [one.xy for one in store.place_exemplars(truth)]
    xy = torch.stack(marks)
    xy = torch.cat([xy, xy], 1)[:, :19]  # as many landmarks as a cephalogram has
    together, alone = _networks(config, xy.shape[1])
    wide = _steps(together, config, canvas, canvases, xy)
    narrow = [_steps(one, config, canvas, canvases, xy[:, k : k + 1]) for k, one in enumerate(alone)]
    ratio = sum(seconds for seconds, _ in narrow) / wide[0]
    print(
        f"{len(alone)} landmarks, {STEPS} steps: at once {wide[0] / STEPS:.2f} s per step, one after the other "
        f"{sum(seconds for seconds, _ in narrow) / STEPS:.2f} s: {ratio:.1f} times as long"
    )
    gap = _gap(config, canvas, canvases, xy)
    print(f"largest gap between losses, double precision, same draws, {STEPS} steps: {gap:.1e}")


def _networks(config: SLAConfig, count: int) -> tuple[LandmarkNet, list[LandmarkNet]]:
    """Make all landmarks' decoders as one network, and the same decoders one by one."""
    torch.manual_seed(0)
    together, alone = LandmarkNet(config, count), [LandmarkNet(config, 1) for _ in range(count)]
    state = together.decoder.state_dict()
    for k, one in enumerate(alone):
        one.backbone.load_state_dict(together.backbone.state_dict())
        one.decoder.load_state_dict({n: v.chunk(count)[k] if v.ndim else v for n, v in state.items()})
    return together.freeze(), [one.freeze() for one in alone]


def _steps(
    network: LandmarkNet, config: SLAConfig, canvas: Any, canvases: torch.Tensor, xy: torch.Tensor
) -> tuple[float, list[float]]:
    """Return seconds and losses of whole steps: views, encoder, decoders and their update."""
    fabric = fabric_for("cpu")
    views = WindowViews(network, config, canvas, fabric)
    optimizer = torch.optim.AdamW(network.decoder.parameters(), config.rate)
    losses, seconds = [], 0.0
    for step in range(STEPS + 1):  # the first one warms up
        started = time.process_time()
        drawn = views.draw(canvases, xy, config.copies, torch.Generator().manual_seed(step))
        with fabric.autocast():
            loss, _metrics = views.loss(network, drawn)
        _descend(optimizer, loss)
        losses.append(float(loss.detach()))
        seconds += (time.process_time() - started) * (step > 0)
    return seconds, losses


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _gap(config: SLAConfig, canvas: Any, canvases: torch.Tensor, xy: torch.Tensor) -> float:
    """Return the largest difference over steps between the joint loss and the mean of the single ones.

    In double precision: Adam turns the rounding of a gradient near zero into a whole step in either direction.
    """
    torch.set_default_dtype(torch.float64)
    count, canvases, xy = xy.shape[1], canvases.double(), xy.double()
    together, alone = _networks(config, count)
    for network in (together, *alone):
        network.double()
    plain = SimpleNamespace(autocast=lambda: torch.autocast("cpu", enabled=False))
    views = [WindowViews(one, config, canvas, plain) for one in (together, *alone)]  # type: ignore[arg-type]
    optimizers = [torch.optim.AdamW(one.decoder.parameters(), config.rate) for one in (together, *alone)]
    gap = 0.0
    for step in range(STEPS):
        drawn = views[0].draw(canvases, xy, config.copies, torch.Generator().manual_seed(step))
        losses = []
        for n, (view, optimizer) in enumerate(zip(views, optimizers, strict=True)):
            loss = view.loss(view.network, drawn if n == 0 else _of(drawn, n - 1, count))[0]
            _descend(optimizer, loss)
            losses.append(float(loss.detach()))
        gap = max(gap, abs(losses[0] - float(np.mean(losses[1:]))))
    torch.set_default_dtype(torch.float32)
    return gap


def _of(drawn: WindowBatch, k: int, count: int) -> WindowBatch:
    fovea = Fovea([corner[:, k : k + 1] for corner in drawn.fovea.corners], drawn.fovea.shapes)
    windows = [m.chunk(count, 1)[k] for m in drawn.windows]
    return WindowBatch(windows, fovea, drawn.xy[:, k : k + 1], drawn.known[:, k : k + 1], drawn.copies)


def size() -> None:
    """Print the numbers of parameters of the decoders of 19 landmarks."""
    forms: dict[str, Callable[[int | None], Decoder]] = {
        "published": lambda a: Decoder(TAPS, PUBLISHED[:-1], 16, Sharing(19, a), context=True),
        "compact": lambda a: Decoder(WIDTHS[:LEVELS], (32, 32), 32, Sharing(19, a), foveal=True),
    }
    for name, form in forms.items():
        counts = {adapter: _count(form(adapter)) for adapter in (None, 0, 4, 8, 16, 32)}
        whole = counts.pop(None)
        rows = ", ".join(
            f"C_A={a}: {n / 1e6:.2f} M ({n / whole:.3f})" for a, n in counts.items() if a is not None
        )
        print(f"{name}: 19 single {whole / 1e6:.2f} M; {rows}")


def _count(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def seesaw() -> None:
    """Print the error per landmark of the three arms."""
    parser = arguments(__doc__ or "", "125")
    parser.set_defaults(recipe="sla-compact")
    options = parser.parse_args(sys.argv[2:])
    work, images = work_folder(options.out), options.data / "images"
    train = link_images(images, [f"{n:03d}.jpg" for n in range(1, 151)], work / "train")
    test = link_images(images, [f"{n:03d}.jpg" for n in range(151, 301)], work / "test")
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    exemplar, asked, rows = f"{parse_numbers(options.exemplars)[0]:03d}.jpg", list(options.set), {}
    for arm, settings in ARMS.items():
        options.set = [*asked, *(f"{k}={v}" for k, v in settings.items())]
        folder = Path(work) / arm
        folder.mkdir(exist_ok=True)
        predictions, fit, _ = fit_and_predict(options, folder, exemplar, train, test)
        rows[arm] = onemark.evaluate(predictions, truth, spacing_mm=SPACING_MM)
        print(f"{arm}: MRE {rows[arm].mre:.3f} mm, fit {fit.seconds:.0f} s, {fit.peak_mib:.0f} MiB")
    errors = {arm: _per_landmark(scores) for arm, scores in rows.items()}
    print("\nlandmark  " + "  ".join(f"{arm:>8}" for arm in errors))
    for name in errors["joint"]:
        print(f"{name:8}  " + "  ".join(f"{errors[arm][name]:8.3f}" for arm in errors))
    print(describe_machine())


def _per_landmark(scores: onemark.Scores) -> dict[str, float]:
    names, errors = np.asarray(scores.landmark), np.asarray(scores.error)
    return {str(name): float(errors[names == name].mean()) for name in dict.fromkeys(names)}


if __name__ == "__main__":
    wanted = {"speed": speed, "size": size, "seesaw": seesaw}
    if len(sys.argv) < 2 or sys.argv[1] not in wanted:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    wanted[sys.argv[1]]()
