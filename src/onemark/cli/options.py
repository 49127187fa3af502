"""Options that several commands share, and their checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onemark.data.atomic import user_errors
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.nn.processes import Processes

SpacingMm = Annotated[
    float | None, Parameter(help="Pixel spacing of all radiographs in mm; by default what the files say.")
]
Exemplar = Annotated[
    Path,
    Parameter(help="Landmarks of one or more radiographs of the folder, in any format that is read."),
]
Follow = Annotated[
    bool, Parameter(negative="--no-follow", help="Take in what symbolic links in the folder lead to.")
]
SafeCsv = Annotated[
    bool,
    Parameter(negative="", help="CSV: put ' before names that a spreadsheet would take for formulas."),
]
RunFolder = Annotated[Path, Parameter(help="Run folder to create.")]
Swap = Annotated[
    Path | None,
    Parameter(
        help="Left-right pairs of landmarks, whose names change places on mirrored radiographs: CSV landmark,label,swap."
    ),
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace the output file if it exists.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of every command that trains."""

    recipe: Annotated[str, Parameter(help="`onemark recipes` lists them.")] = "onemark"
    minutes: Annotated[
        float | None, Parameter(help="Time budget in minutes; the training schedule is fitted to it.")
    ] = None
    device: Device = "auto"
    seed: Annotated[int, Parameter(help="The same seed gives the same model on the same machine.")] = 0
    orient: Annotated[
        bool,
        Parameter(
            help="Recognize radiographs that are turned or mirrored relative to the exemplar; "
            "--no-orient reads all as they lie."
        ),
    ] = True
    settings: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative="",
            # One value for each --set: otherwise it would swallow the words that follow.
            consume_multiple=False,
            show_default=False,
            help="A setting of the recipe, such as match.steps=300; may be repeated.",
        ),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Machines:
    """The options that let several processes train one model."""

    devices: Annotated[
        int | None,
        Parameter(
            show_default=False,
            help="GPUs of each machine to train on, or processes on a CPU; 1 when left out, or what torchrun says.",
        ),
    ] = None
    nodes: Annotated[
        int | None,
        Parameter(
            show_default=False, help="Machines to train on, which torchrun or Slurm starts; 1 when left out."
        ),
    ] = None

    def processes(self) -> Processes:
        """What is asked for. Raises UserError when torchrun has started something else."""
        from onemark.nn.processes import Processes

        return Processes.asked(self.devices, self.nodes, os.environ)


def parse_settings(pairs: Sequence[str]) -> dict[str, object]:
    """Turn words of the form `name=value` into a mapping of strings.

    Raises:
        UserError: a word does not have that form, or a name is set twice.
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


def check_new_file(path: Path, overwrite: bool) -> None:
    """Check that writing `path` destroys nothing.

    Raises:
        UserError: the file exists and `overwrite` is False, or no file can have that name.
    """
    with user_errors(path):
        there = path.exists()
    if there and not overwrite:
        raise UserError(f"{path} exists already; give another name, or --overwrite to replace it")


DEFAULT_TRAINING = Training()
ONE_MACHINE = Machines()
