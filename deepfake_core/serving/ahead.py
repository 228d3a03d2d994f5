"""Let a generator run ahead in a thread, so that decoding goes on and is supervised while the model computes."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 2.0


def read_ahead(items: Iterator[T], *, ahead: int) -> Iterator[T]:
    """Yield ``items`` while a thread already fetches up to ``ahead`` more of them.

    An error of ``items`` is raised where the item would have been yielded. When the consumer stops early, an
    interrupt included, ``items`` is closed in its thread as soon as it has made the item it is at; that is waited
    for only a moment, because an interrupt should not have to wait for a long video.
    """
    fetcher = _Fetcher(items, ahead)
    fetcher.start()
    try:
        while not isinstance(item := fetcher.fetched.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        fetcher.stopped.set()
        fetcher.join(_PATIENCE_SECONDS)


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Fetcher(threading.Thread, Generic[T]):
    def __init__(self, items: Iterator[T], ahead: int) -> None:
        super().__init__(name="read-ahead", daemon=True)
        self.fetched: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
        self.stopped = threading.Event()
        self._items = items

    def run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                self._put(item)
                if self.stopped.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that consumes
            end = _End(error)
        if isinstance(self._items, Generator):
            self._items.close()
        self._put(end)

    def _put(self, item: T | _End) -> None:
        while not self.stopped.is_set():
            try:
                self.fetched.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return
