"""A store with metadata: conditions, words and vectors together, hits that differ, and what each stage said of them."""

import tempfile

from minibert import SentenceEncoder, SentenceEncoderConfig, Store
from minibert.stdlib_corpus import docstrings
from tokenizers import WordPiece

documents = [
    {"id": doc.name, "text": doc.text, "metadata": {"package": doc.package, "length": len(doc.text)}}
    for doc in docstrings()
    if doc.package in ("json", "csv", "statistics")
]
tokenizer = WordPiece.train((document["text"] for document in documents), vocab_size=2000)
# Random weights, to keep this short: SentenceEncoder.load("folder of all-MiniLM-L6-v2") knows what words mean.
encoder = SentenceEncoder.create(
    tokenizer, SentenceEncoderConfig(tokenizer.vocab_size, width=64, layers=1, heads=2, ffn=128)
)

with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/docs.store", encoder) as store:
    store.add({document["id"]: document for document in documents}.values())
    hits = store.search(
        "median of an even number of values", k=3, hybrid=True, diversity=0.2, where={"package": "statistics"}
    )
    for hit in hits:
        print(f"{hit.score:.3f}  {hit.id}: {' '.join(hit.text.split())[:70]}")
        for stage, note in hit.stages.items():
            print("   ", stage, note)
    print(hits.times)
