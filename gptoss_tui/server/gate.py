"""Decides which request may use the engine next, with a bounded queue that is fair between clients.

An engine that runs one sequence at a time has one slot. A client with many waiting requests takes turns with the other
clients, and it cannot take the last quarter of the queue, which is reserved for clients without a request in it.

Requests that have not had the engine yet go before those that had it and gave it up (`server.slices`), except that the
latter get every second turn: short requests finish soon, and long ones are never stuck.

A client may act for several users, who share that client's turns: naming more users does not give a client more turns.
Clients without an API key can only be told apart by the users that they name, so each of those counts as a client.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType

from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.line import Client, Line, Place

_MOST_SECONDS = 120


class Gate:
    """Lets `slots` generations run at a time and `waiting` more requests wait. Belongs to one event loop."""

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
        """Requests that were admitted and have not left."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """Generations that wait for a slot."""
        return len(self._new) + len(self._begun)

    def admit(self, client: Client) -> Ticket:
        """Admit a request. Raises ApiError 429 immediately if there is no room."""
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
        """Estimated seconds until a quarter of the queue is done, from how long requests have used the engine."""
        ahead = max(self.waiting / 4, 1) / self.slots
        return min(max(1, round(ahead * self._seconds)), _MOST_SECONDS)

    def leave(self, client: Client, seconds: float) -> None:
        """An admitted request has ended, after using the engine for `seconds`."""
        self._inside[client.name] -= 1
        if not self._inside[client.name]:
            del self._inside[client.name]
        if seconds:
            self._seconds += 0.2 * (seconds - self._seconds)

    async def acquire(self, client: Client, *, begun: bool) -> None:
        """Wait for a slot. `begun`: the request had one before."""
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
                self.release()  # the slot had just been granted
            else:
                line.quit(client, place)
            raise

    def release(self) -> None:
        """Pass the slot on to the next in line."""
        self.running -= 1
        while self.waiting and self.running < self.slots:
            self._was_new = bool(self._new) and not (self._was_new and self._begun)
            place = (self._new if self._was_new else self._begun).next()
            if not place.done():
                self.running += 1
                place.set_result(None)


class Ticket:
    """An admitted request. `async with ticket` waits for a slot and holds it inside the block.

    `waited` is how long it waited for the latest slot, in seconds.
    """

    def __init__(self, gate: Gate, client: Client) -> None:
        self.waited = 0.0
        self._gate = gate
        self._client = client
        self._begun = self._left = False
        self._since = self._had = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether others wait for the only slot. An engine with several slots is not interrupted."""
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
