"""Train a byte-level BPE on the standard library's docstrings, look at its tokens, keep it as tokenizer.json."""

import tempfile
from pathlib import Path

import tokenizers
from minibert.stdlib_corpus import docstrings

texts = [doc.text for doc in docstrings() if doc.module.startswith("json")]
tokenizer = tokenizers.BPE.train(texts, vocab_size=1000, special_tokens=["<pad>"])

text = "Serialize obj, a Python object, as JSON. 🙂"
encoding = tokenizer.encode(text)
for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
    print(f"{token!r:14} is {text[start:end]!r}")
assert tokenizer.decode(encoding.ids) == text

batch = tokenizer(["short", "rather longer than that"], padding=True, max_length=8, truncation=True)
print(batch["input_ids"], batch["attention_mask"], sep="\n")

with tempfile.TemporaryDirectory() as folder:
    tokenizer.save(Path(folder) / "tokenizer.json")  # Hugging Face's tokenizers opens it
    assert tokenizers.load(Path(folder) / "tokenizer.json").encode(text).ids == encoding.ids
