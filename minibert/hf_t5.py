"""T5's encoder in Hugging Face's format: config.json ⇄ settings, and its keys ⇄ ours, which are BERT's.

Of a whole T5 the decoder is left out. Versions 1.0 (ReLU) and 1.1 (gated GELU) differ in `feed_forward_proj`.

Source   Raffel 2020 (arXiv:1910.10683); Shazeer 2020 (arXiv:2002.05202)
"""

from __future__ import annotations

import re
from typing import Any

from minibert.encoder import RELATIVE, WORDS, EncoderConfig

KEYS = {
    "vocab_size": "vocab_size",
    "width": "d_model",
    "head_width": "d_kv",
    "ffn": "d_ff",
    "layers": "num_layers",
    "heads": "num_heads",
}
FIXED: dict[str, Any] = {"model_type": "t5"}
FEED_FORWARD = {"relu": ("relu", False), "gated-gelu": ("gelu_tanh", True), "gelu_new": ("gelu_tanh", False)}
VARIANT: dict[str, Any] = {
    "positions": 0,
    "segments": 0,
    "embedding_norm": False,
    "final_norm": True,
    "position": "relative",
    "norm": "rms",
    "norm_first": True,
    "biases": False,
    "scaled": False,
}
NAMES = {  # ours below encoder.layer.{i}. → T5's below encoder.block.{i}.layer.
    "attention.self.query": "0.SelfAttention.q",
    "attention.self.key": "0.SelfAttention.k",
    "attention.self.value": "0.SelfAttention.v",
    "attention.output.dense": "0.SelfAttention.o",
    "attention.output.LayerNorm": "0.layer_norm",
    "intermediate.dense": "1.DenseReluDense.wi",
    "intermediate.value": "1.DenseReluDense.wi_1",
    "output.dense": "1.DenseReluDense.wo",
    "output.LayerNorm": "1.layer_norm",
}
OUTSIDE = {
    WORDS: "shared.weight",
    RELATIVE: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    "encoder.norm.weight": "encoder.final_layer_norm.weight",
}
LEFT_OUT = ("decoder.", "lm_head.")
GATED = "1.DenseReluDense.wi_0"  # the activated product, where there are two


def read_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an EncoderConfig; ValueError where the feed-forward network is of a kind not known here."""
    kind = settings.get("feed_forward_proj", "relu")
    if kind not in FEED_FORWARD:
        raise ValueError(f"expected feed_forward_proj of {', '.join(FEED_FORWARD)}, got {kind!r}")
    activation, gated = FEED_FORWARD[kind]
    return VARIANT | {
        "activation": activation,
        "gated": gated,
        "buckets": settings.get("relative_attention_num_buckets", 32),
        "farthest": settings.get("relative_attention_max_distance", 128),
        "dropout": settings.get("dropout_rate", 0.1),
        "eps": settings.get("layer_norm_epsilon", 1e-6),
    }


def write_settings(config: EncoderConfig) -> dict[str, Any]:
    """What stands in config.json beside the sizes."""
    kinds = {variant: kind for kind, variant in FEED_FORWARD.items()}
    return {
        "architectures": ["T5EncoderModel"],
        "is_encoder_decoder": False,
        "feed_forward_proj": kinds[config.activation, config.gated],
        "relative_attention_num_buckets": config.buckets,
        "relative_attention_max_distance": config.farthest,
        "dropout_rate": config.dropout,
        "layer_norm_epsilon": config.eps,
    }


def to_ours(name: str) -> str | None:
    """Our name of a T5 tensor; None for what an encoder has no use for."""
    if name.startswith(LEFT_OUT):
        return None
    if name == "encoder.embed_tokens.weight":  # the same tensor as shared.weight
        return WORDS
    outside = {theirs: ours for ours, theirs in OUTSIDE.items()}
    inside = {theirs: ours for ours, theirs in NAMES.items()} | {GATED: "intermediate.dense"}
    if name in outside:
        return outside[name]
    match = re.fullmatch(r"encoder\.block\.(\d+)\.layer\.(.+)\.weight", name)
    return f"encoder.layer.{match[1]}.{inside[match[2]]}.weight" if match and match[2] in inside else name


def to_theirs(name: str, config: EncoderConfig) -> str:
    """T5's name of one of our tensors."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    match = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.weight", name)
    assert match is not None  # so all of our names of a layer are
    layer, part = match.groups()
    theirs = GATED if config.gated and part == "intermediate.dense" else NAMES[part]
    return f"encoder.block.{layer}.layer.{theirs}.weight"
