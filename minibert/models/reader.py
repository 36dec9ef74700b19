"""The reader: finds the answer to a question in a text, as a slice of it, or says that there is none.

Unlike a classifier it scores every token, as the first and as the last of the answer. A text too long for one pass is
read in windows that overlap; [CLS] stands for "no answer here":

    [CLS] question [SEP] window [SEP] → encoder → first (T,), last (T,)
    span i … j of the window: first_i + last_j          no answer: first_CLS + last_CLS, the least of all windows

Source   Devlin 2018 (arXiv:1810.04805) sections 4.2 and 4.3; Rajpurkar 2018 (SQuAD 2.0, arXiv:1806.03822)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.formats import Question
from minibert.metrics_answers import squad
from minibert.models.headed import Examples, HeadedModel
from minibert.ops import span_cross_entropy, span_cross_entropy_backward
from minibert.ragged import Ragged
from tokenizers.inputs import check_texts

STRIDE = 3  # neighbouring windows share a third of their tokens: 128 of 384 in BERT's own script
LONGEST_QUESTION = 64  # tokens, likewise


@dataclass(frozen=True)
class Answer:
    """A slice of a text: contexts[context][start:end] == text.

    Units    score: logit of the first token plus logit of the last; margin: score less the same context's score of "no
             answer", so that answers from several contexts compare; below 0 no answer is the likelier
    """

    text: str
    start: int
    end: int
    context: int
    score: float
    margin: float


class Reader(HeadedModel):
    """first, *others = Reader.load(folder).answer("Who wrote it?", contexts, count=3)"""

    kind, head = "reader", "span"

    def answer(
        self,
        question: str,
        contexts: Sequence[str],
        count: int = 1,
        threshold: float | None = 0.0,
        longest: int = 30,
        stride: int | None = None,
        on_truncate: str = "warn",
    ) -> list[Answer]:
        """The best answers in all contexts together, by margin, best first; of equal ones the earlier.

        Units    threshold: least margin, None for the best spans in any case; longest: of an answer, in tokens; stride:
                 tokens that windows of a long context share, by default a third of max_length; on_truncate: a question
                 is cut after 64 tokens, or as many as leave a window more of the context than the stride
        Raises   TypeError: a text that is no str; ValueError: a count or longest below 1, a stride that leaves no room
                 for a question, or a question too long and on_truncate="raise"
        """
        if count < 1 or longest < 1:
            raise ValueError(f"expected a count and a longest of at least 1, got {count} and {longest}")
        contexts = check_texts(contexts, "contexts")
        found = []
        question = self._cut([question], stride, on_truncate)[0]
        ranked = self._spans([question] * len(contexts), contexts, count, longest, stride)
        for number, (spans, nothing) in enumerate(ranked):
            for (start, end), score in spans[:count]:
                found.append(Answer(contexts[number][start:end], start, end, number, score, score - nothing))
        found = [answer for answer in found if threshold is None or answer.margin >= threshold]
        return sorted(found, key=lambda answer: -answer.margin)[:count]

    def predict(
        self,
        questions: Sequence[Question],
        longest: int = 30,
        stride: int | None = None,
        progress: bool = False,
        on_truncate: str = "silent",
    ) -> list[Answer | None]:
        """The best answer to each question in its own context, whatever its margin; None where the context is blank."""
        contexts = [q.context for q in questions]
        asked = self._cut([q.question for q in questions], stride, on_truncate)
        found = self._spans(asked, contexts, 1, longest, stride, progress)
        answers: list[Answer | None] = []
        for context, (spans, nothing) in zip(contexts, found, strict=True):
            for (start, end), score in spans[:1]:
                answers.append(Answer(context[start:end], start, end, 0, score, score - nothing))
            if not spans:
                answers.append(None)
        return answers

    def evaluate(self, questions: Sequence[Question]) -> dict[str, float]:
        """exact and f1 as SQuAD counts them, at margin 0 and at the best threshold, see `metrics_answers.squad`."""
        found = self.predict(questions)
        margins = [answer.margin if answer else -np.inf for answer in found]
        return squad(questions, [answer.text if answer else "" for answer in found], [-m for m in margins])

    def examples(self, questions: Sequence[Question], stride: int | None = None) -> Examples:
        """Windows to learn from: where the first answer is, or [CLS] where the window has not all of it.

        Long questions are cut, as in `answer`.
        """
        asked = self._cut([q.question for q in questions], stride, "silent")
        windows = self._windows(asked, [q.context for q in questions], stride)
        targets = np.zeros((len(windows), 2), np.int64)
        for row, owner in enumerate(windows.text_index):
            if questions[owner].answers:
                targets[row] = places(windows.row(row), *questions[owner].span)
        return Examples(Ragged(windows.ids, windows.type_ids, windows.starts), targets)

    def loss(self, scores: np.ndarray, examples: Examples) -> tuple[float, Any]:
        """Cross entropy of the first and of the last token."""
        return span_cross_entropy(scores, examples.batch, examples.targets)

    @staticmethod
    def loss_backward(dloss: float, cache: Any) -> np.ndarray:
        """Gradient of loss: dscores (T, 2)."""
        return span_cross_entropy_backward(dloss, cache)

    def rows_read(self, examples: Examples) -> np.ndarray | slice:
        """All rows."""
        return slice(None)

    def _cut(self, questions: Sequence[str], stride: int | None, on_truncate: str) -> list[str]:
        """The questions, long ones up to the last token for which there is room."""
        room = self.config.max_length - self.tokenizer.template.specials(True) - self._stride(stride) - 1
        if room < 1:
            raise ValueError(
                f"expected a stride that leaves room for a question in {self.config.max_length} tokens, got {stride}"
            )
        batch = self.tokenizer.encode_batch(
            questions, None, min(LONGEST_QUESTION, room), on_truncate, add_special_tokens=False
        )
        asked = list(questions)
        for row in np.flatnonzero(batch.truncated).tolist():
            asked[row] = asked[row][: batch.offsets[batch.starts[row + 1] - 1, 1]]
        return asked

    def _stride(self, stride: int | None) -> int:
        return self.config.max_length // STRIDE if stride is None else stride

    def _windows(self, questions: Sequence[str], contexts: Sequence[str], stride: int | None):
        """Batch of pairs whose second text is laid out in windows."""
        return self.tokenizer.encode_batch(
            questions, contexts, self.config.max_length, "window", truncation="only_second", stride=self._stride(stride)
        )

    def _spans(self, questions, contexts, count: int, longest: int, stride: int | None, progress: bool = False):
        """For each pair of texts (its best spans as ((start, end), score), best first; the score of no answer).

        At least the `count` best: so many of every window.
        """
        windows = self._windows(questions, contexts, stride)
        scores = self.outputs(Ragged(windows.ids, windows.type_ids, windows.starts), progress).astype(np.float64)
        best: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
        nothing = [np.inf] * len(contexts)
        for row, owner in enumerate(windows.text_index.tolist()):
            part = slice(windows.starts[row], windows.starts[row + 1])
            own, offsets = scores[part], windows.offsets[part].tolist()
            nothing[owner] = min(nothing[owner], float(own[0].sum()))
            tokens = np.flatnonzero(windows.sequence_ids[part] == 1)
            for i, j, score in best_spans(own[tokens, 0], own[tokens, 1], longest, count):
                span = offsets[tokens[i]][0], offsets[tokens[j]][1]
                best[owner][span] = max(score, best[owner].get(span, -np.inf))  # windows overlap
        ranked = [sorted(spans.items(), key=lambda item: (-item[1], item[0])) for spans in best]
        return list(zip(ranked, nothing, strict=True))


def best_spans(first: np.ndarray, last: np.ndarray, longest: int, count: int) -> list[tuple[int, int, float]]:
    """The `count` best (i, j, first_i + last_j) with i ≤ j < i + longest, best first; of equal ones the earlier.

    Shapes   first (T,), last (T,)
    Differs  every span is looked at; Devlin's script joins the 20 best firsts and the 20 best lasts
    """
    widths = min(longest, len(first))
    sums = np.full((len(first), widths), -np.inf)
    for width in range(widths):
        sums[: len(first) - width, width] = first[: len(first) - width] + last[width:]
    order = np.argsort(-sums, axis=None, kind="stable")[:count]
    starts, lengths = np.divmod(order, max(widths, 1))
    found = zip(starts.tolist(), (starts + lengths).tolist(), sums.ravel()[order].tolist(), strict=True)
    return [(i, j, score) for i, j, score in found if score > -np.inf]


def places(row: dict[str, np.ndarray], start: int, end: int) -> tuple[int, int]:
    """The first and the last token of the characters start:end of a row's second text; (0, 0) where it has not all."""
    tokens = np.flatnonzero(row["sequence_ids"] == 1)
    starts, ends = row["offsets"][tokens].T
    first, last = np.searchsorted(starts, start, "right") - 1, np.searchsorted(ends, end)
    if first < 0 or last == len(tokens):
        return 0, 0
    return int(tokens[first]), int(tokens[max(first, last)])
