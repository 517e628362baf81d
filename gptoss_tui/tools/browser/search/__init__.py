"""Web search services: their requests, their keys, and the parsing of their answers."""
