"""The CPU engine: kernels in C++ behind a plain C ABI, and what drives them."""
