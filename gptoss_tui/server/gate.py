"""Who may use the engine next: a queue that is fair between clients and bounded.

An engine that reads one sequence at a time has one slot. A client that waits with many requests gets its turns between
those of the others, and never the last quarter of the queue: somebody who has no request in it yet finds room.

Who did not have the engine yet goes before those that had it and gave it back (`server.slices`), as long as these get
every second turn: a short request is through soon, a long one is never left standing.

A client may speak for several users, who share what is its own: more names give nobody more turns than another client.
Those who gave no key cannot be told apart but by the users that they name, so there each of these is a client.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType

from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.line import Client, Line, Place

_MOST_SECONDS = 120


class Gate:
    """`slots` generations run at a time, `waiting` more requests wait. Belongs to one event loop."""

    def __init__(self, slots: int = 1, waiting: int = 64) -> None:
        self.slots = slots
        self.capacity = slots + waiting
        self.running = 0
        self._inside: Counter[str] = Counter()
        self._new, self._begun = Line(), Line()
        self._was_new = False
        self._seconds = 1.0

    @property
    def inside(self) -> int:
        """Requests that were let in and have not left."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """Generations that wait for a slot."""
        return len(self._new) + len(self._begun)

    def admit(self, client: Client) -> Ticket:
        """Let a request in. Raises ApiError 429 at once when there is no room."""
        share = self.capacity - (self.capacity // 4 if self._inside[client.name] else 0)
        if self.inside >= max(share, 1):
            what = "is full" if self.inside >= self.capacity else "has no more room for this client"
            raise ApiError(
                429,
                f"The queue of the server {what}: {self.inside} of {self.capacity} requests are in it.",
                code="queue_full",
                retry_after=self.retry_after(),
            )
        self._inside[client.name] += 1
        return Ticket(self, client)

    def retry_after(self) -> int:
        """After how many seconds a quarter of the queue will be done, by how long requests had the engine."""
        ahead = max(self.waiting / 4, 1) / self.slots
        return min(max(1, round(ahead * self._seconds)), _MOST_SECONDS)

    def leave(self, client: Client, seconds: float) -> None:
        """A request that was let in has ended; it had the engine for so long."""
        self._inside[client.name] -= 1
        if not self._inside[client.name]:
            del self._inside[client.name]
        if seconds:
            self._seconds += 0.2 * (seconds - self._seconds)

    async def acquire(self, client: Client, *, begun: bool) -> None:
        """Wait for a slot; `begun`: the request had one before."""
        if self.running < self.slots and not self.waiting:
            self.running += 1
            return
        place: Place = asyncio.get_running_loop().create_future()
        line = self._begun if begun else self._new
        line.join(client, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # the slot was given just now
            else:
                line.quit(client, place)
            raise

    def release(self) -> None:
        """Give the slot to who is next."""
        self.running -= 1
        while self.waiting and self.running < self.slots:
            self._was_new = bool(self._new) and not (self._was_new and self._begun)
            place = (self._new if self._was_new else self._begun).next()
            if not place.done():
                self.running += 1
                place.set_result(None)


class Ticket:
    """A request that was let in. `async with ticket` waits for a slot and has it inside of the block.

    `waited` are the seconds that it waited for the last one.
    """

    def __init__(self, gate: Gate, client: Client) -> None:
        self.waited = 0.0
        self._gate = gate
        self._client = client
        self._begun = self._left = False
        self._since = self._had = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the only slot. An engine with several is not asked to interrupt one of them."""
        return self._gate.slots == 1 and self._gate.waiting > 0

    async def __aenter__(self) -> None:
        asked = _now()
        await self._gate.acquire(self._client, begun=self._begun)
        self._begun = True
        self._since = _now()
        self.waited = self._since - asked

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._had += _now() - self._since
        self._gate.release()

    def leave(self) -> None:
        """The request has ended. Idempotent."""
        if not self._left:
            self._left = True
            self._gate.leave(self._client, self._had)


def _now() -> float:
    return asyncio.get_running_loop().time()
