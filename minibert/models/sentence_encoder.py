"""The sentence encoder (SBERT): one network for all texts, whose vectors are near where meanings are.

Unlike the dual encoder, which ranks answers to a question with a tower for each side, it maps any two similar texts
close to each other with the same weights. It reads and writes the folders of sentence-transformers, and plain BERT
folders, to which it adds mean pooling. A text becomes

    prompt + text → ids → encoder → pooling → dense layers and normalisation, as the folder's modules say

Source   Reimers & Gurevych 2019 (SBERT, arXiv:1908.10084), section 3
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert import runtime
from minibert.encoder import hidden_states, initialize
from minibert.inference import Buffers, least_rows
from minibert.int8 import Int8Parameters
from minibert.models.saved import SavedModel, check_vocabulary
from minibert.ops import l2_normalize
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.sentence_network import METRICS, Normalize, SentenceEncoderConfig, infer_sentences
from tokenizers.inputs import check_texts
from tokenizers.truncation import ON_TRUNCATE, check_choice, report_truncated

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}  # names a side's prompt may have
TOKENS_A_PASS = 1024


class SentenceEncoder(SavedModel):
    """A tokenizer, a configuration and weights.

    encoder = SentenceEncoder.load(folder)      # of sentence-transformers, or of BERT
    scores = encoder.encode(texts) @ encoder.encode(others).T
    """

    kind = "sentence_encoder"
    config_class = SentenceEncoderConfig

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: SentenceEncoderConfig,
        parameters: Parameters,
        quantize: str | None = None,
    ):
        check_vocabulary(tokenizer, config)
        if quantize not in (None, "int8"):
            raise ValueError(f"expected quantize of 'int8' or None, got {quantize!r}")
        super().__init__(tokenizer, config, parameters)
        self.quantize = quantize
        self._codes = Int8Parameters.encode(parameters, config) if quantize else None
        if quantize:
            parameters.flat.flags.writeable = False  # the codes would not follow

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: SentenceEncoderConfig, seed: int = 0) -> SentenceEncoder:
        """An untrained encoder, its weights drawn with this seed.

        Raises   ValueError: the configuration's vocabulary is smaller than the tokenizer's
        """
        parameters = Parameters(config.shapes)
        initialize(parameters, np.random.default_rng(seed))
        return cls(tokenizer, config, parameters)

    @classmethod
    def load(
        cls, folder: str | PathLike[str], truncate_dim: int | None = None, quantize: str | None = None
    ) -> SentenceEncoder:
        """Read a folder of sentence-transformers, or of a BERT model, whose token vectors are then averaged.

        Units    quantize: "int8" multiplies the layers' matrices in 8 bits: more than twice as fast where the CPU has
                 VNNI, a cosine of about 0.999 to float32's vectors, and weights that can no longer be trained
        Raises   FileNotFoundError; CheckpointError: names the file and the setting or tensor that does not fit;
                 ValueError: quantize for an encoder whose layers are not BERT's
        """
        from minibert import sentence_folder

        tokenizer, config, parameters = sentence_folder.load(folder)
        return cls(tokenizer, replace(config, truncate_dim=truncate_dim), parameters, quantize)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a folder that `load`, sentence-transformers and transformers open.

        Raises   OSError: the disk is full, or the folder cannot be written; the old files are as they were
        """
        from minibert import sentence_folder

        sentence_folder.save(folder, self.tokenizer, self.config, self.parameters)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of configuration, tokenizer, weights and quantize: equal fingerprints give equal results."""
        return super().fingerprint if self.quantize is None else f"{super().fingerprint}-{self.quantize}"

    @property
    def parts(self) -> dict[str, str]:
        """What the fingerprint covers, piece by piece."""
        return super().parts if self.quantize is None else {**super().parts, "quantize": self.quantize}

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.config.truncate_dim or self.config.full_dim

    @property
    def metric(self) -> str:
        """What the vectors are compared by, in the words of `ann`: "cosine", "ip" or "l2"."""
        return METRICS[self.config.similarity]

    def encode(
        self,
        texts: Iterable[str],
        normalize: bool = False,
        progress: bool = False,
        on_truncate: str = "warn",
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        return_truncated: bool = False,
        deterministic: bool | None = None,
        threads: int | None = None,
    ) -> Any:
        """Vectors of texts, each with the prompt given, named, or named by default in front.

        Shapes   n texts → (n, dim) float32, also for n = 0; with return_truncated also (n,) bool: which were too long
        Units    normalize: unit vectors also where the model has no such module, after truncation to truncate_dim;
                 on_truncate: what becomes of texts beyond max_length: cut with a warning ("warn") or without
                 ("silent"), refused ("raise"), or read in windows ("window"), whose vectors are averaged by tokens;
                 deterministic: whether a text's bits are the same in any company and order. None: where BLAS's
                 kernels give that for nothing (AVX-512); True: also where texts then have to go one by one;
                 threads: by default as many as BLAS has; bits never depend on them
        Raises   TypeError: a text that is no str, with its position; ValueError: an unknown prompt_name or
                 on_truncate, a prompt that leaves no room, or a text too long and on_truncate="raise"
        """
        prompt = self._prompt(prompt, prompt_name)
        lead = self._lead(prompt)
        batch, owners, truncated = self.tokenize(texts, on_truncate, prompt)
        skipped = 0 if self.config.include_prompt or not prompt else lead
        vectors = self._vectors(batch, skipped, deterministic, threads, progress)
        if len(owners) != len(truncated):
            vectors = self._average(vectors, batch.lengths - lead, owners)
        vectors = vectors[:, : self.dim]
        if normalize:
            vectors, _ = l2_normalize(vectors)
        return (vectors, truncated) if return_truncated else vectors

    def encode_query(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> np.ndarray:
        """Vectors of questions: `encode` with the model's prompt for them, where it has one."""
        return self._encode_side("query", texts, progress, on_truncate)

    def encode_document(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> np.ndarray:
        """Vectors of answers: `encode` with the model's prompt for them, where it has one."""
        return self._encode_side("document", texts, progress, on_truncate)

    def token_embeddings(self, text: str, layer: int = -1) -> np.ndarray:
        """The vectors of a text's tokens, special tokens included, in the order of tokenizer.encode(text).

        Shapes   text → (T, D). Layer 0 is static: a token's row of the table, the same in every text. Layers
                 1 … layers are contextual; −1 is the last
        Raises   TypeError, ValueError: as in `attention_weights`
        """
        states, _ = self._states(text)
        return states[_layer(layer, 0, self.config.layers)]

    def attention_weights(self, text: str, layer: int = -1, head: int | None = None) -> np.ndarray:
        """Where each token of a text looks: row t holds the weights that token t gives to all tokens; they sum to 1.

        Shapes   text → (H, T, T), or (T, T) of one head; layer 1 … layers, −1 is the last
        Raises   TypeError: no str; ValueError: too long, or there is no such layer or head
        """
        _, layers = self._states(text)
        weights = layers[_layer(layer, 1, self.config.layers) - 1]
        if head is not None and not 0 <= head < len(weights):
            raise ValueError(f"expected a head in 0 … {len(weights) - 1}, got {head}")
        return weights if head is None else weights[head]

    def tokenize(
        self, texts: Iterable[str], on_truncate: str = "warn", prompt: str = ""
    ) -> tuple[Ragged, np.ndarray, np.ndarray]:
        """Texts → (sequences of at most max_length, the text that each is of, which texts were longer).

        Shapes   n texts → W ≥ n sequences, owners (W,) ascending, truncated (n,) bool; W > n only in windows
        """
        texts = check_texts(texts, "texts")
        check_choice("on_truncate", on_truncate, ON_TRUNCATE)
        if prompt:
            texts = [prompt + text for text in texts]
        longest, windows = self.config.max_length, on_truncate == "window"
        report = "silent" if windows else on_truncate
        batch = self.tokenizer.encode_batch(texts, max_length=None if windows else longest, on_truncate="silent")
        truncated = batch.lengths > longest if windows else batch.truncated
        report_truncated(truncated, longest, report)
        ragged = Ragged(batch.ids, batch.type_ids, batch.starts)
        if not truncated.any() or not windows:
            return ragged, np.arange(len(texts)), truncated
        return *_windows(ragged, longest, self._lead(prompt), self._trail()), truncated

    def features(self, batch: Ragged, skipped: int = 0) -> tuple[Ragged, int]:
        """(what the network reads of a batch of tokens, how many at the start of each sequence are not pooled)."""
        return batch, skipped

    def _encode_side(self, side: str, texts, progress: bool, on_truncate: str) -> np.ndarray:
        name = next((name for name in PROMPTS[side] if name in self.config.prompts), None)
        return self.encode(texts, progress=progress, on_truncate=on_truncate, prompt_name=name)

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        if prompt is not None:
            return prompt
        name = self.config.default_prompt if name is None else name
        if name is not None and name not in self.config.prompts:
            raise ValueError(f"expected a prompt of {', '.join(self.config.prompts) or '(none)'}, got {name!r}")
        return "" if name is None else self.config.prompts[name]

    def _trail(self) -> int:
        """Special tokens behind a text."""
        pieces = self.tokenizer.template.pieces(False, True)
        return len(pieces) - 1 - [name for name, _ in pieces].index("A")

    def _lead(self, prompt: str) -> int:
        """Special and prompt tokens before a text."""
        lead = len(self.tokenizer.encode(prompt).ids) - self._trail()
        if lead + self._trail() >= self.config.max_length:
            raise ValueError(
                f"expected a prompt with room for a text in {self.config.max_length} tokens, got {prompt!r}"
            )
        return lead

    def _vectors(self, batch: Ragged, skipped: int, deterministic: bool | None, threads: int | None, progress: bool):
        from tqdm import tqdm

        if threads is not None and threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
        vectors = np.empty((len(batch), self.config.full_dim), np.float32)
        if not len(batch):
            return vectors
        batch, skipped = self.features(batch, skipped)
        rows, passes = self._passes(batch.lengths, deterministic)
        weights = self.parameters if self._codes is None else self._codes

        def work(share: list[np.ndarray]) -> None:
            buffers = Buffers(rows)
            for chunk in share:
                vectors[chunk] = infer_sentences(weights, self.config, batch.take(chunk), buffers, skipped)
                bar.update(len(chunk))

        threads = min(threads or runtime.one_blas_thread.threads, len(passes))
        with tqdm(total=len(batch), desc="embed", unit="text", disable=not progress) as bar, runtime.one_blas_thread:
            if threads <= 1:
                work(passes)
            else:
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(work, [passes[k::threads] for k in range(threads)]))
        return vectors

    def _passes(self, lengths: np.ndarray, deterministic: bool | None) -> tuple[int, list[np.ndarray]]:
        """(least rows of a product, texts by length in groups of some TOKENS_A_PASS tokens, or one by one)."""
        order = np.argsort(lengths, kind="stable")
        dense = [self.config.shapes[f"{name}.linear.weight"] for name, _ in self.config.dense_modules()]
        rows = 1 if deterministic is False else least_rows(self.config, *dense)
        if rows is None and deterministic:
            return 1, np.split(order, np.arange(1, len(order)))
        passes = (np.cumsum(lengths[order]) - 1) // TOKENS_A_PASS
        return rows or 1, np.split(order, np.flatnonzero(np.diff(passes)) + 1)

    def _average(self, vectors: np.ndarray, tokens: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """The mean of each text's windows, weighted by their tokens; unit vectors stay unit vectors."""
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        weights = tokens.astype(np.float32)
        means = np.add.reduceat(vectors * weights[:, None], starts) / np.add.reduceat(weights, starts)[:, None]
        means[:] = np.where((np.diff(starts, append=len(owners)) == 1)[:, None], vectors[starts], means)
        unit = bool(self.config.head) and isinstance(self.config.head[-1], Normalize)
        return l2_normalize(means)[0] if unit else means

    def _states(self, text: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        batch, _, _ = self.tokenize([text], on_truncate="raise")
        return hidden_states(self.parameters, self.config, batch)


def _layer(layer: int, first: int, last: int) -> int:
    number = last + 1 + layer if layer < 0 else layer
    if not first <= number <= last:
        raise ValueError(f"expected a layer in {first} … {last}, or −1 for the last, got {layer}")
    return number


def _windows(batch: Ragged, longest: int, lead: int, trail: int) -> tuple[Ragged, np.ndarray]:
    """Sequences longer than `longest` in windows, each with the first `lead` and last `trail` tokens of the whole."""
    room = longest - lead - trail
    rows, lengths, owners = [], [], []
    for b, (start, end) in enumerate(zip(batch.starts[:-1], batch.starts[1:], strict=True)):
        content = np.arange(start + lead, end - trail)
        for at in range(0, max(len(content), 1), room):
            window = np.r_[start : start + lead, content[at : at + room], end - trail : end]
            rows.append(window)
            lengths.append(len(window))
            owners.append(b)
    taken = np.concatenate(rows)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    return Ragged(batch.ids[taken], batch.type_ids[taken], starts), np.array(owners)
