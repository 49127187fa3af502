"""Recipes: a named choice of matcher, detector, refiner and selector, with their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onemark.options import from_settings
from onemark.stages.base import DETECT, MATCH, REFINE, REGISTER, SELECT, SLOTS, ChosenStage, Stage
from onemark.stages.config import StageConfig
from onemark.stages.detector import Detector
from onemark.stages.matcher import Matcher
from onemark.stages.refiner import Refiner
from onemark.stages.select.scp import SCP
from onemark.stages.selector import Selector, SelectorConfig
from onemark.types import UserError

Configs = dict[str, StageConfig]
"""Slot -> checked options."""

UNHURRIED_MINUTES = 25.0
SUGGESTING = (
    0.5  # least share of the matcher in a fit that begins with a suggestion, which depends on it alone
)
KINDS: Mapping[str, type[Stage]] = {MATCH: Matcher, REGISTER: Matcher, DETECT: Detector, REFINE: Refiner}  # type: ignore[type-abstract]  # asked, never called


@dataclass(frozen=True)
class Recipe:
    """A named choice of stages.

    Attributes:
        name: What people type.
        title: One line for people.
        slots: Slot (`match`, `register`, `detect`, `refine`) -> stage class.
        settings: `slot.field` -> value where the recipe differs from the stages' defaults.
        shares: Slot -> share of a time budget.
        unhurried: Settings for budgets of at least `UNHURRIED_MINUTES`, over `settings`.
        selector: Class of the selector (slot `select`), which says what to annotate before anything is fitted.
        origin: The package that the recipe comes from.

    Raises:
        UserError: the stages do not go together, or a setting is wrong; one sentence names the recipe and the fault.
    """

    name: str
    title: str
    slots: Mapping[str, type[Stage]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=lambda: {MATCH: 0.55, DETECT: 0.45})
    unhurried: Mapping[str, Any] = field(default_factory=dict)
    selector: type[Selector] = SCP
    origin: str = "onemark"

    def __post_init__(self) -> None:
        try:
            self._check_slots()
            for minutes in (None, UNHURRIED_MINUTES):
                self.check(self.configure(minutes=minutes))
        except UserError as error:
            raise UserError(f"recipe {self.name} of {self.origin}: {error}") from None

    @property
    def matcher(self) -> type[Matcher]:
        """The class of the matcher."""
        stage = self.slots[MATCH]
        assert issubclass(stage, Matcher)
        return stage

    @property
    def suggesting_share(self) -> float:
        """The part of a time budget that the matcher gets where it learns first, for a suggestion: 0.5...1."""
        return max(SUGGESTING, self.shares[MATCH] / sum(self.shares[slot] for slot in self.slots))

    def configure_selector(self, settings: Mapping[str, Any] | None = None) -> SelectorConfig:
        """The selector's checked options: its defaults, the recipe's settings, then the user's (`select.field`).

        Raises:
            UserError: an unknown setting, a wrong type or a value out of range.
        """
        return from_settings(
            self.selector.Config, _settings_of_slot({**self.settings, **(settings or {})}, SELECT), "select."
        )

    def configure(self, settings: Mapping[str, Any] | None = None, minutes: float | None = None) -> Configs:
        """Slot -> checked options: the stages' defaults, the recipe's settings, then the user's.

        Args:
            settings: The user's, `slot.field` -> value; those of the selector are checked, too.
            minutes: The time budget, when there is one.

        Raises:
            UserError: an unknown setting, a wrong type or a value out of range.
        """
        slow = self.unhurried if minutes is not None and minutes >= UNHURRIED_MINUTES else {}
        wanted = {**self.settings, **slow, **(settings or {})}
        for name in wanted:
            if name.partition(".")[0] not in (SELECT, *self.slots) or "." not in name:
                slots = " or ".join(f"{slot}.NAME" for slot in self.slots)
                raise UserError(
                    f"unknown setting {name}: recipe {self.name} has settings {slots}; see `onemark recipes {self.name}`"
                )
        self.configure_selector(settings)
        return {
            slot: from_settings(stage.Config, _settings_of_slot(wanted, slot), f"{slot}.")
            for slot, stage in self.slots.items()
        }

    def check(self, configs: Configs) -> None:
        """Check that checked options go together, within each stage and between the stages.

        Raises:
            UserError: they do not.
        """
        chosen = {slot: ChosenStage(self.slots[slot], config) for slot, config in configs.items()}
        for stage in self.slots.values():
            stage.check(chosen)

    def pretrained(self, configs: Configs) -> dict[str, tuple[str, str]]:
        """Slot -> encoder and `weights` setting, of the stages that start from pretrained weights."""
        wanted = {slot: self.slots[slot].pretrained(config) for slot, config in configs.items()}
        return {slot: one for slot, one in wanted.items() if one[1] != "none"}

    def _check_slots(self) -> None:
        unknown = [slot for slot in self.slots if slot not in SLOTS]
        if unknown:
            raise UserError(f"there is no slot {unknown[0]!r}: the slots are {', '.join(SLOTS)}")
        if MATCH not in self.slots:
            raise UserError("it has no matcher, which all other stages learn from: fill the slot match")
        for slot, stage in self.slots.items():
            if not issubclass(stage, KINDS[slot]):
                raise UserError(
                    f"{stage.__name__} cannot fill the slot {slot}: derive it from {KINDS[slot].__name__}"
                )
        if not issubclass(self.selector, Selector):
            raise UserError(f"{self.selector.__name__} is no selector: derive it from Selector")
        if not set(self.slots) <= set(self.shares) or not all(self.shares[slot] > 0 for slot in self.slots):
            raise UserError(f"shares must give every slot a share above 0: {', '.join(self.slots)}")
        # Stages are fitted and asked in this order, whatever the order in which they were named.
        object.__setattr__(self, "slots", {slot: self.slots[slot] for slot in SLOTS if slot in self.slots})


def _settings_of_slot(settings: Mapping[str, Any], slot: str) -> dict[str, Any]:
    prefix = f"{slot}."
    return {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
