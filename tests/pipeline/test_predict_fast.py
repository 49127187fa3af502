"""What makes predicting faster changes no answer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from made_up import made_up_model

from onemark import Cohort, LandmarkSet, LandmarkTable, Model, Progress, Radiograph
from onemark.nn import reader


def test_folded_networks_and_reading_ahead_move_no_point(
    phantoms: Cohort, exemplars: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    cohort = phantoms.subset(phantoms.names[:4])
    fast = made_up_model(exemplars).predict(cohort)
    monkeypatch.setattr(reader, "fold", lambda module: module)
    model = made_up_model(exemplars)
    plain = [model.predict_one(radiograph) for radiograph in cohort]
    assert fast.images == cohort.names
    for one, other in zip(fast, plain, strict=True):
        np.testing.assert_allclose(one.xy, other.xy, atol=1e-3)
        np.testing.assert_allclose(one.score, other.score, atol=1e-4)
        np.testing.assert_allclose(one.expected_error, other.expected_error, atol=1e-3)


def test_messages_and_previews_come_from_the_thread_that_asked(phantoms: Cohort, exemplars: LandmarkTable):
    threads: list[int] = []

    def sink(event: Progress) -> None:
        threads.append(threading.get_ident())

    made_up_model(exemplars).predict(phantoms.subset(phantoms.names[:2]), sink)
    assert set(threads) == {threading.get_ident()}


def test_a_folder_is_predicted_by_several_threads(
    phantoms: Cohort, exemplars: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    cohort, model = phantoms.subset(phantoms.names[:6]), made_up_model(exemplars)
    alone, asked = model.predict(cohort), list[tuple[int, int]]()
    locate = Model.locate

    def watched(self: Model, radiograph: Radiograph) -> LandmarkSet:
        asked.append((threading.get_ident(), torch.get_num_threads()))
        return locate(self, radiograph)

    monkeypatch.setattr(Model, "locate", watched)
    former = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = model.predict(cohort)
    finally:
        torch.set_num_threads(former)
    assert len({thread for thread, _ in asked} - {threading.get_ident()}) == 2
    assert {count for _, count in asked} == {1}
    assert together.images == alone.images
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.xy, other.xy)
