"""Pictures of agreement: Bland-Altman plots and scatter with 95 % ellipses. Needs matplotlib, the extra `plots`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.atomic import writing
from onemark.data.extras import import_extra
from onemark.measurement.observers.agreement import Agreement
from onemark.measurement.observers.reliability import Floats, scatter_ellipse

SCATTER, DIFFERENCES = "scatter", "bland-altman"
PANEL = 2.6
"""Inches along each side of a panel."""


def plot_files(observers: Sequence[str]) -> tuple[str, ...]:
    """What `write_plots` may write for these observers: two names for each pair."""
    kinds = (SCATTER, DIFFERENCES)
    return tuple(f"{kind}-{pair}.png" for pair in _pairs(observers).values() for kind in kinds)


def write_plots(folder: Path, found: Agreement) -> tuple[Path, ...]:
    """Write two PNGs for each pair of observers: `scatter-A-B.png`, and `bland-altman-A-B.png` where a set was measured.

    Args:
        folder: Where; made when it is not there.
        found: What `agree` found.

    Returns:
        The files.

    Raises:
        UserError: matplotlib is not installed, or a file cannot be written.
    """
    figures = import_extra("matplotlib.figure", "plots need matplotlib", "plots")
    observers = found.readings.observers
    written = []
    for (a, b), pair in _pairs(observers).items():
        title = f"{observers[b]} minus {observers[a]}"
        written.append(_save(_scatter(figures, found, a, b, title), folder / f"{SCATTER}-{pair}.png"))
        if found.values:
            figure = _bland_altman(figures, found, a, b, title)
            written.append(_save(figure, folder / f"{DIFFERENCES}-{pair}.png"))
    return tuple(written)


def _scatter(figures: Any, found: Agreement, a: int, b: int, title: str) -> Any:
    readings = found.readings
    difference = readings.scaled[b] - readings.scaled[a]
    reach = 1.2 * float(np.nanquantile(np.abs(difference), 0.998)) or 1.0
    figure, panels = _grid(figures, len(readings.landmarks), title)
    for k, (name, panel) in enumerate(zip(readings.landmarks, panels, strict=False)):
        seen = difference[np.isfinite(difference[:, k]).all(axis=1), k]
        panel.scatter(*seen.T, s=5, alpha=0.5)
        major, minor, degrees = scatter_ellipse(seen)
        if math.isfinite(major):
            panel.plot(*_outline(major, minor, degrees, seen.mean(axis=0)), color="C3", linewidth=1)
        panel.axhline(0, color="0.7", linewidth=0.5)
        panel.axvline(0, color="0.7", linewidth=0.5)
        panel.set(xlim=(-reach, reach), ylim=(reach, -reach), title=name, aspect="equal")
        panel.set_xlabel(f"x, {readings.unit}", fontsize=7)
    return figure


def _bland_altman(figures: Any, found: Agreement, a: int, b: int, title: str) -> Any:
    figure, panels = _grid(figures, len(found.values), title)
    for (name, values), panel in zip(found.values.items(), panels, strict=False):
        first, second = values[:, a], values[:, b]
        difference = second - first
        panel.scatter((first + second) / 2, difference, s=5, alpha=0.5)
        mean, reach = np.nanmean(difference), 1.96 * np.nanstd(difference, ddof=1)
        for level, style in ((mean, "-"), (mean - reach, "--"), (mean + reach, "--")):
            panel.axhline(level, color="C3", linestyle=style, linewidth=1)
        panel.axhline(0, color="0.7", linewidth=0.5)
        panel.set(title=name)
        panel.set_xlabel(f"mean, {found.units[name] or 'plain'}", fontsize=7)
    return figure


def _grid(figures: Any, count: int, title: str) -> tuple[Any, list[Any]]:
    columns = min(count, 5)
    rows = -(-count // columns)
    figure = figures.Figure(figsize=(PANEL * columns, PANEL * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in panels:
        panel.tick_params(labelsize=6)
    for panel in panels[count:]:
        panel.set_visible(False)
    figure.suptitle(title)
    return figure, panels


def _outline(major: float, minor: float, degrees: float, centre: Floats) -> tuple[Floats, Floats]:
    round_ = np.linspace(0, 2 * np.pi, 90)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = major * np.cos(round_), minor * np.sin(round_)
    return centre[0] + c * x - s * y, centre[1] + s * x + c * y


def _save(figure: Any, path: Path) -> Path:
    with writing(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)
    return path


def _pairs(observers: Sequence[str]) -> dict[tuple[int, int], str]:
    """Positions of two observers -> what their files are called by; "a b" and "a_b" must not share one."""
    plain = ["".join(c if c.isalnum() or c in "-_." else "_" for c in name) for name in observers]
    pairs = {(a, b): f"{plain[a]}-{plain[b]}" for a, b in combinations(range(len(plain)), 2)}
    # Without regard to case, as many disks compare names.
    count = Counter(name.casefold() for name in pairs.values())
    return {
        (a, b): name if count[name.casefold()] == 1 else f"{a + 1}-{b + 1}-{name}"
        for (a, b), name in pairs.items()
    }
