"""The decorator of minibert's few kernels is the one that `ann` has."""

from ann._jit import kernel as kernel
