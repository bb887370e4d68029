"""Several functions at the same time, yet one after the other: whoever pauses lets the seed say who goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence


class Baton:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mine: dict[int, threading.Semaphore] = {}
        self._back = threading.Semaphore(0)

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all of them to their end, each until it pauses; raises what the first of them to fail has raised."""
        failures: list[BaseException] = []
        turns = [threading.Semaphore(0) for _ in tasks]
        ended = [False] * len(tasks)

        def body(number: int) -> None:
            self._mine[threading.get_ident()] = turns[number]
            turns[number].acquire()
            try:
                tasks[number]()
            except BaseException as error:
                failures.append(error)
            ended[number] = True
            self._back.release()

        threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(len(tasks))]
        for thread in threads:
            thread.start()
        while not all(ended):
            turns[self._rng.choice([at for at, end in enumerate(ended) if not end])].release()
            self._back.acquire()
        for thread in threads:
            thread.join()
        self._mine.clear()
        if failures:
            raise failures[0]

    def pause(self) -> None:
        """Called within a task: let another one go on. Elsewhere it does nothing."""
        turn = self._mine.get(threading.get_ident())
        if turn is not None:
            self._back.release()
            turn.acquire()
