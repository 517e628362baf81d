"""Who may use the engine next: a queue that is fair between clients and bounded.

An engine that reads one sequence at a time has one slot. A client that waits with many requests gets its turns between
those of the others, and never the last quarter of the queue: somebody who has no request in it yet finds room.

A client may speak for several users, who share what is its own: more names give nobody more turns than another client.
Those who gave no key cannot be told apart but by the users that they name, so there each of these is a client.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from types import TracebackType

from gptoss_tui.server.errors import ApiError

_MOST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and for which of its users."""

    name: str
    user: str = ""


class Gate:
    """`slots` generations run at a time, `waiting` more requests wait. Belongs to one event loop."""

    def __init__(self, slots: int = 1, waiting: int = 64) -> None:
        self.slots = slots
        self.capacity = slots + waiting
        self.running = 0
        self._inside: Counter[str] = Counter()
        # Clients and their users with requests that wait, those whose turn comes next first.
        self._waiting: OrderedDict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = OrderedDict()
        self._seconds = 1.0

    @property
    def inside(self) -> int:
        """Requests that were let in and have not left."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """Generations that wait for a slot."""
        return sum(len(futures) for users in self._waiting.values() for futures in users.values())

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
        """After how many seconds a quarter of the queue will be done, by how long generations took."""
        ahead = max(self.waiting / 4, 1) / self.slots
        return min(max(1, round(ahead * self._seconds)), _MOST_SECONDS)

    def took(self, seconds: float) -> None:
        """A generation had its slot for so long."""
        self._seconds += 0.2 * (seconds - self._seconds)

    def leave(self, client: Client) -> None:
        """A request that was let in has ended."""
        self._inside[client.name] -= 1
        if not self._inside[client.name]:
            del self._inside[client.name]

    async def acquire(self, client: Client) -> None:
        """Wait for a slot."""
        if self.running < self.slots and not self._waiting:
            self.running += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        users = self._waiting.setdefault(client.name, OrderedDict())
        users.setdefault(client.user, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release()  # the slot was given just now
            else:
                self._forget(client, future)
            raise

    def release(self) -> None:
        """Give the slot to the next client, there to its next user."""
        self.running -= 1
        while self._waiting and self.running < self.slots:
            name, users = self._waiting.popitem(last=False)
            user, futures = users.popitem(last=False)
            future = futures.popleft()
            if futures:
                users[user] = futures
            if users:
                self._waiting[name] = users
            if not future.done():
                self.running += 1
                future.set_result(None)

    def _forget(self, client: Client, future: asyncio.Future[None]) -> None:
        users = self._waiting.get(client.name, OrderedDict())
        futures = users.get(client.user, deque())
        if future not in futures:
            return
        futures.remove(future)
        if not futures:
            del users[client.user]
        if not users:
            del self._waiting[client.name]


class Ticket:
    """A request that was let in. `async with ticket` waits for a slot and has it inside of the block."""

    def __init__(self, gate: Gate, client: Client) -> None:
        self._gate = gate
        self._client = client
        self._left = False
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._gate.acquire(self._client)
        self._began = asyncio.get_running_loop().time()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.took(asyncio.get_running_loop().time() - self._began)
        self._gate.release()

    def leave(self) -> None:
        """The request has ended. Idempotent."""
        if not self._left:
            self._left = True
            self._gate.leave(self._client)
