"""BERT in Hugging Face's format: config.json ⇄ settings, and its keys, which ours are."""

from __future__ import annotations

from typing import Any

from minibert.encoder import EncoderConfig

KEYS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
}
FIXED: dict[str, Any] = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}
VARIANT: dict[str, Any] = {
    "position": "learned",
    "norm": "layer",
    "norm_first": False,
    "gated": False,
    "biases": True,
    "scaled": True,
}
HEADS = "cls.", "classifier.", "qa_outputs."
LEFT_OUT = (
    "embeddings.position_ids",  # a buffer of older versions: 0, 1, 2, …
    "cls.predictions.decoder.",  # another copy of the table of words, and of cls.predictions.bias
)
OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms, in the first checkpoints


def read_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an EncoderConfig; ValueError for an activation not known here.

    Differs  attention_probs_dropout_prob is not kept apart from hidden_dropout_prob
    """
    activation = settings.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise ValueError(f"expected hidden_act of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return {
        "activation": ACTIVATIONS[activation],
        "dropout": settings.get("hidden_dropout_prob", 0.1),
        "eps": settings.get("layer_norm_eps", 1e-12),
    }


def write_settings(config: EncoderConfig) -> dict[str, Any]:
    """What stands in config.json beside the sizes."""
    return {
        "architectures": ["BertModel"],
        "hidden_act": {ours: theirs for theirs, ours in ACTIVATIONS.items()}[config.activation],
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "layer_norm_eps": config.eps,
    }


def to_ours(name: str, head: bool = False) -> str | None:
    """Our name of a BERT tensor: without the prefix that models with a head have; None for such a head's, or `head`."""
    name = name.removeprefix("bert.")
    for old, new in OLD_NAMES.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return None if name.startswith(LEFT_OUT) or (name.startswith(HEADS) and not head) else name


def to_theirs(name: str, config: EncoderConfig, head: bool = False) -> str:
    """BERT's name of one of our tensors: the same, below "bert." where it stands under a `head`."""
    return f"bert.{name}" if head and not name.startswith(HEADS) else name
