"""What was made last is kept, also when several threads ask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from onemark.nn.recent import Recent


def test_the_newest_are_kept_and_others_made_again():
    made: list[int] = []
    recent = Recent[int, int](2)

    def get(key: int) -> int:
        return recent.get(key, lambda: made.append(key) or key * 10)  # type: ignore[func-returns-value]

    assert [get(key) for key in (1, 2, 1, 3, 2, 1)] == [10, 20, 10, 30, 20, 10]
    assert made == [1, 2, 3, 1]
    recent.clear()
    assert get(1) == 10
    assert made == [1, 2, 3, 1, 1]


def test_several_threads_may_ask():
    recent = Recent[int, int](3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: recent.get(n % 7, lambda: n % 7), range(5000)))
    assert answers == [n % 7 for n in range(5000)]
