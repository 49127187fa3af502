"""What was made last, kept for whoever asks again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Keeps the newest of what was made; several threads may ask.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[Key, Value] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """What is kept under a key; made outside the lock where nothing is, by each thread that asks meanwhile."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        made = make()
        with self._lock:
            while len(self._kept) >= self.most and key not in self._kept:
                del self._kept[next(iter(self._kept))]
            return self._kept.setdefault(key, made)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
