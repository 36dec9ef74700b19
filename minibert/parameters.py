"""All weights of a model in one flat vector, seen through named views.

Adam, clipping and checkpoints then work on one array; and matrices that lie next to each other, such as the query, key
and value weights of a layer, are one fused matrix without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import DTypeLike


class Parameters(Mapping):
    """Ordered names → arrays, all views of `flat`.

    Shapes   shapes: {name: shape}; flat (P,) with P = Σ sizes, in that order; zeros where it is not given
    Raises   ValueError: flat has another size than the shapes ask for

    >>> p = Parameters({"weight": (1, 3), "bias": (1,)})
    >>> p["bias"][...] = 1
    >>> p.flat
    array([0., 0., 0., 1.], dtype=float32)
    """

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], flat: np.ndarray | None = None, dtype: DTypeLike = np.float32
    ):
        self.shapes = shapes
        self._sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        ends = list(accumulate(self._sizes.values(), initial=0))
        self._offsets = dict(zip(shapes, ends, strict=False))
        self._subs: dict[str, Parameters] = {}
        self.flat = np.zeros(ends[-1], dtype) if flat is None else flat
        if self.flat.shape != (ends[-1],):
            raise ValueError(f"expected {ends[-1]} numbers for these shapes, got an array of shape {self.flat.shape}")

    def __getitem__(self, name: str) -> np.ndarray:
        return self.stacked(name, 1).reshape(self.shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def stacked(self, first: str, count: int) -> np.ndarray:
        """`count` neighbours of the shape of `first`, on top of each other: (count · rows, …), a view."""
        start, (rows, *rest) = self._offsets[first], self.shapes[first]
        return self.flat[start : start + count * self._sizes[first]].reshape(count * rows, *rest)

    def sub(self, prefix: str) -> Parameters:
        """The neighbouring parameters whose names start with `prefix`, without it: views of the same numbers."""
        if prefix not in self._subs:
            names = [name for name in self.shapes if name.startswith(prefix)]
            start = self._offsets[names[0]]
            shapes = {name.removeprefix(prefix): self.shapes[name] for name in names}
            self._subs[prefix] = Parameters(shapes, self.flat[start : start + sum(self._sizes[name] for name in names)])
        return self._subs[prefix]

    def zeros_like(self) -> Parameters:
        """Zeros of the same shapes: where gradients add up."""
        return Parameters(self.shapes, np.zeros_like(self.flat))

    def astype(self, dtype: DTypeLike) -> Parameters:
        """A copy in another precision."""
        return Parameters(self.shapes, self.flat.astype(dtype))

    def load(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Copy every tensor in; names and shapes must be exactly these. After an error nothing is copied.

        Raises   ValueError: names the missing, the unexpected, the wrongly shaped, and those not finite or not real
        """
        wrong = [f"missing {name}" for name in self.shapes if name not in tensors]
        for name, tensor in tensors.items():
            if name not in self.shapes:
                wrong.append(f"unexpected {name}")
            elif tuple(tensor.shape) != tuple(self.shapes[name]):
                turned = ": transposed" if tuple(tensor.shape) == tuple(self.shapes[name])[::-1] else ""
                wrong.append(f"{name}: expected shape {self.shapes[name]}, got {tensor.shape}{turned}")
            elif not np.issubdtype(tensor.dtype, np.floating):
                wrong.append(f"{name}: expected floating-point numbers, got {tensor.dtype}")
            elif not np.isfinite(tensor).all():
                wrong.append(f"{name} holds NaN or infinity")
        if wrong:
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ValueError("the tensors do not fit the model: " + "; ".join(wrong[:3]) + more)
        for name, tensor in tensors.items():
            self[name][...] = tensor
