"""A line in which clients take turns with each other, and their users with each other."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass

Place = asyncio.Future[None]
"""Somebody in the line. One that is cancelled may still stand in it."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and for which of its users."""

    name: str
    user: str = ""


class Line:
    """Clients and their users, those whose turn comes next first."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[str, deque[Place]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, client: Client, place: Place) -> None:
        """Stand behind all that this user of the client has in the line."""
        users = self._clients.setdefault(client.name, OrderedDict())
        users.setdefault(client.user, deque()).append(place)
        self._length += 1

    def next(self) -> Place:
        """Whose turn it is: he leaves the line, his client and there his user stand at its end. There must be one."""
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
        """Leave the line before it is one's turn. Nothing where that was so already."""
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
