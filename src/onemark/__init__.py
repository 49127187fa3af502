"""Mark one X-ray; onemark marks the rest.

    cohort = onemark.open_cohort("xrays/")
    exemplars = onemark.read_landmarks("exemplar.csv")
    model = onemark.fit(cohort, exemplars, minutes=10)
    predictions = model.predict(cohort)
    predictions.to_csv("landmarks.csv")

Importing onemark is quick: a name loads its module, and with it torch or pandas, when it is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onemark.archive.cluster import predict_dask
    from onemark.data.cohort import Cohort, open_cohort
    from onemark.data.images.read import read_radiograph
    from onemark.data.landmarks.convert import write_landmarks
    from onemark.data.landmarks.table import LandmarkTable, read_landmarks
    from onemark.data.questions import Questions
    from onemark.data.suggestion import Suggestion
    from onemark.evaluation.metrics import Scores, evaluate
    from onemark.measurement.table import measure
    from onemark.pipeline.asking import ask
    from onemark.pipeline.fit import fit, load, resume
    from onemark.pipeline.model import Model
    from onemark.pipeline.recipes import RECIPES
    from onemark.pipeline.suggest import suggest
    from onemark.progress import Cancelled, Progress
    from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

__version__ = "0.1.0"

# torch's threads spin at barriers by default, and wait for each other whenever another program has the processor: beside
# one busy process, training is eight times slower. OpenMP reads this when torch is loaded; a person's own setting wins.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

_HOMES = {
    "archive.cluster": ("predict_dask",),
    "data.cohort": ("Cohort", "open_cohort"),
    "data.landmarks.convert": ("write_landmarks",),
    "data.images.read": ("read_radiograph",),
    "data.landmarks.table": ("LandmarkTable", "read_landmarks"),
    "evaluation.metrics": ("Scores", "evaluate"),
    "measurement.table": ("measure",),
    "data.questions": ("Questions",),
    "data.suggestion": ("Suggestion",),
    "pipeline.asking": ("ask",),
    "pipeline.fit": ("fit", "load", "resume"),
    "pipeline.model": ("Model",),
    "progress": ("Cancelled", "Progress"),
    "pipeline.recipes": ("RECIPES",),
    "pipeline.suggest": ("suggest",),
    "types": ("Evidence", "LandmarkSet", "Radiograph", "UserError"),
}
_HOME_OF = {name: f"onemark.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "RECIPES",
    "Cancelled",
    "Cohort",
    "Evidence",
    "LandmarkSet",
    "LandmarkTable",
    "Model",
    "Progress",
    "Questions",
    "Radiograph",
    "Scores",
    "Suggestion",
    "UserError",
    "__version__",
    "ask",
    "evaluate",
    "fit",
    "load",
    "measure",
    "open_cohort",
    "predict_dask",
    "read_landmarks",
    "read_radiograph",
    "resume",
    "suggest",
    "write_landmarks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'onemark' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
