"""Tables read from a file, checked against what an index expects."""

import numpy as np


def expect(
    tables: dict[str, np.ndarray], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> np.ndarray:
    """The table of that name. In `shape`, None stands for any length.

    Raises   ValueError: another dtype or shape (KeyError: no such table)
    """
    table = tables[name]
    fits = len(table.shape) == len(shape) and all(e in (None, g) for e, g in zip(shape, table.shape, strict=False))
    if table.dtype != dtype or not fits:
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name}: expected {dtype.__name__} ({expected}), got {table.dtype} {table.shape}")
    return table
