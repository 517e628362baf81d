"""The Triton kernels, one file per family. The self-test and the tests compare their results with plain torch."""
