"""The engine in a process of its own: it may run out of memory or die without taking the front with it."""
