"""What keeps checkpoints in the background, shared by threads."""

from __future__ import annotations

import collections
import threading
import time
from concurrent.futures import Future

from runback.checkpoints.background import Background


class Looked(collections.deque[Future[None]]):
    """One whose length has changed by the time that it is acted on, if others may."""

    def __len__(self) -> int:
        found = super().__len__()
        time.sleep(0.05)
        return found


def test_threads_may_share_it() -> None:
    background, go, done, errors = Background(), threading.Event(), list[int](), list[Exception]()
    background._pending = Looked()

    def hold() -> None:
        go.wait()

    for _ in range(2):
        background.submit(hold)

    def submit(number: int) -> None:
        try:
            background.submit(lambda: done.append(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=submit, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    go.set()
    for thread in threads:
        thread.join()
    assert background.wait() == []
    assert errors == []
    assert sorted(done) == [0, 1, 2, 3]


def test_what_comes_after_its_end_is_done_at_once() -> None:
    background, done = Background(), list[int]()
    assert background.wait() == []
    background.submit(lambda: done.append(1))
    assert done == [1]


def test_handler_of_a_signal_may_checkpoint_in_the_midst_of_a_call() -> None:
    background, done = Background(), list[int]()
    with background._lock:
        background.submit(lambda: done.append(1))
        background.check()
    assert background.wait() == []
    assert done == [1]
