"""The CPU engine: kernels in C++ behind a plain C ABI, and the Python code that drives them."""
