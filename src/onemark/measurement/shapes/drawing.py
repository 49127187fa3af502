"""The mean shape and the extreme shapes of the first components, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import escape

from onemark.measurement.shapes.procrustes import Components, Floats

SIDE, EDGE = 300.0, 30.0
MOST, REACH = 4, 2.0
"""At most so many components are drawn, at plus and minus so many standard deviations."""


def draw_components(mean: Floats, components: Components, names: Sequence[str]) -> str:
    """A panel for each of the first components: the mean shape in grey, and where it goes at +-2 standard deviations.

    Args:
        mean: `[K, 2]`, y upwards.
        components: Of its cohort.
        names: K landmarks, shown where the pointer rests on a point.
    """
    count = min(MOST, len(components.variance))
    reaches = REACH * np.sqrt(components.variance[:count])[:, None, None] * components.directions[:count]
    everything = np.concatenate([mean[None], mean + reaches, mean - reaches]) * (1.0, -1.0)
    low, high = everything.min(axis=(0, 1)), everything.max(axis=(0, 1))
    scale = (SIDE - 2 * EDGE) / float((high - low).max() or 1.0)

    def place(xy: Floats, panel: int) -> Floats:
        return np.asarray((xy * (1.0, -1.0) - low) * scale + (EDGE + SIDE * panel, EDGE + 20))

    panels = [
        _panel(place(mean, k), place(mean - reach, k), place(mean + reach, k), names)
        + f'<text x="{SIDE * k + EDGE:.0f}" y="20">PC {k + 1}: {100 * components.share[k]:.1f} %</text>'
        for k, reach in enumerate(reaches)
    ] or [_panel(place(mean, 0), place(mean, 0), place(mean, 0), names)]
    width, height = SIDE * max(count, 1), SIDE + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" '
        f'font-size="13" width="{width:g}" height="{height:g}">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(panels)
        + f'\n<text x="{EDGE:g}" y="{height - 6:g}" font-size="11">mean (grey), {-REACH:g} sd (blue), '
        f"+{REACH:g} sd (red)</text>\n</svg>\n"
    )


def _panel(mean: Floats, below: Floats, above: Floats, names: Sequence[str]) -> str:
    parts = []
    for name, centre, start, end in zip(names, mean, below, above, strict=True):
        line = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
        parts.append(f'<g><title>{escape(name)}</title><line {line} stroke="#999"/>')
        for (x, y), colour in ((centre, "#777"), (start, "#2166ac"), (end, "#b2182b")):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        parts.append("</g>")
    return "".join(parts)
