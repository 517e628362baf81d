"""A queue in which clients take turns, and so do the users of each client."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass

Place = asyncio.Future[None]
"""A waiting request. A cancelled one may still be in the queue."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and the user that it acts for."""

    name: str
    user: str = ""


class Line:
    """Clients and their users, in the order of their next turns."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[str, deque[Place]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, client: Client, place: Place) -> None:
        """Add a request behind all others of this user of the client."""
        users = self._clients.setdefault(client.name, OrderedDict())
        users.setdefault(client.user, deque()).append(place)
        self._length += 1

    def next(self) -> Place:
        """Remove and return the next request; its client, and its user there, move to the end. Must not be empty."""
        name, users = self._clients.popitem(last=False)
        user, places = users.popitem(last=False)
        place = places.popleft()
        self._length -= 1
        if places:
            users[user] = places
        if users:
            self._clients[name] = users
        return place

    def quit(self, client: Client, place: Place) -> None:
        """Remove a request before its turn. Does nothing if it is no longer in the queue."""
        users = self._clients.get(client.name, OrderedDict())
        places = users.get(client.user, deque())
        if place not in places:
            return
        places.remove(place)
        self._length -= 1
        if not places:
            del users[client.user]
        if not users:
            del self._clients[client.name]
