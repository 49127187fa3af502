"""The switches of the evidence: one for each kind that the model can show."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.widgets.parts import ElidedBox, name_control

TIPS = {
    "similarity": "Where the radiograph resembles the exemplar's landmark, per resolution level or as the product of all",
    "heatmap": "Where the detector predicts the selected landmark",
    "warped exemplar": "The exemplar, bent to fit this radiograph",
    "deformation grid": "How the exemplar is bent to fit this radiograph",
}


class Switches(QWidget):
    """A switch for each kind of evidence, with a choice of the map where a kind has several.

    A kind of its own that a recipe shows gets its switch when the recipe first offers it.
    """

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._boxes: dict[str, tuple[QCheckBox, QComboBox]] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(1, 1)
        for kind in TIPS:
            self._add(kind)
        app.evidence.offered.connect(self._on_offered)
        app.viewing.removed.connect(self._on_removed)

    @property
    def shown(self) -> list[str]:
        """The kinds that can be switched on."""
        return [kind for kind, (switch, _) in self._boxes.items() if not switch.isHidden()]

    def toggle(self) -> None:
        """Switch everything off; if nothing is on, switch the first kind on."""
        switches = [switch for switch, _ in self._boxes.values() if not switch.isHidden()]
        on = [switch for switch in switches if switch.isChecked()]
        for switch in on or switches[:1]:
            switch.setChecked(not on)

    def _add(self, kind: str) -> None:
        name, row = f"evidence.{kind.replace(' ', '-')}", len(self._boxes)
        text = kind[:1].upper() + kind[1:]
        switch: QCheckBox = name_control(
            QCheckBox(text), name, TIPS.get(kind, f"{text}, which this recipe shows")
        )
        variant: QComboBox = name_control(ElidedBox(), f"{name}.level", f"Which map of the {kind}")
        variant.hide()
        switch.toggled.connect(lambda on: self._switch(kind, on))
        variant.activated.connect(lambda index: self.app.evidence.switch(kind, True, variant.itemData(index)))
        self._boxes[kind] = switch, variant
        self._grid.addWidget(switch, row, 0)
        self._grid.addWidget(variant, row, 1, Qt.AlignmentFlag.AlignLeft)

    def _switch(self, kind: str, on: bool) -> None:
        variant = self._boxes[kind][1]
        variant.setVisible(on and variant.count() > 1)
        self.app.evidence.switch(kind, on)

    def _on_offered(self, kinds: dict[str, list[str]]) -> None:
        for kind in kinds:
            if kind not in self._boxes:
                self._add(kind)
        for kind, (switch, variant) in self._boxes.items():
            names = kinds.get(kind, [])
            if not names:
                switch.setChecked(False)
            switch.setVisible(bool(names))
            shown = [name.removeprefix(f"{kind} ") for name in names]
            if shown != [variant.itemText(i) for i in range(variant.count())]:
                variant.clear()
                for text, name in zip(shown, names, strict=True):
                    variant.addItem(text, name)
                variant.setCurrentIndex(len(names) - 1)
            variant.setVisible(len(names) > 1 and switch.isChecked())

    def _on_removed(self, tag: str) -> None:
        # A person who removes the layer does not want it back on the next radiograph.
        if tag in self._boxes:
            self._boxes[tag][0].setChecked(False)
