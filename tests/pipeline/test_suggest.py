"""suggest, and the fit that goes on from it without training anything twice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import onemark
from onemark import Cancelled, Cohort, LandmarkTable, Progress, UserError
from onemark.nn.weights import read_weights
from onemark.phantom import write_phantom_cohort
from onemark.pipeline.suggest import adopt, same_matcher, settled_differently


@pytest.fixture(scope="module")
def settings(tiny: dict[str, object]) -> dict[str, object]:
    return tiny | {"match.cross_from": 0.0, "select.keypoints": 10}


@pytest.fixture(scope="module")
def suggested(
    phantoms: Cohort, settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> onemark.Suggestion:
    return onemark.suggest(
        phantoms, number=3, settings=settings, out=tmp_path_factory.mktemp("suggest") / "run"
    )


def test_every_radiograph_has_its_place(suggested: onemark.Suggestion, phantoms: Cohort):
    assert len(set(suggested.chosen)) == 3
    assert sorted(name for name, _ in suggested.ranking) == sorted(phantoms.names)
    assert suggested.run is not None
    with (suggested.run / "suggestion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [name for name, _ in suggested.ranking]
    assert {row["chosen"]: row["image"] for row in rows if row["chosen"]} == dict(
        zip("123", suggested.chosen, strict=True)
    )


def test_the_same_seed_suggests_the_same(
    suggested: onemark.Suggestion, phantoms: Cohort, settings: dict[str, object]
):
    torch.manual_seed(5)
    again = onemark.suggest(phantoms, number=3, settings=settings)
    assert (again.chosen, again.ranking, again.run) == (suggested.chosen, suggested.ranking, None)


def test_a_run_that_is_there_is_asked_without_training(suggested: onemark.Suggestion, phantoms: Cohort):
    events: list[Progress] = []
    more = onemark.suggest(phantoms, number=5, out=suggested.run, progress=events.append)
    assert more.chosen[:3] == suggested.chosen  # greedy sets are nested
    assert {event.stage for event in events} == {"select"}


def test_the_fit_goes_on_from_the_matcher(
    suggested: onemark.Suggestion, phantoms: Cohort, truth: LandmarkTable, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(suggested.run or "", run)
    before = read_weights(run / "weights.safetensors")["match"][0]
    with pytest.raises(UserError, match=r"waits for its first exemplar"):
        onemark.resume(run)
    with pytest.raises(UserError, match=r"no exemplar yet"):
        onemark.load(run)
    exemplars = LandmarkTable.from_sets(truth[name] for name in suggested.chosen[:2])
    model = onemark.resume(run, exemplars=exemplars)
    after = read_weights(run / "weights.safetensors")["match"][0]
    network = [key for key in before if key.startswith("network.")]
    assert network
    assert all(torch.equal(before[key], after[key]) for key in network)
    assert after["templates.0"].shape[:2] == (2, len(truth.names))
    assert {(entry["stage"], entry["step"]) for entry in model.log} == {
        (stage, step) for stage in ("match", "detect", "refine") for step in (1, 2)
    }
    assert json.loads((run / "config.json").read_text())["state"] == "done"
    found = onemark.load(run).predict(phantoms.subset(phantoms.names[:2]))
    assert np.isfinite(found[phantoms.names[0]].xy).all()


def test_a_stopped_suggestion_goes_on_where_it_was(
    phantoms: Cohort, settings: dict[str, object], suggested: onemark.Suggestion, tmp_path: Path
):
    def sink(event: Progress) -> None:
        if (event.stage, event.step) == ("match", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        onemark.suggest(phantoms, number=3, settings=settings, out=tmp_path / "run", progress=sink)
    events: list[Progress] = []
    again = onemark.suggest(phantoms, number=3, out=tmp_path / "run", progress=events.append)
    assert [event.step for event in events if event.stage == "match"] == [2]
    assert again.chosen == suggested.chosen


def test_a_budget_is_split_between_suggestion_and_fit(
    phantoms: Cohort,
    truth: LandmarkTable,
    settings: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("onemark.pipeline.resuming.WARM_MINUTES", 0.0)
    found = onemark.suggest(phantoms, minutes=0.5 / 60, settings=settings, out=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["minutes"] * 60 == pytest.approx(1.0)
    assert config["done"]["match"] > 0
    onemark.resume(tmp_path / "run", exemplars=LandmarkTable.from_sets([truth[found.chosen[0]]]))
    after = json.loads((tmp_path / "run" / "config.json").read_text())
    assert after["minutes"] * 60 == pytest.approx(max(0.0, 1.0 - config["done"]["match"]))


def test_wrong_wishes_are_told(phantoms: Cohort, settings: dict[str, object], tmp_path: Path):
    with pytest.raises(UserError, match="between 1 and 12"):
        onemark.suggest(phantoms, number=13)
    with pytest.raises(UserError, match=r"select\.nonsense"):
        onemark.suggest(phantoms, settings={"select.nonsense": 1})
    with pytest.raises(UserError, match="minutes"):
        onemark.suggest(phantoms, minutes=0)


def test_a_fit_with_other_wishes_adopts_the_matcher(
    suggested: onemark.Suggestion,
    truth: LandmarkTable,
    settings: dict[str, object],
    tmp_path: Path,
):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(suggested.run or "", run)
    before = read_weights(run / "weights.safetensors")["match"][0]
    assert same_matcher(run, settings=settings)
    assert same_matcher(run, recipe="match-only", settings=_of_match(settings))
    assert same_matcher(run, settings=settings | {"match.hurried": 0.5})
    config = json.loads((run / "config.json").read_text())
    del config["settings"]["match.hurried"], config["settings"]["match.bias_cap"]  # an earlier version's run
    (run / "config.json").write_text(json.dumps(config))
    assert same_matcher(run, settings=settings)
    assert not same_matcher(run, settings=settings | {"match.bias_cap": 0.5})
    assert not same_matcher(run, settings=settings | {"match.batch": 3})
    assert not same_matcher(run, recipe="edgetrans-match-only")
    assert not same_matcher(tmp_path, settings=settings)
    with pytest.raises(UserError, match="another matcher"):
        adopt(run, settings=settings | {"match.batch": 3})
    adopt(run, recipe="match-detect", settings=_of_match(settings) | _tiny_detector(settings, steps=3))
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets([truth[suggested.chosen[0]]]))
    assert model.recipe == "match-detect"
    assert [(entry["stage"], entry["step"]) for entry in model.log if entry["stage"] == "detect"] == [
        ("detect", 1),
        ("detect", 2),
        ("detect", 3),
    ]
    after = read_weights(run / "weights.safetensors")["match"][0]
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("network."))
    with pytest.raises(UserError, match="has its exemplars already"):
        adopt(run, settings=settings)


def test_a_run_of_another_folder_is_told(
    suggested: onemark.Suggestion, phantoms: Cohort, xrays: Path, tmp_path: Path
):
    import shutil

    shutil.copytree(xrays, tmp_path / "moved")
    run = tmp_path / "run"
    shutil.copytree(suggested.run or "", run)
    other = onemark.open_cohort(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"run belongs to the radiographs in .*phantoms, not to those in .*moved: give"
    ):
        onemark.suggest(other, out=run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"cohort": str(tmp_path / "gone")}))
    assert onemark.suggest(other, number=3, out=run).chosen == suggested.chosen
    with pytest.raises(UserError, match=r"moved lacks .* and 10 more, from which .*run learns"):
        onemark.suggest(other.subset(other.names[:1]), out=run)


def _of_match(settings: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name.startswith(("match.", "select."))}


def _tiny_detector(settings: dict[str, object], steps: int) -> dict[str, object]:
    return {n: v for n, v in settings.items() if n.startswith("detect.")} | {"detect.steps": steps}


def test_a_finished_run_is_asked_without_training(
    phantoms: Cohort, exemplars: LandmarkTable, settings: dict[str, object], tmp_path: Path
):
    run, events = tmp_path / "run", list[Progress]()
    matching = {name: value for name, value in settings.items() if name.startswith("match.")}
    onemark.fit(phantoms, exemplars, recipe="match-only", settings=matching, out=run)
    more = onemark.suggest(
        phantoms, number=2, out=run, settings={"select.keypoints": 10}, progress=events.append
    )
    assert len(more.chosen) == 2
    assert {event.stage for event in events} == {"select"}


def test_a_run_that_reads_radiographs_as_they_lie_says_so_from_the_suggestion_on(
    phantoms: Cohort, exemplars: LandmarkTable, settings: dict[str, object], tmp_path: Path
):
    run = tmp_path / "run"
    onemark.suggest(phantoms, settings=settings, out=run, orient=False)
    assert settled_differently(run, orient=True) == ["orient"]
    assert settled_differently(run, orient=False) == []
    model = onemark.resume(run, exemplars=exemplars)
    assert model.orienter is None
    with pytest.raises(UserError, match="swap is for mirrored radiographs"):
        onemark.resume(run, exemplars=exemplars, swap=[exemplars.names[:2]])


def test_more_than_are_compared_is_said_before_the_training(
    phantoms: Cohort, settings: dict[str, object], tmp_path: Path
):
    events: list[Progress] = []
    with pytest.raises(UserError, match=r"--number 4 is more than the 3 radiographs that are compared"):
        onemark.suggest(
            phantoms,
            number=4,
            settings=settings | {"select.pool": 3},
            out=tmp_path / "run",
            progress=events.append,
        )
    assert not events
    assert not (tmp_path / "run").exists()


def test_as_many_as_can_be_read_are_suggested(tmp_path: Path, settings: dict[str, object]):
    write_phantom_cohort(tmp_path / "xrays", 4, size=(64, 64))
    (tmp_path / "xrays" / "phantom-002.png").write_bytes(b"no picture")
    told: list[str] = []
    found = onemark.suggest(
        onemark.open_cohort(tmp_path / "xrays"),
        number=4,
        settings=settings,
        progress=lambda event: told.append(event.message),
    )
    assert len(found.chosen) == 3
    assert "only 3 radiographs could be read, so 3 are suggested and not 4" in told


def test_a_matcher_that_is_being_taught_is_not_taken_for_one_without_exemplars(
    suggested: onemark.Suggestion, phantoms: Cohort, truth: LandmarkTable, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(suggested.run or "", run)

    def stop(event: Progress) -> None:
        if event.stage == "orientation":
            raise Cancelled

    exemplars = LandmarkTable.from_sets([truth[suggested.chosen[0]]])
    with pytest.raises(Cancelled):
        onemark.resume(run, exemplars=exemplars, progress=stop)
    with pytest.raises(UserError, match=r"has not learned its exemplars yet: finish it with `onemark resume"):
        onemark.suggest(phantoms, number=2, out=run)
    assert onemark.resume(run).names == truth.names


def test_a_suggestion_whose_folder_goes_can_go_on(
    phantoms: Cohort, settings: dict[str, object], tmp_path: Path
):
    run = tmp_path / "run"

    def lose(event: Progress) -> None:
        if (event.stage, event.step) == ("match", 2):
            run.rename(tmp_path / "away")

    with pytest.raises(UserError, match=r"go on with `onemark suggest`, with --out .*run-kept"):
        onemark.suggest(phantoms, number=2, settings=settings, out=run, progress=lose)
    assert len(onemark.suggest(phantoms, number=2, out=tmp_path / "run-kept").chosen) == 2
