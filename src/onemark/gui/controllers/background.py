"""Short work outside the GUI thread, with its result handed back in the GUI thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

Done = Callable[[Any], None]
Failed = Callable[[BaseException], None]


class Background(QObject):
    """A few threads for decoding, evidence, devices and export.

    Args:
        parent: Its Qt parent; results that arrive after the parent is gone are dropped.
        threads: How many tasks run at the same time.
    """

    _ready = Signal(object)

    def __init__(self, parent: QObject | None = None, threads: int = 2) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(threads, "onemark-background")
        self._pending = 0
        self._ready.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether results are pending."""
        return self._pending > 0

    def run(self, work: Callable[[], Any], done: Done, failed: Failed) -> None:
        """Call `work` in a thread, then `done` with its result, or `failed` with its error, in the GUI thread."""
        self._pending += 1
        future = self._pool.submit(work)
        future.add_done_callback(lambda ended: self._post(ended, done, failed))

    def close(self) -> None:
        """Cancel what has not started, and drop later results."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(RuntimeError, TypeError):
            self._ready.disconnect(self._deliver)

    def _post(self, ended: Future[Any], done: Done, failed: Failed) -> None:
        # The window may be gone by now, and the C++ side of this object with it.
        with contextlib.suppress(RuntimeError):
            self._ready.emit((ended, done, failed))

    def _deliver(self, parcel: tuple[Future[Any], Done, Failed]) -> None:
        ended, done, failed = parcel
        self._pending -= 1
        if ended.cancelled():
            return
        error = ended.exception()
        if error is None:
            done(ended.result())
        else:
            failed(error)
