"""From documents to a store: committed batch by batch, so that an ingest that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from minibert.retrieval.readers import read_documents as read_documents
from minibert.retrieval.store import Store


class Ingested(NamedTuple):
    """How many documents were written, how many of these in place of an earlier one, and how many were there already.

    A document that is stored with the same content and cut the same way is there already: it is not embedded again.
    """

    added: int
    replaced: int
    unchanged: int


def ingest(store: Store, documents: Iterable[dict], batch_size: int = 512, progress: bool = False) -> Ingested:
    """Add documents in batches of one transaction each: a kill loses one at most, a second call does what is left.

    progress   show documents a second, and, of a `Corpus`, the share of its bytes and the time left; then the index's
    Raises     ValueError: as `Store.add`, which knows an id given twice in a batch; in a later batch it replaces
    """
    from tqdm import tqdm

    if batch_size < 1:
        raise ValueError(f"expected batch_size ≥ 1, got {batch_size}")
    stream = iter(documents)
    read, added, replaced_before = 0, 0, store.replaced
    corpus: Any = documents
    size = getattr(corpus, "size", None)
    units: dict[str, Any] = {"total": size, "unit": "B", "unit_scale": True} if size else {"unit": " documents"}
    with tqdm(desc="ingest", disable=not progress, **units) as bar:
        while batch := list(islice(stream, batch_size)):
            added += store.add(batch)
            read += len(batch)
            bar.update(corpus.done - bar.n if size else len(batch))
            if size:
                bar.set_postfix_str(
                    f"{read} documents, {read / (bar.format_dict['elapsed'] or 1):.0f}/s", refresh=False
                )
    if not read:
        raise ValueError("expected documents to ingest, got none: the corpus is empty")
    store.save_indexes(progress)
    return Ingested(added, store.replaced - replaced_before, read - added)
