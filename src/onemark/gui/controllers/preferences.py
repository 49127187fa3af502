"""What the person has chosen: starts from napari's preferences, and is saved with the session."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Preferences:
    """Choices of the Open, Train and Export steps.

    Attributes:
        recipe: Key of the recipe; empty means the default one.
        minutes: Time budget; 0 means the recipe's own length.
        retrain_minutes: Time budget of a retraining with corrected radiographs.
        suggest_number: How many radiographs to suggest.
        device: `auto`, `cpu`, `cuda` or `mps`.
        settings: `slot.field` -> value, where it differs from the recipe's default.
        spacing_mm: Typed mm per pixel, or a run's in x and y where they differ; None to use what the files say.
        formats: Keys of the export formats.
        measurements: The set to measure, a shipped one or a TOML file; empty for the default where it fits.
        contrast: Grey values, 0 to 1, shown black and white; None for all of them.
        inverted: Whether black and white are exchanged.
        column: The measurement that the list shows; empty for the expected error.
        point_size: Diameter of a point on the screen, in px.
        error_limit: Expected error, mm, that gets the warmest colour.
    """

    recipe: str = ""
    minutes: float = 10.0
    retrain_minutes: float = 1.0
    suggest_number: int = 1
    device: str = "auto"
    settings: dict[str, object] = field(default_factory=dict)
    spacing_mm: float | Sequence[float] | None = None
    formats: list[str] = field(default_factory=lambda: ["csv"])
    measurements: str = ""
    column: str = ""
    contrast: list[float] | None = None
    inverted: bool = False
    point_size: float = 15.0
    error_limit: float = 4.0

    @classmethod
    def from_napari(cls) -> Preferences:
        """Start from napari's preferences, or from the defaults where napari does not know onemark."""
        preferences = cls()
        preferences.update(_read_napari())
        return preferences

    def update(self, values: Mapping[str, Any]) -> None:
        """Take over the values of known names, and ignore the others."""
        for one in dataclasses.fields(self):
            if one.name in values:
                setattr(self, one.name, values[one.name])

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for the autosave, without the look of points, which belongs to napari's preferences."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("point_size", "error_limit")}


def _read_napari() -> dict[str, Any]:
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("onemark")
    except KeyError:
        return {}
    shown = {**settings.training.model_dump(), **settings.points.model_dump()}
    return {key: value for key, value in shown.items() if value is not None}
