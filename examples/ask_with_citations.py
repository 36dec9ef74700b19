"""Retrieval augmented generation: a prompt with numbered sources, an answer that cites them, all of it checked.

Set OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY to let a chat model answer; without them it is the best sentence.
"""

import os
import tempfile

from minibert import SentenceEncoder, SentenceEncoderConfig, Store
from minibert.retrieval import ChatEndpoint
from minibert.stdlib_corpus import docstrings
from tokenizers import WordPiece

found = {doc.name: doc for doc in docstrings() if doc.package in ("statistics", "tempfile", "shutil")}
tokenizer = WordPiece.train((doc.text for doc in found.values()), vocab_size=2000)
encoder = SentenceEncoder.create(
    tokenizer, SentenceEncoderConfig(tokenizer.vocab_size, width=64, layers=1, heads=2, ffn=128)
)
generator = ChatEndpoint.from_environment() if os.environ.get("OPENAI_BASE_URL") else None

with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/docs.store", encoder) as store:
    store.add({"id": name, "text": doc.text} for name, doc in found.items())
    answer = store.ask("How is the median of an even number of values computed?", generator, hybrid=True, budget=500)

print(answer.text)
for citation in answer.citations:
    print(
        f"[{citation.number}] {citation.hit.id}, characters {citation.span[0]} to {citation.span[1]}: {citation.text!r}"
    )
