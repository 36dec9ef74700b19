"""`@kernel`: Numba's nopython mode, compiled code cached on disk where the disk allows it."""

import functools
import warnings

from numba import njit, types


@functools.cache
def _warn_uncached(reason):
    warnings.warn(f"Numba cannot cache compiled code, every process compiles again: {reason}", stacklevel=4)


def kernel(function=None, **options):
    """Compile a module-level function: no Python objects inside, and the interpreter's lock released."""
    if function is None:
        return lambda decorated: kernel(decorated, **options)
    try:
        return _without_literals(njit(cache=True, nogil=True, **options)(function))
    except RuntimeError as error:  # a read-only or home-less place has no folder for the cache
        _warn_uncached(str(error))
        return _without_literals(njit(nogil=True, **options)(function))


def _without_literals(compiled):
    """The same, compiled once for all integers: Numba would do it anew for an argument that is 0 at first, say.

    All the tokenizers' kernels took twice as long to compile. Constants still reach what is inlined.
    """
    if hasattr(compiled, "get_call_template"):  # under NUMBA_DISABLE_JIT it is the function itself
        resolve = compiled.get_call_template
        compiled.get_call_template = lambda args, kws: resolve(tuple(map(types.unliteral, args)), kws)
    return compiled


def bare(function):
    """A kernel that allocates nothing, so that it need not count references to arrays.

    Numba counts them for every array taken from a tuple or passed on, also inside loops: the tokenizers took twice as
    long. Allocation in a bare kernel is an error of compilation.
    """
    return kernel(function, _nrt=False)


def inlined(function):
    """A bare kernel without a call of its own: passing arrays on costs more than a short function does."""
    return kernel(function, _nrt=False, forceinline=True)
