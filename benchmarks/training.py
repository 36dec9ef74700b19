"""Both encoders against PyTorch: same weights, same batches, outputs compared first, alternating rounds.

python -m benchmarks training: batches of 32 pairs with the lengths of real docstrings, padded for PyTorch. The dual
encoder is that of the course, 512 wide, 3 layers, 8 heads, 30,522 tokens: forward alone, and a whole step (forward,
backward, Adam); ours computes in the last layer only the rows of [CLS]. The sentence encoder is all-MiniLM-L6-v2: a
step of in-batch cross entropy over cosines, at once and, against sentence-transformers' own, by gradient caching; and
SBERT's softmax over (u, v, |u − v|), with AdamW and clipping, on an encoder of its size. Ours has no padding.
"""

import argparse
from types import SimpleNamespace

import numpy as np

from benchmarks.harness import Result, Row, compare, require_close
from benchmarks.peers import Peer
from minibert import SentenceEncoder, runtime
from minibert.checkpoint import from_torch_encoder
from minibert.encoder import initialize
from minibert.losses import in_batch_cross_entropy, in_batch_cross_entropy_backward
from minibert.models import sbert
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder, DualEncoderConfig, tower
from minibert.optim import Adam, AdamW, clip_by_norm
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.sentence_network import SentenceEncoderConfig
from minibert.stdlib_corpus import docstrings, pairs

SIZES = {"vocab_size": 30522, "width": 512, "dim": 128, "heads": 8, "layers": 3}
CONFIG = DualEncoderConfig(
    **SIZES, ffn=2048, positions=0, segments=0, activation="relu", embedding_norm=False, final_norm=True, dropout=0.0,
    eps=1e-5,
)  # fmt: skip
LEARNING_RATE = 1e-5
TEMPERATURE = 0.05  # 1 / sentence-transformers' scale of 20
PAIRS, LONGEST = 32, 64
PART = 8  # texts that pass at once with gradient caching


