"""ONNX Runtime, in the peers' interpreter: a BERT folder exported, and run over batches by length, padded."""

import json
import pathlib

import numpy as np
import onnxruntime
import torch
import transformers

import tokenizers

SESSIONS = {}  # by path, so that a call is timed without loading
TEXTS = {}
BATCH = 32


class Bert(torch.nn.Module):
    """BERT with mean pooling in plain operations, which the exporter follows and ONNX Runtime fuses."""

    def __init__(self, model):
        super().__init__()
        self.model, self.heads = model, model.config.num_attention_heads

    def forward(self, ids, mask):
        e = self.model.embeddings
        positions = torch.arange(ids.shape[1]).unsqueeze(0)
        x = e.word_embeddings(ids) + e.position_embeddings(positions) + e.token_type_embeddings(torch.zeros_like(ids))
        x = e.LayerNorm(x)
        hidden = (1.0 - mask[:, None, None, :].to(x.dtype)) * -3e38
        for layer in self.model.encoder.layer:
            attention = layer.attention
            q, k, v = (self.split(part(x)) for part in (attention.self.query, attention.self.key, attention.self.value))
            weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + hidden, -1)
            context = (weights @ v).transpose(1, 2).reshape(x.shape)
            x = attention.output.LayerNorm(attention.output.dense(context) + x)
            inner = torch.nn.functional.gelu(layer.intermediate.dense(x))
            x = layer.output.LayerNorm(layer.output.dense(inner) + x)
        kept = mask.unsqueeze(-1).to(x.dtype)
        return torch.nn.functional.normalize((x * kept).sum(1) / kept.sum(1))

    def split(self, y):
        return y.view(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)


def version():
    return onnxruntime.__version__


def load(path, threads):
    """Export the folder's model and open it."""
    file = pathlib.Path(path) / "model.onnx"
    model = Bert(transformers.AutoModel.from_pretrained(path).eval())
    ids, axes = torch.ones(2, 7, dtype=torch.int64), {0: "batch", 1: "tokens"}
    torch.onnx.export(
        model, (ids, ids), file, input_names=["ids", "mask"], output_names=["vectors"], dynamo=False,
        dynamic_axes={"ids": axes, "mask": axes},
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(f"{path}/tokenizer.json")
    longest = json.loads((pathlib.Path(path) / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding()
    SESSIONS[path] = session, tokenizer


def keep(name, texts):
    """Hold texts here, so that a timed call does not pay for their journey."""
    TEXTS[name] = texts


def encode_kept(path, name):
    """Vectors of kept texts: by length, in batches of 32, as sentence-transformers does it."""
    session, tokenizer = SESSIONS[path]
    texts = TEXTS[name]
    order = np.argsort([-len(text) for text in texts], kind="stable")
    vectors = []
    for at in range(0, len(order), BATCH):
        encodings = tokenizer.encode_batch_fast([texts[i] for i in order[at : at + BATCH]])
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        vectors.append(session.run(None, {"ids": ids, "mask": mask})[0])
    return np.concatenate(vectors)[np.argsort(order, kind="stable")]
