"""The decorator of every kernel: compiled at its first call, kept on disk, run without the GIL."""

import warnings

from numba import njit


def kernel(function=None, **options):
    """Numba's `njit` with `nogil` and a disk cache; where no cache folder is writable, without the cache."""
    if function is None:
        return lambda decorated: kernel(decorated, **options)
    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError as error:  # Numba looks for a writable folder here, not at the first call
        if "cannot cache" not in str(error):
            raise
        warnings.warn(f"kernels are compiled anew in every process: {error}", RuntimeWarning, stacklevel=2)
        return njit(nogil=True, **options)(function)


def bare(function=None, **options):
    """A kernel that allocates nothing, so that it need not count references to arrays.

    Numba counts them for every array taken from a tuple or passed on, also inside loops. Allocation in a bare kernel
    is an error of compilation.
    """
    return kernel(function, _nrt=False, **options)


def inlined(function=None, **options):
    """A bare kernel without a call of its own: passing arrays on costs more than a short function does."""
    return kernel(function, _nrt=False, forceinline=True, **options)
