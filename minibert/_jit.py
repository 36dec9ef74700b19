"""`@kernel`: a module-level Numba kernel that is cached on disk, releases the GIL and owns no state."""

import warnings

from numba import njit


def kernel(function):
    """Compile `function` on first call; where no folder can hold a cache, compile in every process and say so."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError as error:  # Numba: "cannot cache function …: no locator available"
        warnings.warn(f"Numba kernels are compiled anew in each process: {error}", RuntimeWarning, stacklevel=2)
        return njit(nogil=True)(function)
