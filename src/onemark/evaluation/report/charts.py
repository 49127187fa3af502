"""Line charts as inline SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from onemark.evaluation.metrics import Scores

WIDTH, HEIGHT = 460.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 40.0
# More points than a chart has pixels only make the file larger.
MOST_POINTS = 300

Line = NDArray[np.floating]


def draw_loss_charts(log: Sequence[Mapping[str, object]]) -> dict[str, Markup]:
    """Draw loss over steps, one chart per stage.

    Args:
        log: Lines `{stage, step, loss, ...}`; lines without a step or a finite loss are skipped.
    """
    stages: dict[str, list[tuple[float, float]]] = {}
    for entry in log:
        step, loss = _to_float(entry.get("step")), _to_float(entry.get("loss"))
        if math.isfinite(step) and math.isfinite(loss):
            stages.setdefault(str(entry.get("stage", "")), []).append((step, loss))
    return {stage: draw_line_chart(np.array(points), "step", "loss") for stage, points in stages.items()}


def draw_error_chart(scores: Scores) -> Markup:
    """Draw the percentage of landmarks within an error over that error, with dots at the success thresholds."""
    # A few gross errors must not squeeze the rest of the curve into a corner.
    reach = max(max(scores.sdr) * 1.5, float(np.quantile(scores.error, 0.95)))
    limits = np.linspace(0, reach, 200)
    line = np.stack([limits, scores.cumulative(limits)], axis=1)
    dots = [(t, rate, f"{rate:.1f} % within {t:g} {scores.unit}") for t, rate in scores.sdr.items()]
    return draw_line_chart(line, f"radial error, {scores.unit}", "landmarks, %", dots, top=100.0)


def draw_line_chart(
    line: Line,
    x_label: str,
    y_label: str,
    dots: Sequence[tuple[float, float, str]] = (),
    top: float | None = None,
) -> Markup:
    """Draw a line chart.

    Args:
        line: `[N, 2]` x and y; long lines are averaged down to `MOST_POINTS`.
        x_label: Label of the x axis, with its unit.
        y_label: Label of the y axis, with its unit.
        dots: Points to highlight: x, y and the text of the tooltip.
        top: Upper end of the y axis; None for that of the data.
    """
    line = _thin(line)
    x_end = float(line[:, 0].max()) or 1.0
    x_ticks, y_ticks = _pick_ticks(x_end), _pick_ticks(float(line[:, 1].max()) if top is None else top)
    scale_x, scale_y = max(x_end, x_ticks[-1]), y_ticks[-1]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + width * x / scale_x, TOP + height * (1 - min(max(y / scale_y, 0), 1))

    parts: list[str] = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img">').format(round(WIDTH), round(HEIGHT))
    ]
    for tick in y_ticks:
        y = place(0, tick)[1]
        parts.append(_draw_line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        parts.append(_draw_text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    parts += [_draw_text(place(tick, 0)[0], HEIGHT - BOTTOM + 16, f"{tick:g}", "middle") for tick in x_ticks]
    parts.append(_draw_text(LEFT + width / 2, HEIGHT - 6, x_label, "middle"))
    turn = Markup(' transform="rotate(-90 12 {0:.0f})"').format(TOP + height / 2)
    parts.append(_draw_text(12, TOP + height / 2, y_label, "middle", turn))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(x, y) for x, y in line.tolist()))
    parts.append(Markup('<polyline class="curve" points="{}"/>').format(points))
    for x, y, text in dots:
        spot = Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>')
        parts.append(spot.format(*place(x, y), text))
    return Markup("").join([*parts, Markup("</svg>")])


def _thin(line: Line) -> Line:
    if len(line) <= MOST_POINTS:
        return line
    return np.array([part.mean(axis=0) for part in np.array_split(line, MOST_POINTS)])


def _pick_ticks(end: float) -> list[float]:
    """Return about five round numbers from 0 to `end` or just beyond."""
    if not end > 0:
        return [0.0, 1.0]
    # The tolerance keeps rounding from adding a tick or doubling the step.
    raw = end / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    return [round(k * step, 12) for k in range(math.ceil(end / step - 1e-9) + 1)]


def _draw_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    shape = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return shape.format(kind, x1, y1, x2, y2)


def _draw_text(x: float, y: float, text: str, anchor: str, more: str = "") -> Markup:
    shape = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>')
    return shape.format(x, y, anchor, more, text)


def _to_float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
