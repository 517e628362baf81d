"""Resource limits for child processes that parse untrusted data. The child imports this module, so it is small."""

from __future__ import annotations

_MEMORY = 1 << 30
_CPU_SECONDS = 15


def limit_this() -> None:
    """Limit this process's memory and CPU time and stop it from writing files; call before reading untrusted data."""
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
        except (ValueError, OSError):  # a stricter limit is already set, or the system does not support this one
            continue
