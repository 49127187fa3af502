"""How much of the processor other programs take, while onemark works."""

from __future__ import annotations

import time

import psutil


class OthersMeter:
    """Measures the share of all cores that other programs have taken since it began."""

    def __init__(self) -> None:
        self._start = _read()

    def share(self) -> float | None:
        """0 to 1; None until the clock of the processor has moved on."""
        (total, busy, own), (total_0, busy_0, own_0) = _read(), self._start
        if total - total_0 < 1.0:
            return None
        others = (busy - busy_0) - (own - own_0)
        return min(max(others / (total - total_0), 0.0), 1.0)

    def restart(self) -> None:
        """Measure from now on."""
        self._start = _read()


def _read() -> tuple[float, float, float]:
    """Seconds of all cores together: passed, spent by any program, spent by this one."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Guests are counted in user time, too.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total, total - idle, time.process_time()
