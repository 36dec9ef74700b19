"""An encoder's weights for inference in 8 bits: what `infer` reads, with the matrices of its layers as codes.

Embeddings, norms, biases, attention's own products and what stands behind the encoder stay float32.
"""

from __future__ import annotations

from typing import Any

from minibert.encoder import EncoderConfig
from minibert.inference import covers
from minibert.ops.int8 import Int8Weight
from minibert.parameters import Parameters

QUERY = "attention.self.query.weight"  # with key's and value's below it
MATRICES = {QUERY: 3, "attention.output.dense.weight": 1, "intermediate.dense.weight": 1, "output.dense.weight": 1}


class Int8Parameters(Parameters):
    """Parameters to read, with `codes` in place of some matrices."""

    def __init__(self, floats: Parameters, codes: dict[str, Int8Weight]):
        super().__init__(floats.shapes, floats.flat)
        self.codes = codes
        self._coded: dict[str, Int8Parameters] = {}

    @classmethod
    def encode(cls, p: Parameters, config: EncoderConfig) -> Int8Parameters:
        """Codes of every layer's matrices, as they are now.

        Raises   ValueError: an encoder whose layers are not BERT's
        """
        if not covers(config):
            raise ValueError("expected an encoder of BERT's kind (layer norm, biases, no gates) for int8, got another")
        names = {f"encoder.layer.{i}.{name}": count for i in range(config.layers) for name, count in MATRICES.items()}
        return cls(p, {name: Int8Weight(p.stacked(name, count)) for name, count in names.items()})

    def __getitem__(self, name: str) -> Any:
        return self.codes[name] if name in self.codes else super().__getitem__(name)

    def stacked(self, first: str, count: int) -> Any:
        """As of Parameters."""
        return self.codes[first] if first in self.codes else super().stacked(first, count)

    def sub(self, prefix: str) -> Int8Parameters:
        """As of Parameters."""
        if prefix not in self._coded:
            codes = {name.removeprefix(prefix): code for name, code in self.codes.items() if name.startswith(prefix)}
            self._coded[prefix] = Int8Parameters(super().sub(prefix), codes)
        return self._coded[prefix]
