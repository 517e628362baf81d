"""Chooses this machine's fastest backend apart from Metal: the NVIDIA GPU's if its kernels run, else the CPU's."""

from __future__ import annotations

import ctypes

OLDEST_GPU = (8, 0)
"""Compute capability of Ampere, the first with bfloat16 in its matrix units."""


def fastest_without_metal() -> str:
    """The name of that backend. May import torch."""
    if has_nvidia_driver():
        import torch

        if torch.cuda.is_available() and torch.cuda.get_device_capability() >= OLDEST_GPU:
            return "triton"
    return cpu_backend()


def cpu_backend() -> str:
    """The fastest backend for the CPU: the native one if its kernels were built."""
    from gptoss_tui.engine.native.library import available

    return "native" if available() else "torch"


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver is installed. Asking torch instead would take a second to import it, even with no GPU."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
