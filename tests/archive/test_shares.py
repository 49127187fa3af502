"""Which shards a process of a job array predicts."""

from __future__ import annotations

import pytest

from onemark import UserError
from onemark.archive.plan import Plan
from onemark.archive.shares import Share, hint_of, parse_share, share_of


def slurm(number: int, count: int, first: int, step: int = 1) -> dict[str, str]:
    values = {"ID": number, "COUNT": count, "MIN": first, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{key}": str(value) for key, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (slurm(0, 4, 0), "1/4"),
        (slurm(4, 4, 1), "4/4"),
        (slurm(14, 3, 10, 2), "3/3"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "1/2"),
        ({"RANK": "1", "WORLD_SIZE": "2"} | slurm(0, 4, 0), "1/4"),
        ({"RANK": "1"}, "None"),
        ({}, "None"),
    ],
)
def test_the_environment_of_slurm_and_torchrun(environment: dict[str, str], share: str):
    assert str(share_of(environment)) == share
    if share != "None":
        assert str(parse_share("auto", environment)) == share


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0", "auto", ""])
def test_what_is_no_share_is_one_sentence(text: str):
    with pytest.raises(UserError, match="--part"):
        parse_share(text, {})


@pytest.mark.parametrize("environment", [slurm(9, 2, 1), {"RANK": "x", "WORLD_SIZE": "2"}])
def test_an_array_with_gaps_is_one_sentence(environment: dict[str, str]):
    with pytest.raises(UserError, match="--part i/n"):
        share_of(environment)


def test_a_task_that_predicts_everything_hears_of_its_share():
    assert "task 2/4 (RANK=1)" in str(hint_of({"RANK": "1", "WORLD_SIZE": "4"}))
    assert hint_of({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert hint_of(slurm(9, 2, 1)) is None


def test_together_the_shares_are_all_shards_once():
    names = tuple(map(str, range(23)))
    plan = Plan("", "", names, dict(zip(names, names, strict=True)), shard_size=2)
    numbers = [number for index in range(1, 6) for number in Share(index, 5).numbers(plan)]
    assert sorted(numbers) == list(range(12))
    assert [name for shard in plan.shards() for name in shard.names] == list(names)
