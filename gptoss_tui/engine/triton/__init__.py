"""The engine for NVIDIA GPUs: its own Triton kernels, experts in MXFP4, decode steps as CUDA graphs."""
