"""The engine in a separate process: it may run out of memory or crash without taking the front end with it."""
