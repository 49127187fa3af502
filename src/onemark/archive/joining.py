"""Join the parts of a finished prediction into its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onemark.archive.parts import Part, Parts
from onemark.archive.plan import Plan
from onemark.data.cohort import Cohort
from onemark.data.landmarks.convert import choose_format, no_spacing, write_landmarks
from onemark.data.landmarks.formats.tables.columns import EXTRAS, LONG, MM, UID, UNIT
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.types import UserError


@dataclass(frozen=True)
class Joined:
    """What became of a cohort.

    Attributes:
        predicted: Radiographs with predictions.
        total: All radiographs.
        skipped: Sentences about the others.
    """

    predicted: int
    total: int
    skipped: tuple[str, ...]


def join(
    parts: Parts, plan: Plan, cohort: Cohort, *, overwrite: bool = False, safe_csv: bool = False
) -> Joined:
    """Write the result from its parts, and remove them.

    A CSV is written part by part, so it takes no more memory for a larger cohort; other formats need the whole table.

    Args:
        parts: The parts.
        plan: Their plan.
        cohort: The radiographs, for formats that need their sizes.
        overwrite: Replace a result that is there.
        safe_csv: See `LandmarkTable.to_csv`.

    Raises:
        UserError: parts are missing, not one radiograph could be read, or the result cannot be written.
    """
    done = _finished(parts, plan)
    joined = Joined(
        sum(part.predicted for part in done),
        len(plan.names),
        tuple(sentence for part in done for sentence in part.skipped),
    )
    if not joined.predicted:
        parts.remove()  # the same call is to read them again
        raise UserError(f"no radiograph in {printable(cohort.place)} could be read: see the messages above")
    if parts.grows:
        parts.remove(keep_result=True)
        return joined
    if choose_format(parts.target.local).key == "csv":
        _write_csv(parts, plan, cohort, done, safe_csv)
    else:
        table = LandmarkTable.from_sets(
            one for part in done if part.predicted for one in parts.read(part.number).sets()
        )
        write_landmarks(table, parts.target.local, cohort=cohort, overwrite=overwrite, predicted_by=plan.run)
    parts.remove()
    return joined


def _finished(parts: Parts, plan: Plan) -> list[Part]:
    found = [parts.part(plan, number) for number in range(plan.count)]
    missing = [number + 1 for number, part in enumerate(found) if part is None]
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" and more" if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of the {plan.count} parts of {parts.target} are missing ({shown}): predict "
            "them with the same `onemark predict` once more, then merge"
        )
    return [part for part in found if part is not None]


def _write_csv(parts: Parts, plan: Plan, cohort: Cohort, done: Iterable[Part], safe: bool) -> None:
    used = {column for part in done for column in part.columns}
    if plan.mm and not used.intersection(MM):
        raise no_spacing(cohort)
    columns = [
        *LONG,
        *(column for column in (*EXTRAS, UNIT) if column in used),
        *(MM if plan.mm else ()),
        *((UID,) if plan.dicom_uid else ()),
    ]
    with parts.target.writing() as stream:
        for index, part in enumerate(done):
            parts.read(part.number).write(stream, columns, header=index == 0, safe=safe)
