"""The encoder–decoder of torch.nn.TransformerEncoderLayer and TransformerDecoderLayer, tied, label-smoothed, with Adam.

Weights come and go under our names; what torch keeps as one in_proj matrix is our query, key and value on top of each
other.
"""

import math
import time

import torch

NAMES = {
    "self_attn.in_proj_": ("attention.self.query.", "attention.self.key.", "attention.self.value."),
    "self_attn.out_proj.": ("attention.output.dense.",),
    "multihead_attn.in_proj_": ("crossattention.self.query.", "crossattention.self.key.", "crossattention.self.value."),
    "multihead_attn.out_proj.": ("crossattention.output.dense.",),
    "linear1.": ("intermediate.dense.",),
    "linear2.": ("output.dense.",),
}
NORMS = {
    "encoder": {"norm1.": "attention.output.LayerNorm.", "norm2.": "output.LayerNorm."},
    "decoder": {
        "norm1.": "attention.output.LayerNorm.",
        "norm2.": "crossattention.output.LayerNorm.",
        "norm3.": "output.LayerNorm.",
    },
}
WORDS = "embeddings.word_embeddings.weight"
twin = optimizer = None


class Twin(torch.nn.Module):
    def __init__(self, vocab_size, width, layers, heads, ffn, positions, dropout, places):
        super().__init__()
        self.words = torch.nn.Embedding(vocab_size, width)
        options = {"dropout": dropout, "batch_first": True}
        encoder_layer = torch.nn.TransformerEncoderLayer(width, heads, ffn, **options)
        decoder_layer = torch.nn.TransformerDecoderLayer(width, heads, ffn, **options)
        # Vaswani 2017 drops the outputs of sub-layers; torch also drops within the feed-forward network
        encoder_layer.dropout = decoder_layer.dropout = torch.nn.Identity()
        self.encoder = torch.nn.TransformerEncoder(encoder_layer, layers, enable_nested_tensor=False)
        self.decoder = torch.nn.TransformerDecoder(decoder_layer, layers)
        self.dropout = torch.nn.Dropout(dropout)
        self.register_buffer("places", torch.from_numpy(places))

    def embed(self, ids):
        return self.dropout(math.sqrt(self.words.embedding_dim) * self.words(ids) + self.places[: ids.shape[1]])

    def forward(self, sources, source_mask, inputs):
        padding = source_mask.logical_not()
        memory = self.encoder(self.embed(sources), src_key_padding_mask=padding)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
        # padding stands at the end of a target: no earlier token sees it, and its own loss does not count
        x = self.decoder(
            self.embed(inputs), memory, tgt_mask=causal, tgt_is_causal=True, memory_key_padding_mask=padding
        )
        return x @ self.words.weight.T


def create(tensors, config, places, threads=1, seed=0):
    """Build the twin with these weights."""
    global twin, optimizer
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    twin = Twin(**config, places=places)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(torch.cat([torch.from_numpy(tensors[ours]) for ours in our_names(name)]))
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9)


def our_names(name):
    """Our names of what torch calls `name`, top to bottom."""
    if name == "words.weight":
        return [WORDS]
    half, _, layer, inner = name.split(".", 3)
    table = NAMES | {theirs: (ours,) for theirs, ours in NORMS[half].items()}
    theirs = next(theirs for theirs in table if inner.startswith(theirs))
    return [f"{half}.layer.{layer}.{ours}{inner.removeprefix(theirs)}" for ours in table[theirs]]


def in_our_names(tensors):
    """{our name: array} of torch's {name: tensor}."""
    parts = {}
    for name, tensor in tensors:
        ours = our_names(name)
        parts |= {our: part.detach().numpy() for our, part in zip(ours, tensor.chunk(len(ours)), strict=True)}
    return parts


def loss(sources, source_mask, inputs, labels, smoothing):
    """Mean over the target tokens; labels are −100 where there is padding."""
    scores = twin(*map(torch.from_numpy, (sources, source_mask, inputs)))
    return torch.nn.functional.cross_entropy(
        scores.flatten(0, 1), torch.from_numpy(labels).flatten(), ignore_index=-100, label_smoothing=smoothing
    )


def scores(sources, source_mask, inputs):
    """Of every next token, without a tape."""
    twin.eval()
    with torch.inference_mode():
        return twin(*map(torch.from_numpy, (sources, source_mask, inputs))).numpy()


def loss_and_gradients(**batch):
    """The loss and every parameter's gradient."""
    twin.train()
    optimizer.zero_grad()
    value = loss(**batch)
    value.backward()
    return {"loss": value.item(), "gradients": in_our_names((n, p.grad) for n, p in twin.named_parameters())}


def train(batches, rates):
    """One Adam step a batch; the losses, and the processor's seconds."""
    twin.train()
    losses, start = [], time.process_time()
    for batch, rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        value = loss(**batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return {"losses": losses, "seconds": time.process_time() - start}


def weights():
    """All parameters."""
    return in_our_names(twin.named_parameters())


def save(path):
    torch.save({"twin": twin.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}, path)


def load(path):
    state = torch.load(path)
    twin.load_state_dict(state["twin"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
