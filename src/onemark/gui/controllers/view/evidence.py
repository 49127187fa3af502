"""Evidence for a prediction: maps and a deformation grid, computed outside the GUI thread, one layer per kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.utils import Colormap
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.training import Training
from onemark.gui.state.backend import Trained
from onemark.types import Evidence

GRID = "deformation grid"
# Longer than the pause between repeats of a held key, so that leafing through asks for nothing.
SETTLE_MS = 120
LINES = 24
# Matchers name the maps of one kind by resolution level, as in `similarity s4`, and their product.
LEVEL = re.compile(r" (s\d+|product)$")
# Transparent where the map is low, so that the radiograph stays legible; bright enough to show on bone and on air.
GLOW = Colormap([[0, 0, 0, 0], [0.95, 0.35, 0.05, 0.55], [1, 0.92, 0.25, 0.95]], name="onemark glow")
VEIL = Colormap([[0, 0, 0, 0], [0.3, 0.2, 0.95, 0.5], [0.3, 0.95, 1, 0.95]], name="onemark veil")
STYLES: dict[str, dict[str, Any]] = {
    "similarity": {"colormap": GLOW, "blending": "translucent"},
    "heatmap": {"colormap": VEIL, "blending": "translucent"},
    "warped exemplar": {"colormap": "bop blue", "blending": "translucent", "opacity": 0.6},
}
OTHER_STYLE: dict[str, Any] = {"colormap": GLOW, "blending": "translucent"}


@dataclass
class Selection:
    """Which evidence is switched on.

    Attributes:
        kinds: Kinds that are switched on, such as `similarity`.
        variant: Kind -> the one of its maps that is shown, such as `similarity s4`.
    """

    kinds: set[str] = field(default_factory=set)
    variant: dict[str, str] = field(default_factory=dict)


class EvidenceView(QObject):
    """Asks the model for evidence on the radiograph and landmark in view, and shows the kinds that are switched on.

    Signals:
        offered: kind -> names of its maps, whenever a model's evidence arrives.
    """

    offered = Signal(object)
    working = Signal(bool)

    def __init__(self, context: Context, training: Training, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.training = context, training
        self.selected = Selection()
        self._latest: Evidence | None = None
        self._asked: tuple[Any, ...] = ()
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        context.session.landmark_changed.connect(self.refresh)
        context.session.cohort_changed.connect(self._forget)
        training.model_changed.connect(self._on_model_changed)

    def refresh(self, *, force: bool = False) -> None:
        """Ask again for the radiograph and landmark in view, once the person stays on them."""
        if self.selected.kinds or force:
            self._settle.start()

    def switch(self, kind: str, on: bool, variant: str = "") -> None:
        """Switch a kind of evidence on or off."""
        (self.selected.kinds.add if on else self.selected.kinds.discard)(kind)
        if variant:
            self.selected.variant[kind] = variant
        if not on:
            layer = self.context.canvas.layer(kind)
            if layer is not None:
                layer.visible = False
        elif self._is_current(self._latest):
            self._show(self._latest)
        else:
            self.refresh()

    def _on_model_changed(self) -> None:
        # Ask even if nothing is switched on, because the answer says which kinds this recipe can show.
        self._forget()
        self.refresh(force=True)

    def _forget(self) -> None:
        # Another folder may hold radiographs of the same names, so a name does not tell whether evidence fits.
        self._latest = None
        if self._asked:
            self._asked = ()
            self.working.emit(False)

    def close(self) -> None:
        """Stop asking."""
        self._settle.stop()

    def _ask(self) -> None:
        model, radiograph, session = self.training.model, self.context.canvas.radiograph, self.context.session
        if model is None or radiograph is None or not len(session.schema) or session.reading is not None:
            return
        if self._is_current(self._latest):
            self._show(self._latest)
            return
        landmark = session.schema.names[session.landmark]
        # The same question is asked only once, although moving on emits several signals.
        key = (id(model), radiograph.name, landmark)
        if key == self._asked:
            return
        self._asked = key
        self.working.emit(True)
        self.context.background.run(
            lambda: prepare(model, self.training.explain(radiograph, landmark)),
            lambda evidence: self._take(key, evidence),
            lambda error: self._on_failed(key, error),
        )

    def _take(self, key: tuple[Any, ...], evidence: Evidence) -> None:
        # The person has gone on since, and the answer to the newer question is on its way.
        if key != self._asked:
            return
        self._asked, self._latest = (), evidence
        self.working.emit(False)
        self.offered.emit(group_variants(evidence))
        self._show(evidence)

    def _on_failed(self, key: tuple[Any, ...], error: BaseException) -> None:
        if key == self._asked:
            self._asked = ()
            self.working.emit(False)
            if self.selected.kinds:
                self.context.fail(error, "computing the evidence")

    def _is_current(self, evidence: Evidence | None) -> bool:
        session = self.context.session
        if evidence is None or evidence.image != session.current or not len(session.schema):
            return False
        return evidence.landmark in (None, session.schema.names[session.landmark])

    def _show(self, evidence: Evidence | None) -> None:
        if evidence is None or not self._is_current(evidence):
            return
        for kind, names in group_variants(evidence).items():
            if kind not in self.selected.kinds:
                continue
            if kind == GRID:
                self._show_grid(evidence)
                continue
            name = self.selected.variant.get(kind, names[-1])
            pixels = evidence.maps[name if name in names else names[-1]]
            layer = self.context.canvas.show_image(
                kind, kind, pixels, contrast_limits=(0, 1), **STYLES.get(kind, OTHER_STYLE)
            )
            layer.visible = True

    def _show_grid(self, evidence: Evidence) -> None:
        if evidence.field is not None:
            segments = make_grid(evidence.field)
            layer = self.context.canvas.show_vectors(
                GRID, GRID, segments, edge_color="#59d5e0", vector_style="line", length=1, opacity=0.7
            )
            # In pixels of the radiograph, so the lines look equally thin on small and large ones.
            layer.edge_width = max(evidence.field.shape[:2]) / 500
            layer.visible = True


def prepare(model: Trained, ask: Callable[[Trained], Evidence]) -> Evidence:
    """Ask the model for evidence and divide every map by its maximum, which spares the GUI thread that work."""
    evidence = ask(model)
    maps = {name: _normalise(values) for name, values in evidence.maps.items()}
    return Evidence(evidence.image, evidence.landmark, maps, evidence.field)


def group_variants(evidence: Evidence) -> dict[str, list[str]]:
    """Group the maps by kind: `similarity s4` and `similarity product` are variants of the kind `similarity`."""
    kinds: dict[str, list[str]] = {}
    for name in evidence.maps:
        kinds.setdefault(LEVEL.sub("", name), []).append(name)
    if evidence.field is not None:
        kinds[GRID] = [GRID]
    return kinds


def make_grid(field: NDArray[np.float32], lines: int = LINES) -> NDArray[np.float32]:
    """Make a regular grid, bent by the deformation.

    Args:
        field: `[H, W, 2]` displacements (dx, dy) in px.
        lines: Grid lines along the longer side.

    Returns:
        `[N, 2, 2]` segments: start and direction, each (y, x) in px; none where the deformation is unknown (NaN).
    """
    height, width = field.shape[:2]
    step = max(height, width) / lines
    ys, xs = np.arange(step / 2, height, step), np.arange(step / 2, width, step)
    at = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1)
    nodes = at + field[at[..., 0].astype(int), at[..., 1].astype(int)][..., ::-1]
    segments = np.concatenate(list(_join_nodes(nodes))).astype(np.float32)
    return segments[np.isfinite(segments).all(axis=(1, 2))]


def _join_nodes(nodes: NDArray[np.float64]) -> Iterable[NDArray[np.float64]]:
    for starts, ends in ((nodes[:-1], nodes[1:]), (nodes[:, :-1], nodes[:, 1:])):
        yield np.stack([starts, ends - starts], axis=-2).reshape(-1, 2, 2)


def _normalise(values: NDArray[np.float32]) -> NDArray[np.float32]:
    kept = np.maximum(np.nan_to_num(values, posinf=0, neginf=0), 0)
    return (kept / max(float(kept.max()), 1e-9)).astype(np.float32)
