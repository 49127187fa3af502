"""Recipes: names for a choice of matcher, detector and refiner with their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onemark.options import from_settings
from onemark.stages.detect.c2t import C2T
from onemark.stages.detect.tpl import TPL
from onemark.stages.match.cc2d import CC2D
from onemark.stages.match.edgetrans import EdgeTrans
from onemark.stages.match.sla import SLA
from onemark.stages.refine.f2 import F2
from onemark.stages.select.scp import SCP
from onemark.types import UserError

Configs = dict[str, Any]
UNHURRIED_MINUTES = 25.0
FINE = {"match.area": 184320, "match.grow": 0.5, "match.cross_from": 0.15, "detect.area": 184320}
FINE_REFINE = {"refine.area": 737280, "refine.prior": 7.5, "refine.match_prior": 3.0}


@dataclass(frozen=True)
class Recipe:
    """A named choice of stages.

    Attributes:
        name: What people type.
        title: One line for people.
        slots: Slot (`match`, `detect`, `refine`) -> stage class, in the order in which they run.
        settings: `slot.field` -> value where the recipe differs from the stages' defaults.
        shares: Slot -> share of a time budget.
        unhurried: Settings for budgets of at least `UNHURRIED_MINUTES`, over `settings`.
        selector: Class of the selector (slot `select`), which says what to mark before anything is fitted.
    """

    name: str
    title: str
    slots: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=lambda: {"match": 0.55, "detect": 0.45})
    unhurried: Mapping[str, Any] = field(default_factory=dict)
    selector: Any = SCP

    def selecting(self, settings: Mapping[str, Any] | None = None) -> Any:
        """The selector's checked Config: its defaults, the recipe's settings, then the user's (`select.field`).

        Raises:
            UserError: an unknown setting, a wrong type or a value out of range.
        """
        wanted = {**self.settings, **(settings or {})}
        own = {k.partition(".")[2]: v for k, v in wanted.items() if k.startswith("select.")}
        return from_settings(self.selector.Config, own, "select.")

    def configure(self, settings: Mapping[str, Any] | None = None, minutes: float | None = None) -> Configs:
        """Slot -> checked Config: the stages' defaults, the recipe's settings, then the user's; `select.` is checked too.

        Args:
            settings: The user's, `slot.field` -> value.
            minutes: The time budget, when there is one.

        Raises:
            UserError: an unknown setting, a wrong type or a value out of range.
        """
        slow = self.unhurried if minutes is not None and minutes >= UNHURRIED_MINUTES else {}
        wanted = {**self.settings, **slow, **(settings or {})}
        for name in wanted:
            if name.partition(".")[0] not in ("select", *self.slots) or "." not in name:
                slots = " or ".join(f"{slot}.NAME" for slot in self.slots)
                raise UserError(
                    f"unknown setting {name}: recipe {self.name} has settings {slots}; see `onemark recipes {self.name}`"
                )
        self.selecting(settings)
        return {
            slot: from_settings(
                stage.Config,
                {k.partition(".")[2]: v for k, v in wanted.items() if k.startswith(f"{slot}.")},
                f"{slot}.",
            )
            for slot, stage in self.slots.items()
        }


REFINED = {"match": 0.5, "detect": 0.4, "refine": 0.1}

_VGG = {
    "encoder": "vgg19",
    "weights": "imagenet",
    "area": 384 * 384,
    "grow": 0.0,
    "optimizer": "adam",
    "peak": "argmax",
    "pool": 1_000_000,
    "framing": "alike",
}
_SSL = _VGG | {
    "task": "patch",
    "patch": 192,
    "extractors": "two",
    "context": "aspp",
    "length": 16,
    "temperature": 10.0,
    "distance_bias": 0.0,
    "several": "best",
    "anchors": 1,
    "window": 9,  # alpha = 19 cells
    "cascade": "product",
    "batch": 8,
    "steps": 66_500,  # 3500 epochs of 150 radiographs, 8 at a time
    "rate": 1e-3,
    "schedule": "halving",
}
_VOTES = _VGG | {
    "head": "voting",
    "disc": 0.05,
    "loss": "bce",
    "heat_weight": 1.0,
    "augment": "jitter",
    "drop": 0.0,
    "batch": 16,
    "steps": 3_000,  # 300 epochs of 150 radiographs, 15 at a time beside the exemplar
    "rate": 3e-4,
    "schedule": "tenths",
}
PUBLISHED_CC2D = {f"match.{k}": v for k, v in _SSL.items()} | {f"detect.{k}": v for k, v in _VOTES.items()}

_REGISTER = {
    "encoder": "hrnet_w18",
    "weights": "imagenet",
    "pairing": "joint",
    "area": 320 * 256,
    "width": 64,
    "layers": 2,
    "dropout": 0.1,
    "fine": "windows",
    "passes": 2,
    "passes_located": 2,
    "coarse_passes": 0,
    "field_stride": 2,
    "batch": 10,
    "steps": 11_250,  # 750 epochs of 150 radiographs, 10 at a time
    "rate": 1e-4,
    "optimizer": "adam",
    "schedule": "late",
    "pool": 1_000_000,
    "partners": "shuffled",
    "synthesis": "published",
    "miss": "squared",
    "w_similarity": 0.25,
    "w_focus": 0.5,
    "w_smooth": 1.0,
    "w_inverse": 0.0,
    "local_ramp": 1 / 3,
    "synthetic_until": 350 / 750,
    "focus_from": 200 / 750,
    "renew": 1.0,
    "memory": 0.9,
    "compare": 1,
    "several": "best",
}
FINE_EDGETRANS = {"match.area": 81920}
PUBLISHED_EDGETRANS = {f"match.{k}": v for k, v in _REGISTER.items()}

_COTEACH = {
    "encoder": "hrnet_w18",
    "weights": "imagenet",
    "area": 320 * 256,
    "loss": "square",
    "sigma": 12.0,  # 3 cells of 4 px
    "views": "pair",
    "augment": "affine",
    "strength": 1.0,
    "drop": 0.8,
    "doubt": 0.3,
    "cross": 1.0,
    "detach": False,
    "exemplar": 1.0,
    "batch": 6,
    "steps": 3_000,  # 100 epochs of 150 radiographs, 5 at a time beside the exemplar
    "rate": 1e-3,
    "optimizer": "adam",
    "schedule": "plateau",
    "pool": 1_000_000,
    "framing": "alike",
}
PUBLISHED_C2T = {f"detect.{k}": v for k, v in _COTEACH.items()}

_FINE_STAGE = {
    "encoder": "dino",
    "weights": "imagenet",
    "learn": "exemplar",
    "area": 1935 * 2400,
    "crop": 224,
    "match_prior": 100_000.0,  # none: the crop is the only bound
    "top": 3,
    "steps": 1_000,
    "rate": 2e-4,
    "batch": 8,
    "sigma": 2.0,
    "strength": 0.5,
    "shift": 29.0,  # as wide as the uniform 50 px
    "pool": 1_000_000,
}
PUBLISHED_F2 = {f"refine.{k}": v for k, v in _FINE_STAGE.items()}

_LANDMARKS = _VGG | {
    "views": "patches",
    "before": 0.0,
    "start": "random",
    "context": "rfb",
    "patch": 192,
    "length": 16,
    "temperature": 10.0,
    "window": 9,
    "copies": 0,
    "several": "best",
    "cross": 0.0,
    "batch": 8,
    "epochs": 300,
    "steps": 5_700,  # 300 epochs of 150 radiographs, 8 at a time
    "rate": 1e-4,
    "schedule": "halving",
    "framing": "alike",
}
_ATD = {"template": 63 / 82, "steps": 24_600}  # and of 500 copies of the exemplar, first in each epoch
PUBLISHED_SLA = {f"match.{k}": v for k, v in _LANDMARKS.items()}
PUBLISHED_ATD = PUBLISHED_SLA | {f"match.{k}": v for k, v in _ATD.items()}
PUBLISHED_ADAPTER = PUBLISHED_ATD | {"match.decoders": "adapter", "match.adapter": 16}

_ALL = (
    Recipe(
        "onemark",
        "compact matcher, detector and refiner, no pretrained weights; the default",
        {"match": CC2D, "detect": TPL, "refine": F2},
        shares=REFINED,
        unhurried=FINE | FINE_REFINE,
    ),
    Recipe(
        "match-detect",
        "the compact matcher and detector, without the look at full resolution",
        {"match": CC2D, "detect": TPL},
        unhurried=FINE,
    ),
    Recipe(
        "onemark-c2t",
        "the default with two detectors that teach each other which pseudo-labels to trust",
        {"match": CC2D, "detect": C2T, "refine": F2},
        shares=REFINED,
        unhurried=FINE | FINE_REFINE,
    ),
    Recipe(
        "cc2d",
        "CC2D as published (Yao et al. 2021): patches, then votes; ImageNet weights, made for a GPU",
        {"match": CC2D, "detect": TPL},
        PUBLISHED_CC2D,
        {"match": 0.85, "detect": 0.15},
    ),
    Recipe(
        "scp",
        "CC2D as published, with exemplars chosen as SCP does (Quan et al. 2022); made for a GPU",
        {"match": CC2D, "detect": TPL},
        PUBLISHED_CC2D | {"select.search": "random"},
        {"match": 0.85, "detect": 0.15},
    ),
    Recipe("match-only", "the compact matcher alone", {"match": CC2D}, shares={"match": 1.0}),
    Recipe(
        "cc2d-sla",
        "CC2D with a decoder for each landmark (He et al. 2025); ImageNet weights, made for a GPU",
        {"match": SLA},
        PUBLISHED_SLA,
        {"match": 1.0},
    ),
    Recipe(
        "sla-atd",
        "the same, first learning from changed copies of the exemplar (He et al. 2025); made for a GPU",
        {"match": SLA},
        PUBLISHED_ATD,
        {"match": 1.0},
    ),
    Recipe(
        "c-adapter",
        "the same with one decoder and small adapters for each landmark (He et al. 2025); made for a GPU",
        {"match": SLA},
        PUBLISHED_ADAPTER,
        {"match": 1.0},
    ),
    Recipe(
        "c-f2",
        "the same, then FM-OSD's fine stage (Miao et al. 2024); ImageNet and DINO weights, made for a GPU",
        {"match": SLA, "refine": F2},
        PUBLISHED_ADAPTER | PUBLISHED_F2,
        {"match": 0.9, "refine": 0.1},
    ),
    Recipe(
        "sla-compact",
        "the compact matcher, then a small decoder for each landmark on its frozen network",
        {"match": SLA},
        shares={"match": 1.0},
        unhurried={"match.area": FINE["match.area"], "match.grow": FINE["match.grow"]},
    ),
    Recipe(
        "edgetrans",
        "EdgeTrans as published (Yin et al. 2022): learned registration, co-teaching; ImageNet weights, made for a GPU",
        {"match": EdgeTrans, "detect": C2T},
        PUBLISHED_EDGETRANS | PUBLISHED_C2T,
        {"match": 0.85, "detect": 0.15},
    ),
    Recipe(
        "edgetrans-compact",
        "learned registration in a compact form, without pretrained weights, and a detector",
        {"match": EdgeTrans, "detect": TPL},
        unhurried=FINE_EDGETRANS | {"detect.area": FINE["detect.area"]},
    ),
    Recipe(
        "edgetrans-match-only",
        "the compact registration alone",
        {"match": EdgeTrans},
        shares={"match": 1.0},
        unhurried=FINE_EDGETRANS,
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def get(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none.
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
