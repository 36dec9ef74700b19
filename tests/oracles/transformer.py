"""The textbook encoder: padded, masked, one number at a time, float64. Imports nothing of the project."""

import math

import numpy as np


def layer_norm(row, gamma, beta, eps):
    """Ba 2016, one row."""
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return np.array([g * (x - mean) / math.sqrt(variance + eps) + b for x, g, b in zip(row, gamma, beta, strict=True)])


def gelu(x):
    """x Φ(x), one number."""
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def gelu_tanh(x):
    """The approximation of section 2 of the same paper."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rms_norm(row, gamma, eps):
    """Zhang & Sennrich 2019, one row."""
    square = sum(x * x for x in row) / len(row)
    return np.array([g * x / math.sqrt(square + eps) for x, g in zip(row, gamma, strict=True)])


def relative_bucket(distance, buckets, farthest):
    """T5's bucket of one distance j − i."""
    half = buckets // 2
    side, away, exact = (half if distance > 0 else 0), abs(distance), half // 2
    if away < exact:
        return side + away
    return side + min(half - 1, exact + int(math.log(away / exact) / math.log(farthest / exact) * (half - exact)))


def softmax(row):
    """One row; −inf entries get 0."""
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    return np.array([power / sum(powers) for power in powers])


def padded_attention(q, k, v, heads, mask, **variants):
    """Vaswani 2017 eq. 1 with a padding mask; q, k, v (B, L, D), mask (B, L) → (B, L, D)."""
    rows = zip(q, k, v, mask, strict=True)
    return np.array([masked_attention(q, k, v, heads, lambda i, j, m=m: m[j], **variants) for q, k, v, m in rows])


def masked_attention(q, k, v, heads, sees, scale=None, bias=lambda h, i, j: 0):
    """Vaswani 2017 eq. 1, one pair of sequences; q (L, D), k, v (M, D), sees(i, j): whether i looks at j → (L, D).

    scale: 1/√d unless given; bias(h, i, j) is added to the scores
    """
    d = q.shape[1] // heads
    scale = 1 / math.sqrt(d) if scale is None else scale
    out = np.zeros_like(q)
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        for i in range(len(q)):
            scores = [
                q[i, part] @ k[j, part] * scale + bias(h, i, j) if sees(i, j) else -math.inf for j in range(len(k))
            ]
            out[i, part] = sum(w * v[j, part] for j, w in enumerate(softmax(scores)))
    return out


def sinusoid(t, column, width):
    """Vaswani 2017 section 3.5, one number."""
    angle = t / 10000 ** (2 * (column // 2) / width)
    return math.cos(angle) if column % 2 else math.sin(angle)


def smoothed_cross_entropy(scores, targets, smoothing):
    """Szegedy 2016 section 7, one term at a time."""
    total = 0.0
    for row, target in zip(scores, targets, strict=True):
        for j, p in enumerate(softmax(row)):
            total -= ((1 - smoothing) * (j == target) + smoothing / len(row)) * math.log(p)
    return total / len(scores)


def padded_encoder(p, config, ids, type_ids, mask):
    """The encoder of Vaswani 2017, Devlin 2018 or Raffel 2020; ids, type_ids, mask (B, L) → (B, L, D)."""

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + (p[f"{name}.bias"] if config.biases else 0)

    def norm(x, name):
        gamma = p[f"{name}.weight"]
        if config.norm == "rms":
            return np.array([[rms_norm(row, gamma, config.eps) for row in sequence] for sequence in x])
        beta = p[f"{name}.bias"]
        return np.array([[layer_norm(row, gamma, beta, config.eps) for row in sequence] for sequence in x])

    def relative(h, i, j):
        bucket = relative_bucket(j - i, config.buckets, config.farthest)
        return p["encoder.relative_attention_bias.weight"][bucket, h]

    def attention(x, at):
        q, k, v = (linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        variants = {"scale": None if config.scaled else 1}
        variants |= {"bias": relative} if config.position == "relative" else {}
        return linear(padded_attention(q, k, v, config.heads, mask, **variants), f"{at}.attention.output.dense")

    def feed_forward(x, at):
        active = activation(linear(x, f"{at}.intermediate.dense"))
        active = active * linear(x, f"{at}.intermediate.value") if config.gated else active
        return linear(active, f"{at}.output.dense")

    forms = {"gelu": np.vectorize(gelu), "gelu_tanh": np.vectorize(gelu_tanh), "relu": lambda x: np.maximum(x, 0)}
    activation, width = forms[config.activation], config.width
    x = p["embeddings.word_embeddings.weight"][ids]
    if config.position == "sinusoidal":
        x = x * math.sqrt(width) + np.array([[sinusoid(t, c, width) for c in range(width)] for t in range(x.shape[1])])
    elif config.position == "learned" and config.positions:
        x = x + p["embeddings.position_embeddings.weight"][None, : ids.shape[1]]
    if config.segments:
        x = x + p["embeddings.token_type_embeddings.weight"][type_ids]
    if config.embedding_norm:
        x = norm(x, "embeddings.LayerNorm")
    for i in range(config.layers):
        at = f"encoder.layer.{i}"
        for part, function in (("attention.output", attention), ("output", feed_forward)):
            name = f"{at}.{part}.LayerNorm"
            x = x + function(norm(x, name), at) if config.norm_first else norm(x + function(x, at), name)
    return norm(x, "encoder.norm") if config.final_norm else x


def diagonal_cross_entropy(scores):
    """The course's loss over a score matrix, one term at a time."""
    total = 0.0
    for i, row in enumerate(scores):
        total -= math.log(math.exp(row[i]) / sum(math.exp(s) for s in row))
    return total / len(scores)


def adam(theta, gradients, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """Kingma & Ba 2014, Algorithm 1, literally; the last θ after all gradients."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta = theta - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return theta


def encoder_decoder(p, config, source, target):
    """Vaswani 2017 for one pair, post-norm, embeddings tied; ids of the source and of the decoder's input → (T, V)."""

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def add_and_norm(x, inner, name):
        total = x + linear(inner, f"{name}.dense")
        gamma, beta = p[f"{name}.LayerNorm.weight"], p[f"{name}.LayerNorm.bias"]
        return np.array([layer_norm(row, gamma, beta, config.eps) for row in total])

    def attend(x, memory, name, sees):
        q = linear(x, f"{name}.self.query")
        k, v = linear(memory, f"{name}.self.key"), linear(memory, f"{name}.self.value")
        return add_and_norm(x, masked_attention(q, k, v, config.heads, sees), f"{name}.output")

    def feed_forward(x, name):
        return add_and_norm(x, np.maximum(linear(x, f"{name}.intermediate.dense"), 0), f"{name}.output")

    def embed(ids):
        places = [[sinusoid(t, c, config.width) for c in range(config.width)] for t in range(len(ids))]
        return math.sqrt(config.width) * words[ids] + np.array(places)

    words = p["embeddings.word_embeddings.weight"]
    memory = embed(source)
    for i in range(config.layers):
        at = f"encoder.layer.{i}"
        memory = feed_forward(attend(memory, memory, f"{at}.attention", lambda i, j: True), at)
    x = embed(target)
    for i in range(config.layers):
        at = f"decoder.layer.{i}"
        x = attend(x, x, f"{at}.attention", lambda i, j: j <= i)
        x = feed_forward(attend(x, memory, f"{at}.crossattention", lambda i, j: True), at)
    return x @ words.T
