"""Train two towers on the summaries and texts of some packages' docstrings, and see held-out questions find more."""

from minibert import DualEncoder, DualEncoderConfig
from minibert.retrieval.evaluate import evaluate_pairs
from minibert.stdlib_corpus import docstrings, pairs
from minibert.train import train_dual_encoder
from tokenizers import WordPiece

found = [(question, answer) for question, answer, doc in pairs(docstrings()) if doc.package in ("asyncio", "email")]
learned, held_out = found[::2], found[1::2]
tokenizer = WordPiece.train((text for pair in learned for text in pair), vocab_size=2000)
config = DualEncoderConfig(
    tokenizer.vocab_size, width=64, layers=1, heads=2, ffn=128, dim=64, normalize=True, temperature=0.05
)
model = DualEncoder.create(tokenizer, config, seed=0)
print("before", evaluate_pairs(model, held_out))
history = train_dual_encoder(
    model, learned, epochs=10, batch_size=32, learning_rate=2e-3, warmup=20, ids="text", progress=False
)
print("loss", round(history[0]["loss"], 2), "→", round(history[-1]["loss"], 2))
print("after ", evaluate_pairs(model, held_out))
