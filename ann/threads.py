"""Work on several threads: the kernels run without the GIL, so plain Python threads are enough.

Not Numba's `parallel=True`: a fork after it kills the child, and two threads that use it at once abort the process.
"""

from concurrent.futures import ThreadPoolExecutor


def run_threads(function, parts, threads):
    """Call the function for every part, on several threads where asked. The first exception is raised."""
    if threads == 1 or len(parts) < 2:
        for part in parts:
            function(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, parts):
            pass
