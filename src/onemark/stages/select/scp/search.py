"""Which set of M radiographs serves the cohort best, from the matrix of similarities."""

from __future__ import annotations

import torch

AT_ONCE = 64  # random sets scored together; a bound on memory


def greedy(similar: torch.Tensor, number: int) -> list[int]:
    """Forward selection: each next radiograph is the one that raises the set's score most.

    The score, a mean of maxima, is monotone and submodular, so this set has at least 63 % of the best set's score above
    an empty one's (Nemhauser et al. 1978), and as a rule nearly all of it.

    Args:
        similar: `[P, N]` similarity of key point p to template n, 0...1.
        number: M, at most N.

    Returns:
        M columns in the order in which they were chosen.
    """
    reached = torch.zeros(len(similar), 1, device=similar.device)
    chosen: list[int] = []
    for _ in range(number):
        scores = torch.maximum(similar, reached).mean(0)
        # No radiograph twice, not even where it would add as much as others.
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        reached = torch.maximum(reached, similar[:, chosen[-1:]])
    return chosen


def best_of_random(similar: torch.Tensor, number: int, draws: int, generator: torch.Generator) -> list[int]:
    """The best of `draws` random sets, as published (Quan et al. 2022, Eq. 10).

    For a single radiograph all of them are compared, which needs no draws.

    Args:
        similar: `[P, N]` similarities.
        number: M, at most N.
        draws: Random sets.
        generator: The random numbers, on the CPU.

    Returns:
        M columns, the one with the greatest score alone first.
    """
    alone = similar.mean(0)
    if number == 1:
        return [int(alone.argmax())]
    table = similar.T.contiguous()
    best, chosen = -1.0, torch.arange(number)
    for start in range(0, draws, AT_ONCE):
        count = min(AT_ONCE, draws - start)
        sets = torch.rand(count, len(table), generator=generator).argsort(1)[:, :number]
        reached = table[sets[:, 0]]
        for column in sets[:, 1:].T:
            reached = torch.maximum(reached, table[column])
        scores = reached.mean(1)
        top = int(scores.argmax())
        if float(scores[top]) > best:
            best, chosen = float(scores[top]), sets[top]
    return sorted(chosen.tolist(), key=lambda n: -float(alone[n]))


def score(similar: torch.Tensor, chosen: list[int]) -> float:
    """R of a set: the mean over all key points of the greatest similarity to one of its radiographs (Eq. 9)."""
    return float(similar[:, chosen].amax(1).mean())
