"""supervisord, looking at its programs ten times a second instead of once.

It starts its programs only after the first look, sees only at the next one that a program has ended, and takes two
looks for each priority when it stops: at a second a look that was half of the time until nginx answered, and several
of the ten seconds that `docker stop` gives.
"""

from __future__ import annotations

from supervisor import poller, supervisord

LOOK_EVERY = 0.1  # seconds


class AttentivePoller(poller.Poller):  # type: ignore[misc]
    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        looked: tuple[list[int], list[int]] = super().poll(min(timeout, LOOK_EVERY))
        return looked


def main() -> None:
    poller.Poller = AttentivePoller
    supervisord.main()


if __name__ == "__main__":
    main()
