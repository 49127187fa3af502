"""Fuzz run folders: `python tests/fuzz/run_folders.py [--count 10000] [--seed 0]`.

A copy of a run gets one to three faults: changed bytes, odd values, tensors of NaN, files of another run, files that are
missing, cut off, folders or pipes. Whatever is asked of it then must end in a value or in one sentence.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# In this process, so that its memory and time are those of the readers.
os.environ.setdefault("ONEMARK_PICTURE_SECONDS", "0")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from small_recipe import book, few_radiographs, place
from targets import mutated

import onemark
from onemark import Cancelled, Cohort, Progress, UserError
from onemark.cli import main
from onemark.data.suggestion import Suggestion
from onemark.nn import weights
from onemark.pipeline import recipes
from onemark.pipeline.runs.folder import RunFolder, status_of

SECONDS = 20.0
"""Of one question, a training of at most 5 s among them; more is a failure."""
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    1.5,
    1e308,
    10**20,
    "",
    "x",
    "\0",
    "../..",
    [],
    [[]],
    {},
    {"match": 1},
    ["a"],
]
Fault = Callable[[Path, random.Random], None]


class RunFolders:
    """A folder with radiographs and a few runs on them, from which damaged copies are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cohort = few_radiographs(folder / "xrays")
        self.sources = [*self._make()]

    def _make(self) -> Iterator[Path]:
        for name, recipe, index in (("done", "small", 0), ("other", "small", 2), ("smaller", "smaller", 0)):
            yield self._fit(name, recipe, index)
        yield self._fit("stopped", "small", 0, stop_at("detect", 2))
        yield self._fit("begun", "small", 0, stop_at("match", 2))
        shutil.copytree(self.folder / "done", self.folder / "teaching")
        try_to(
            lambda: onemark.resume(
                self.folder / "teaching", exemplars=place(self.cohort, 1), progress=stop_at("detect", 2)
            )
        )
        yield self.folder / "teaching"

    def _fit(self, name: str, recipe: str, index: int, progress: Any = None) -> Path:
        words = {} if progress is None else {"progress": progress}
        out, known = self.folder / name, place(self.cohort, index)
        if name == "other":
            known = type(known).from_sets([type(one)(one.image, ("c", "d"), one.xy) for one in known])
        model = try_to(
            lambda: onemark.fit(
                self.cohort, known, recipe=recipe, out=out, device="cpu", orient=False, **words
            )
        )
        if model is not None:
            model.predict(self.cohort).to_csv(out / "landmarks.csv")
            RunFolder.open(out).note_predicted(self.cohort)
        return out

    def damaged(self, rng: random.Random) -> tuple[Path, list[str]]:
        """A damaged copy of a run, and what was done to it."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        source = rng.choice(self.sources)
        shutil.copytree(source, run)
        done = [source.name]
        for _ in range(rng.choice((1, 1, 2, 3))):
            path = run / rng.choice(sorted(one.name for one in source.iterdir() if one.name[0] != "."))
            fault = rng.choice(
                (change_bytes, change_bytes, change_values, change_values, self.swap, remove, cut, block)
            )
            if path.is_file():
                fault(path, rng)
                done.append(f"{fault.__name__} {path.name}")
        return run, done

    def swap(self, path: Path, rng: random.Random) -> None:
        """A file of another run."""
        other = rng.choice(self.sources) / path.name
        if other.is_file():
            shutil.copy(other, path)


def stop_at(stage: str, step: int) -> Callable[[Progress], None]:
    """A sink that stops the work there."""

    def sink(event: Progress) -> None:
        if (event.stage, event.step) == (stage, step):
            raise Cancelled

    return sink


def try_to(work: Callable[[], Any]) -> Any:
    """What it returns; None where it was stopped."""
    try:
        return work()
    except Cancelled:
        return None


def change_bytes(path: Path, rng: random.Random) -> None:
    kind = {".json": "slicer", ".jsonl": "slicer", ".csv": "csv"}.get(path.suffix, "picture")
    path.write_bytes(mutated(kind, path.read_bytes(), rng))


def change_values(path: Path, rng: random.Random) -> None:
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            change_one(content, rng)
            path.write_text(json.dumps(content))
        elif path.suffix == ".safetensors":
            change_tensors(path, rng)
    except Exception:  # it is damaged already
        return


def change_one(content: Any, rng: random.Random) -> None:
    """Set, remove or add one value somewhere."""
    inner = [
        one
        for one in (content.values() if isinstance(content, dict) else content)
        if isinstance(one, dict | list) and one
    ]
    if inner and rng.random() < 0.6:
        return change_one(rng.choice(inner), rng)
    key = rng.choice(sorted(content)) if isinstance(content, dict) else rng.randrange(len(content))
    if rng.random() < 0.2:
        del content[key]
    else:
        content[key] = rng.choice(ODD)
    return None


def change_tensors(path: Path, rng: random.Random) -> None:
    with safe_open(path, "pt") as file:
        head, tensors = dict(file.metadata() or {}), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = rng.choice(sorted(tensors))
    change = rng.randrange(5)
    if change == 0:
        tensors = {
            name: value * float("nan") if value.is_floating_point() else value
            for name, value in tensors.items()
        }
    elif change == 1:
        del tensors[key]
    elif change == 2:
        tensors[rng.choice(("x", "match.x", "detect.network.weight"))] = tensors.pop(key)
    elif change == 3:
        tensors[key] = tensors[key].reshape(-1)[:1].clone()
    inside = {name: json.loads(text) for name, text in head.items()}
    if change == 4 or rng.random() < 0.3:
        change_one(inside, rng)
    whole = inside.get("onemark")
    way = rng.randrange(3)
    if way == 0 and isinstance(whole, dict) and isinstance(whole.get("slots"), dict):
        inside = whole["slots"]  # as the first version wrote it
    elif way == 1 and isinstance(whole, dict):  # as somebody would who knows how
        whole.pop("digest", None)
        whole["digest"] = weights._digest(tensors, whole.get("slots", {}), whole.get("note", {}))
    save_file(tensors, path, {name: json.dumps(one) for name, one in inside.items()})


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) + 1)])


def block(path: Path, rng: random.Random) -> None:
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    elif hasattr(os, "mkfifo"):
        os.mkfifo(path)


def questions(run: Path, cohort: Cohort) -> dict[str, Callable[[], object]]:
    """What may be asked of a run folder, in this order."""
    return {
        "status": lambda: status_of(run),
        "open": lambda: (RunFolder.open(run).log(), RunFolder.open(run).exemplars()),
        "landmarks": lambda: onemark.read_landmarks(run / "landmarks.csv"),
        "suggestion": lambda: Suggestion.read_csv(run / "suggestion.csv"),
        "load": lambda: answer(run, cohort),
        "cite": lambda: succeed(["cite", str(run)]),
        "resume": lambda: onemark.resume(run, progress=quick()),
        "teach": lambda: onemark.resume(run, exemplars=place(cohort, 3), progress=quick()),
        "predict": lambda: succeed(
            ["predict", str(run), str(cohort.folder), "--out", str(run / "new.csv"), "--overwrite"]
        ),
    }


def answer(run: Path, cohort: Cohort) -> None:
    """A model that answers answers with its own landmarks, at finite places."""
    model = onemark.load(run)
    found = model.locate(cohort[5])
    assert found.names == model.names
    assert np.isfinite(found.xy).all()


def succeed(words: list[str]) -> None:
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        out, err, sys.stdout, sys.stderr = sys.stdout, sys.stderr, nothing, nothing
        try:
            assert main(words) in (0, 2)
        finally:
            sys.stdout, sys.stderr = out, err


def quick() -> Callable[[Progress], None]:
    """A sink that stops a training which a changed number of steps or minutes would make long."""
    until = time.monotonic() + 5

    def sink(event: Progress) -> None:
        if time.monotonic() > until:
            raise Cancelled

    return sink


def check(run: Path, cohort: Cohort, seconds: float = math.inf) -> Iterator[tuple[str, str]]:
    """The questions that ended in anything but a value or one sentence, or took longer, with the reason."""
    for name, ask in questions(run, cohort).items():
        started = time.monotonic()
        try:
            ask()
        except (UserError, Cancelled) as error:
            if "\n" in str(error) or "\x1b" in str(error):
                yield name, f"no single sentence: {str(error)!r}"
        except Exception:
            yield name, traceback.format_exc()
        if time.monotonic() - started > seconds:
            yield name, f"took more than {seconds} s"


def use_small_recipes() -> None:
    """Put the small recipes in place of all others."""
    recipes.RECIPES = book()


def fuzz(count: int, seed: int) -> int:
    """Try damaged run folders; returns the number of failures."""
    use_small_recipes()
    rng, kinds, calls = random.Random(seed), Counter[str](), 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = RunFolders(Path(folder))
        while calls < count:
            run, faults = runs.damaged(rng)
            for name, why in check(run, runs.cohort, SECONDS):
                kind = [line for line in why.splitlines() if line.startswith("  File ")][-1:] or [why]
                kinds[kind[0]] += 1
                if kinds[kind[0]] == 1:
                    print(f"--- {name} of {faults}\n{why}", flush=True)
            calls += len(questions(run, runs.cohort))
    print(
        f"run folders: {calls} calls, {kinds.total()} failures, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return kinds.total()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    sys.exit(1 if fuzz(words.count, words.seed) else 0)
