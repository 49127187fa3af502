"""Options that several commands share, and the checks of what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from onemark.data.atomic import user_errors
from onemark.types import UserError

SpacingMm = Annotated[
    float | None, Parameter(help="Pixel spacing in mm of all radiographs; without it, what the files say.")
]
Exemplar = Annotated[
    Path, Parameter(help="Landmarks of at least one radiograph of the folder (CSV and others).")
]
RunFolder = Annotated[Path, Parameter(help="Run folder to make.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace the output file when it exists.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of every command that trains."""

    recipe: Annotated[str, Parameter(help="`onemark recipes` lists them.")] = "onemark"
    minutes: Annotated[float | None, Parameter(help="Time budget; the schedule is laid over it.")] = None
    device: Device = "auto"
    seed: Annotated[int, Parameter(help="The same seed gives the same model on the same machine.")] = 0
    settings: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative="",
            consume_multiple=False,
            show_default=False,
            help="A setting of the recipe, such as match.steps=300; may be given again.",
        ),
    ] = ()


def settings_of(pairs: Sequence[str]) -> dict[str, object]:
    """Words of the form `name=value` as a mapping of strings.

    Raises:
        UserError: a word that is not of that form, or a name that is set twice.
    """
    values: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UserError(f"--set {pair}: write it as name=value, such as --set match.steps=300")
        if name in values:
            raise UserError(f"--set {name} is given twice; keep one of them")
        values[name] = value
    return values


def new_file(path: Path, overwrite: bool) -> Path:
    """Check that writing `path` destroys nothing.

    Raises:
        UserError: the file exists and `overwrite` is False, or there can be none of that name.
    """
    with user_errors(path):
        there = path.exists()
    if there and not overwrite:
        raise UserError(f"{path} exists already; give another name, or --overwrite to replace it")
    return path


DEFAULT_TRAINING = Training()
