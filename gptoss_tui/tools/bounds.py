"""What a process of our own may take that reads what strangers made; imported by the process itself, so it is small."""

from __future__ import annotations

_MEMORY = 1 << 30
_CPU_SECONDS = 15


def limit_this() -> None:
    """In a child, before anything of a stranger is read: bounds of memory and time, and no file is written."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # a stricter limit is set already, or the system has none
            continue