def make_batch(rng, found):
    """Random ids in the lengths that 32 drawn pairs would have (a token is some 4 characters): ours, and padded."""
    ours, theirs = [], {}
    drawn = rng.choice(len(found), PAIRS, replace=False)
    for side, name in enumerate(("question", "answer")):
        lengths = np.clip([len(found[i][side]) // 4 + 2 for i in drawn], 1, LONGEST)
        ragged = Ragged.from_sequences([rng.integers(0, SIZES["vocab_size"], n).tolist() for n in lengths])
        ids, mask = padded_side(ragged)
        ours.append(ragged)
        theirs |= {f"{name}_ids": ids, f"{name}_mask": mask}
    return ours, theirs


def weights(states):
    """The twin's weights as our parameters."""
    parameters = Parameters(CONFIG.shapes)
    for side, state in zip((QUERY, DOCUMENT), states, strict=True):
        parameters.sub(side).load(from_torch_encoder(state))
    return parameters


def sentence_encoder(questions, answers, padded, options):
    """The rows of all-MiniLM-L6-v2: forward, backward and Adam, all pairs at once and by gradient caching."""
    both = Ragged.from_sequences([row.tolist() for side in (questions, answers) for row in sequences(side)])
    objective = (
        lambda rows, q, a: in_batch_cross_entropy(q, a, TEMPERATURE),
        lambda dloss, cache, d: in_batch_cross_entropy_backward(dloss, cache),
    )
    with Peer("st_encoder", threads=options.threads) as peer:
        folder = peer.call("minilm_folder")
        for name, part, call in (
            ("MiniLM: forward, backward, Adam", None, "train_pairs"),
            (f"MiniLM: the same, {PART} texts at once", PART, "train_pairs_cached"),
        ):
            model = SentenceEncoder.load(folder)
            p, adam = model.parameters, Adam(model.parameters.flat)
            peer.call("create_trained", path=folder, learning_rate=LEARNING_RATE, temperature=TEMPERATURE)
            arguments = padded | ({"part": part} if part else {})

            def step(model=model, p=p, adam=adam, part=part):
                d = p.zeros_like()
                loss = sbert.siamese_pass(model, both, PAIRS, *objective, np.arange(PAIRS), d, part=part)
                adam.step(p.flat, d.flat, LEARNING_RATE)
                return loss

            for _ in range(2):  # the second loss tells whether the first step was the same
                require_close(f"{name}: loss", step(), peer.call(call, **arguments), rtol=1e-4)
            result = compare(lambda step=step: step() is None, peer.timed(call, **arguments), options.rounds)
            against = "sentence-transformers: CachedMultipleNegativesRankingLoss" if part else "torch"
            yield row(name, result, options, against)


def sbert_nli(sides, options, seed=0):
    """The row of SBERT's NLI: an encoder of MiniLM's size from random weights, forward, backward, clipping, AdamW."""
    sizes = {"vocab_size": SIZES["vocab_size"], "width": 384, "layers": 6, "heads": 12, "ffn": 1536, "positions": 512}
    config = SentenceEncoderConfig(**sizes, dropout=0.0)
    model = SentenceEncoder(SimpleNamespace(vocab_size=sizes["vocab_size"]), config, Parameters(config.shapes))
    initialize(model.parameters, np.random.default_rng(seed))
    start = dict(model.parameters)
    whole, labels = sbert.with_classifier(model, 3, seed), np.arange(PAIRS) % 3
    objective, rows = sbert.nli_objective(whole, labels), np.arange(PAIRS)
    both = Ragged.from_sequences([row.tolist() for side in sides for row in sequences(side)])
    adam = AdamW(whole, 0.01)

    def step():
        d = whole.zeros_like()
        loss = sbert.siamese_pass(model, both, PAIRS, *objective, rows, d)
        clip_by_norm(d.flat, 1.0)
        adam.step(whole.flat, d.flat, LEARNING_RATE)
        return loss

    with Peer("torch_sbert", threads=options.threads) as peer:
        peer.call(
            "create", tensors=start, classifier=whole[sbert.CLASSIFIER], learning_rate=LEARNING_RATE, weight_decay=0.01,
            pooling="mean", vocab_size=sizes["vocab_size"], hidden_size=384, num_hidden_layers=6,
            num_attention_heads=12, intermediate_size=1536, layer_norm_eps=config.eps,
        )  # fmt: skip
        batch = {"task": "nli", "batches": [([padded_side(side) for side in sides], labels)]}
        for _ in range(2):
            require_close("SBERT NLI: loss", [step()], peer.call("train", **batch), rtol=1e-4)
        result = compare(lambda: step() is None, peer.timed("train", **batch), options.rounds)
    return row("SBERT NLI: forward, backward, AdamW", result, options)


def row(task, result, options, against="torch"):
    return Row.timed(task, "ms", result, against=against, threads=options.threads)


def padded_side(batch):
    """(ids, mask) of a ragged batch, as PyTorch wants them."""
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = batch.ids
    return ids, mask


def sequences(batch):
    return np.split(batch.ids, batch.starts[1:-1])


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks training", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of both; set OPENBLAS_NUM_THREADS to the same")
    parser.add_argument("--dual-encoder", action="store_true", help="this alone")
    options = parser.parse_args(argv)
    if (blas := runtime.openblas()) and blas[1] != options.threads:
        parser.error(f"NumPy's BLAS has {blas[1]} threads: run with OPENBLAS_NUM_THREADS={options.threads}")
    rng = np.random.default_rng(0)
    (questions, answers), padded = make_batch(rng, pairs(docstrings()))
    with Peer("torch_encoder", threads=options.threads) as peer:
        parameters = weights(peer.call("create", **SIZES, seed=0, learning_rate=LEARNING_RATE))
        model, adam = DualEncoder(None, CONFIG, parameters), Adam(parameters.flat)
        expected = peer.call("loss_and_gradients", **padded)
        loss, _ = model.loss_and_gradients(questions, answers)
        require_close("dual encoder: loss", loss, expected["loss"], rtol=1e-5)
        vectors, _ = tower(parameters.sub(QUERY), CONFIG, questions)
        require_close("dual encoder: vectors", vectors, expected["queries"], atol=1e-5 * np.abs(vectors).max())

        def forward():
            tower(parameters.sub(QUERY), CONFIG, questions)
            tower(parameters.sub(DOCUMENT), CONFIG, answers)

        def step():
            _, gradients = model.loss_and_gradients(questions, answers)
            adam.step(parameters.flat, gradients.flat, LEARNING_RATE)

        rows = []
        for name, ours, theirs, arguments in (
            ("dual encoder: forward", forward, "forward", padded),
            ("dual encoder: forward, backward, Adam", step, "train", {"batches": [padded]}),
        ):
            result = compare(ours, peer.timed(theirs, **arguments), options.rounds)
            rows.append(row(name, result, options))
    if not options.dual_encoder:
        rows += sentence_encoder(questions, answers, padded, options)
        rows.append(sbert_nli((questions, answers), options))
    tokens = questions.starts[-1] + answers.starts[-1]
    with_padding = padded["answer_ids"].size + padded["question_ids"].size
    return [
        Result(
            f"training: {options.threads} thread{'s' * (options.threads > 1)}",
            f"Steps on {PAIRS} pairs of {tokens:,} tokens, {with_padding:,} with the padding that PyTorch gets; the "
            "dual encoder is 512 wide and has 3 layers.",
            "Vectors agree to 1e-5, the losses of two steps to 1e-4: the second tells whether the first was the same.",
            rows,
        )
    ]
