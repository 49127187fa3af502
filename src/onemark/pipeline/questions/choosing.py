"""Choose the single landmarks whose answers teach the most.

Most of the error is each landmark's own mean error, which a few answers show. Answers on one radiograph teach more than
the same number on many: from half of the landmarks on, matcher and registration take it as an exemplar. A question is a
radiograph i and a landmark k. Given the questions chosen so far, asking (i, k) gains

    G(i, k) = E_k * [v(n_k + 1) - v(n_k)] * w(i, k) * (1 + m_i),        v(n) = n / (n + 1),
    w(i, k) = t_i * 2 r / (1 + r),                                      r = e(i, k) / E_k,

where e(i, k) is the expected error, E_k its mean over the radiographs, n_k how many answers landmark k has or will have,
and m_i how many answers and questions there are on radiograph i. v is the share of a mean error that n answers show where
one answer strays about its landmark's mean as much as these means stray, so each further answer is worth less. w prefers
doubtful predictions, but not without bound, because an outlier says little of the mean. It also prefers typical
radiographs: t_i = 1 / (1 + d_i^2), with d_i the distance of the radiograph's descriptor to the cohort's mean as a
multiple of the median distance.

The greedy choice takes the greatest gain each time; landmarks without an answer come first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


def choose_questions(
    errors: Table, typical: Table, open_: NDArray[np.bool_], answers: NDArray[np.int_], number: int
) -> list[tuple[int, int]]:
    """Choose questions one by one, each with the greatest gain.

    Args:
        errors: `[N, K]` expected errors of N radiographs and K landmarks in one unit; NaN where one is unknown.
        typical: `[N]` how typical each radiograph is, 0...1: see `measure_typicality`.
        open_: `[N, K]` whether the landmark may be asked for on the radiograph.
        answers: `[K]` how many answers each landmark has already.
        number: Most questions.

    Returns:
        (radiograph, landmark) pairs, the most useful first; fewer than `number` where no more are open.
    """
    mean, relative = _scale(errors)
    weight = typical[:, None] * 2 * relative / (1 + relative)
    count, begun = answers.astype(float), (~open_).sum(1)
    free = open_.copy()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < number and free.any():
        gain = mean * weight / ((count + 1) * (count + 2)) * (1 + begun[:, None])
        first = free & (count == 0)
        gain = np.where(first if first.any() else free, gain, -np.inf)
        i, k = np.unravel_index(int(gain.argmax()), gain.shape)
        chosen.append((int(i), int(k)))
        free[i, k] = False
        count[k] += 1
        begun[i] += 1
    return chosen


def measure_typicality(descriptors: Table) -> Table:
    """How typical radiographs are, `[N]` in 0...1, by their descriptors `[N, C]`; 0.5 at the median distance."""
    away = np.linalg.norm(descriptors - descriptors.mean(0), axis=1)
    usual = float(np.median(away))
    return np.asarray(1 / (1 + (away / usual) ** 2)) if usual > 0 else np.ones(len(descriptors))


def _scale(errors: Table) -> tuple[Table, Table]:
    """Each landmark's mean error `[K]`, and errors `[N, K]` as multiples of it; 1 where nothing is known."""
    known = np.isfinite(errors) & (errors > 0)
    count = known.sum(0)
    total = np.where(known, errors, 0).sum(0)
    overall = total.sum() / max(1, count.sum()) or 1.0
    mean = np.where(count > 0, total / np.maximum(count, 1), overall)
    return mean, np.where(known, errors, mean) / mean
