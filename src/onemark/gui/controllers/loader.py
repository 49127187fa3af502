"""Radiographs decoded outside the GUI thread; keeps the last few and fetches the neighbours ahead."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from onemark.gui.controllers.background import Background, Done, Failed
from onemark.types import Radiograph

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort

KEEP_BYTES = 300_000_000


class Loader:
    """Decodes radiographs of a cohort on demand.

    Args:
        background: The threads that decode.
    """

    def __init__(self, background: Background) -> None:
        self._background = background
        self._cohort: Cohort | None = None
        self._kept: OrderedDict[str, Radiograph] = OrderedDict()

    def use(self, cohort: Cohort) -> None:
        """Use this cohort and forget the previous one."""
        self._cohort = cohort
        self._kept.clear()

    def get(self, name: str, done: Done, failed: Failed) -> None:
        """Hand the radiograph to `done`, after this call has returned: soon if it is kept, else once it is decoded."""
        if name in self._kept:
            self._kept.move_to_end(name)
            kept = self._kept[name]
            QTimer.singleShot(0, lambda: done(kept))
            return
        cohort = self._cohort
        assert cohort is not None

        def keep(radiograph: Radiograph) -> None:
            if cohort is self._cohort:
                self._keep(radiograph)
                done(radiograph)

        self._background.run(lambda: cohort[name], keep, failed)

    def fetch_ahead(self, names: Iterable[str]) -> None:
        """Decode these too, ignoring errors, unless other work is under way."""
        for name in names:
            if name not in self._kept and not self._background.busy:
                self.get(name, lambda radiograph: None, lambda error: None)

    def _keep(self, radiograph: Radiograph) -> None:
        self._kept[radiograph.name] = radiograph
        total = sum(one.pixels.nbytes for one in self._kept.values())
        while total > KEEP_BYTES and len(self._kept) > 1:
            total -= self._kept.popitem(last=False)[1].pixels.nbytes
