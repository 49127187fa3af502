"""The Advanced section: a form made from the recipe's Config dataclasses, so that the window repeats no option."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from magicgui.widgets import create_widget
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFormLayout, QLabel, QSizePolicy, QWidget

from onemark.gui.state.backend import RecipeInfo

SLOTS = {
    "match": "Matcher",
    "register": "Registration",
    "detect": "Detector",
    "refine": "Refiner",
    "select": "Selector",
}


class SettingsForm(QWidget):
    """Edits the options of one recipe.

    Signals:
        changed: The person has changed a value.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._widgets: dict[str, Any] = {}
        self._defaults: dict[str, object] = {}
        self._given: dict[str, object] = {}
        self._filled: dict[str, object] = {}
        self._to_build: RecipeInfo | None = None
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setVerticalSpacing(4)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)

    def show_recipe(self, info: RecipeInfo, settings: Mapping[str, object]) -> None:
        """Show the options of a recipe, with these settings in place of its defaults."""
        while self._rows.rowCount():
            self._rows.removeRow(0)
        self._widgets.clear()
        self._defaults = info.defaults()
        self._given = {**self._defaults, **settings}
        self._to_build = info
        if self.isVisible():
            self._build()

    def showEvent(self, event: QShowEvent) -> None:
        """Build the fields, which take a tenth of a second and which most people never see."""
        self._build()
        super().showEvent(event)

    def settings(self) -> dict[str, object]:
        """`slot.field` -> value, for every option that differs from its default."""
        # A field rounds to the decimals it shows, so an untouched field keeps the value it was given.
        touched = {
            name: widget.value for name, widget in self._widgets.items() if widget.value != self._filled[name]
        }
        values = self._given | touched
        return {name: values[name] for name, default in self._defaults.items() if values[name] != default}

    def _build(self) -> None:
        if self._to_build is None:
            return
        for slot, config in self._to_build.configs.items():
            title = QLabel(SLOTS.get(slot, slot.capitalize()))
            title.setProperty("role", "hint")
            self._rows.addRow(title)
            hints = get_type_hints(type(config))
            for one in dataclasses.fields(config):  # type: ignore[arg-type]
                self._add(f"{slot}.{one.name}", one, hints[one.name])
        # What the fields make of the values, to recognise the untouched ones later.
        self._filled = {name: widget.value for name, widget in self._widgets.items()}
        self._to_build = None

    def _add(self, name: str, one: dataclasses.Field[Any], kind: Any) -> None:
        help_text, unit = one.metadata.get("help", ""), one.metadata.get("unit", "")
        widget = create_widget(
            value=self._given[name],
            annotation=kind,
            options=_make_options(one, kind, self._defaults[name]),
        )
        native = widget.native
        native.setObjectName(f"onemark.settings.{name}")
        native.setToolTip(help_text)
        native.setMinimumWidth(60)
        native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        text = one.name.replace("_", " ")
        label = QLabel(f"{text} ({unit})" if unit and unit != text else text)
        label.setToolTip(help_text)
        label.setBuddy(native)
        self._rows.addRow(label, native)
        widget.changed.connect(lambda value: self.changed.emit())
        self._widgets[name] = widget


def _make_options(one: dataclasses.Field[Any], kind: Any, value: Any) -> dict[str, Any]:
    if kind is bool or kind is str or getattr(get_origin(kind), "_name", "") == "Literal":
        return {"choices": list(get_args(kind))} if get_args(kind) else {}
    low, high = one.metadata.get("low"), one.metadata.get("high")
    if kind is int:
        return {
            "min": int(low if low is not None else -(10**9)),
            "max": int(high if high is not None else 10**9),
        }
    # The step also sets the number of decimals shown: a learning rate of 0.0003 needs five.
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.01
    return {"min": low if low is not None else -1e9, "max": high if high is not None else 1e9, "step": step}
