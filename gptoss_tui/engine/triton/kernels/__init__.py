"""One file a kernel family. Each kernel has a plain-torch reference in the test of the same name."""
