"""How fast a download is and how long it will still take."""

import threading
import time
from collections import deque

WINDOW_SECONDS = 30.0


class Pace:
    """Counts bytes that arrive in several threads.

    Attributes:
        total: bytes that have arrived.
    """

    def __init__(self, *, expected_bytes: float) -> None:
        self.total = 0
        self._expected = expected_bytes
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def add(self, count: int) -> None:
        """Count bytes that just arrived."""
        now = time.monotonic()
        with self._lock:
            self.total += count
            if now - self._seen[-1][0] > WINDOW_SECONDS / 100:
                self._seen.append((now, self.total))
            while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:
                self._seen.popleft()

    def rate(self) -> float:
        """Return the bytes a second of the last half minute."""
        with self._lock:
            began, before = self._seen[0]
            return (self.total - before) / max(time.monotonic() - began, 1e-3)

    def remark(self) -> str:
        """Return rate and time left in words, such as ``1.3 MB/s, 2 h 05 min left``."""
        rate = self.rate()
        left = max(self._expected - self.total, 0.0) / rate if rate > 0 else None
        return f"{in_bytes(rate)}/s, {in_time(left)} left"


def in_bytes(count: float) -> str:
    """Return a number of bytes for people, such as ``12.3 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def in_time(seconds: float | None) -> str:
    """Return a duration for people, such as ``2 h 05 min``; None is not known."""
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
