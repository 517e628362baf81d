"""The engine of CPUs: C++ kernels behind a plain C interface, built with the package."""
