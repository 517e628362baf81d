"""The engine for NVIDIA GPUs: own Triton kernels, MXFP4 experts, decode steps as CUDA graphs."""
