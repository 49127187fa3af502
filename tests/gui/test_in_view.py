"""Nothing is decided about a radiograph that is not in view yet."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import Qt

from onemark.data import cohort as cohorts
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.annotation import State

from .desktop import Desktop

CTRL = Qt.KeyboardModifier.ControlModifier


def test_keys_wait_for_a_radiograph_that_is_slow_to_decode(
    annotated: Desktop, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotated.train()
    session, last = annotated.session, truth.images[5]
    annotated.until(lambda: not annotated.app.context.background.busy)
    annotated.app.context.loader.use(session.cohort)  # forget what was decoded ahead
    decoded, original = threading.Event(), cohorts.decode_radiograph

    def slow(*args: object) -> object:
        decoded.wait(20)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cohorts, "decode_radiograph", slow)
    session.show(last)
    annotated.key(Qt.Key.Key_Return)
    assert session.current == last
    assert session.state(last) is State.PREDICTED, "nobody has seen these points"
    assert "not in view yet" in annotated.said
    annotated.key(Qt.Key.Key_W)
    assert last not in session.annotations
    session.import_annotations(LandmarkTable.from_sets([truth[last]]))
    annotated.key(Qt.Key.Key_Z, CTRL)
    assert session.state(last) is State.EXEMPLAR
    decoded.set()
    annotated.until_shown(last)
    annotated.key(Qt.Key.Key_Z, CTRL)
    assert session.state(last) is State.PREDICTED
    annotated.key(Qt.Key.Key_Return)
    assert session.state(last) is State.CORRECTED
