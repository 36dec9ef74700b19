"""The translator: text of one language in, text of another out, by the transformer of 2017.

Unlike the encoders it makes text, a token at a time, so it needs a search for the text to give besides the model:

    text ──BPE, <eos>──▶ ids ──encoder──▶ memory ──decoder, beam search──▶ ids ──BPE──▶ text

One byte-level BPE vocabulary serves both languages: names and numbers are the same tokens on both sides, and the
embeddings can be tied.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minibert.beam import Hypothesis, beam_search, greedy_search
from minibert.encoder_decoder import EncoderDecoderConfig, Speaker, initialize, loss_and_gradients
from minibert.models.saved import SavedModel, check_vocabulary
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from tokenizers import BPE, Template, Tokenizer
from tokenizers.inputs import check_texts

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"  # no <pad> is ever computed: it is there for libraries that pad
LONGER = 50  # tokens that a translation may be longer than its source (Vaswani 2017, section 6.1)
BEGINNINGS_A_PASS = 256


def train_tokenizer(texts: Iterable[str], vocab_size: int = 8000, progress: bool = False) -> Tokenizer:
    """Byte-level BPE of both languages' texts, which puts <eos> behind a text.

    Raises   as BPE.train
    """
    tok = BPE.train(texts, vocab_size, special_tokens=(PAD, BOS, EOS), progress=progress)
    template = Template(single=(("A", 0), (EOS, 0)), pair=(("A", 0), (EOS, 0), ("B", 1), (EOS, 1)))
    return Tokenizer(tok.model, tok.normalizer, tok.pretokenizer, template, tok.decoder, tok.special_tokens)


class Translator(SavedModel):
    """An encoder–decoder, its tokenizer and its configuration.

    model = Translator.load(folder)
    texts = model.translate(["Ein Hund schläft."], beam=4)
    """

    kind, config_class = "translator", EncoderDecoderConfig

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: EncoderDecoderConfig, seed: int = 0) -> Translator:
        """An untrained model, its weights drawn with this seed.

        Raises   ValueError: the tokenizer lacks <bos> or <eos>, or the configuration's vocabulary is smaller
        """
        if missing := [token for token in (BOS, EOS) if token not in tokenizer.special_tokens]:
            raise ValueError(f"expected the special tokens {BOS} and {EOS}, the tokenizer lacks {', '.join(missing)}")
        check_vocabulary(tokenizer, config)
        parameters = Parameters(config.shapes)
        initialize(parameters, np.random.default_rng(seed))
        return cls(tokenizer, config, parameters)

    def tokenize(self, texts: Iterable[str], on_truncate: str = "warn") -> Ragged:
        """Texts → ids with <eos> at the end, cut to the positions."""
        batch = self.tokenizer.encode_batch(texts, max_length=self.config.positions, on_truncate=on_truncate)
        return Ragged(batch.ids, batch.type_ids, batch.starts)

    def loss_and_gradients(
        self, sources: Ragged, targets: Ragged, smoothing: float = 0.0, rng: np.random.Generator | None = None
    ) -> tuple[float, Parameters]:
        """Cross entropy of B translations, given their sources, and its gradients; `rng` draws the dropout."""
        bos = self.tokenizer.special_tokens[BOS]
        return loss_and_gradients(self.parameters, self.config, sources, targets, bos, smoothing, rng)

    def translate(
        self, texts: Iterable[str], beam: int = 4, alpha: float = 0.6, on_truncate: str = "warn", progress: bool = False
    ) -> list[str]:
        """The translation of every text, in their order; a blank one's is empty.

        Units    beam: beginnings kept a sentence, 1 for greedy search; alpha: exponent of the length penalty
        Raises   TypeError: a text that is no string, with its position; ValueError: beam < 1, alpha < 0, or
                 on_truncate="raise" and a text longer than the positions
        """
        found = self.search(texts, beam, alpha, on_truncate, progress)
        return [self.tokenizer.decode(hypotheses[0].ids) if hypotheses else "" for hypotheses in found]

    def search(
        self, texts: Iterable[str], beam: int = 4, alpha: float = 0.6, on_truncate: str = "warn", progress: bool = False
    ) -> list[list[Hypothesis]]:
        """What `translate` chooses from: the finished translations of every text, best first; none of a blank one."""
        from tqdm import tqdm

        if not isinstance(beam, int) or isinstance(beam, bool) or beam < 1 or not 0 <= alpha < np.inf:
            raise ValueError(f"expected a beam of at least 1 and an alpha of at least 0, got {beam!r} and {alpha!r}")
        texts = check_texts(texts, "texts")
        found: list[list[Hypothesis]] = [[] for _ in texts]
        sources = self.tokenize(texts, on_truncate) if texts else Ragged.from_sequences([])
        order = np.argsort(sources.lengths, kind="stable")
        order = order[[bool(texts[i].strip()) for i in order]]
        a_pass = max(1, BEGINNINGS_A_PASS // beam)
        for start in tqdm(range(0, len(order), a_pass), "translate", unit="batch", disable=not progress):
            chunk = order[start : start + a_pass]
            for i, hypotheses in zip(chunk, self._search(sources.take(chunk), beam, alpha), strict=True):
                found[i] = hypotheses
        return found

    def _search(self, sources: Ragged, beam: int, alpha: float) -> list[list[Hypothesis]]:
        speaker = Speaker(self.parameters, self.config, sources, beam)
        limits = np.minimum(sources.lengths + LONGER, self.config.positions)
        bos, eos = (self.tokenizer.special_tokens[token] for token in (BOS, EOS))
        if beam == 1:
            return [[hypothesis] for hypothesis in greedy_search(speaker, limits, bos, eos, alpha)]
        return beam_search(speaker, limits, bos, eos, beam, alpha)
