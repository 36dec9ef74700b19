"""Files of labelled text, as data sets come, → lists of examples.

    read_labelled         (text, label)                      "label text" a line, .tsv, .csv, .jsonl
    read_labelled_pairs   (first, second, label)             WikiQA, Quora, MRPC, RTE
    read_nli              (premise, hypothesis, label)       SNLI and MNLI as .jsonl, .txt and .tsv; SICK
    read_sts              (first, second, score)             STS benchmark, SICK
    read_triplets         (anchor, positive, negative)       .tsv, .csv, .jsonl
    read_conll            (words, tags)                      CoNLL: a word and its tag a line, a blank line between
    read_squad            Question                           SQuAD 1.1 and 2.0, and questions as .jsonl

Tables are told by what is in them: fields are separated by tabs where the first line has one, else by commas, and only
then may be quoted. A first line of known names says which column is which; where it has none of them, places do, and
where it has some, it is refused. All files are UTF-8, also as .gz; blank lines are skipped; a malformed line is named
by file and number.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from minibert.data import finite_number, parse_json, read_text

FIRST = "sentence1", "premise", "sentence_a", "text1", "#1 string", "question1", "question", "query", "qtext", "anchor"
SECOND = (
    "sentence2", "hypothesis", "sentence_b", "text2", "#2 string", "question2", "answer", "sentence", "document",
    "passage", "atext", "positive",
)  # fmt: skip
NEGATIVE = ("negative", "hard_negative")
LABEL = "gold_label", "label", "entailment_judgment", "quality", "is_duplicate", "duplicate", "category", "sentiment"
SCORE = "score", "relatedness_score", "similarity_score", "similarity"
TEXT = "text", "sentence", "question", "title"
NLI_LABELS = "entailment", "neutral", "contradiction"  # 0, 1, 2 where a file has numbers
NO_GOLD = "-", "-1"  # labels of SNLI's pairs whose judges disagreed: in its own files, and where labels are numbers


def read_labelled(path: str | PathLike[str]) -> list[tuple[str, str]]:
    """(text, label) of every row. Without named columns the first field, or word, is the label, all others are text.

    Raises   ValueError: no rows, or a malformed line, with file and number
    """
    return [(text, label) for _, (text, label) in _table(path, {"text": TEXT, "label": LABEL}, _label_first)]


def read_labelled_pairs(path: str | PathLike[str]) -> list[tuple[str, str, str]]:
    """(first, second, label) of every row; without named columns of the three that it has, in that order.

    Raises   ValueError: no rows, or a malformed line, with file and number
    """
    columns = {"first text": FIRST, "second text": SECOND, "label": LABEL}
    return [(first, second, label) for _, (first, second, label) in _table(path, columns, _three)]


def read_nli(path: str | PathLike[str]) -> list[tuple[str, str, str]]:
    """(premise, hypothesis, one of NLI_LABELS) of every row that has a gold label; a warning counts those without.

    Raises   ValueError: no rows, none with a gold label, another label, or a malformed line, with file and number
    """
    names = {str(i): label for i, label in enumerate(NLI_LABELS)} | {label: label for label in NLI_LABELS}
    rows, left_out = [], 0
    columns = {"premise": FIRST, "hypothesis": SECOND, "label": LABEL}
    for where, (premise, hypothesis, label) in _table(path, columns, _three):
        if label in NO_GOLD:
            left_out += 1
            continue
        if label.lower() not in names:
            raise ValueError(f"{where}: expected a label of {', '.join(NLI_LABELS)}, got {label!r}")
        rows.append((premise, hypothesis, names[label.lower()]))
    if not rows:
        raise ValueError(f"{path}: expected pairs with a gold label, got {left_out} without")
    if left_out:
        found = left_out + len(rows)
        warnings.warn(f"{path}: left out {left_out} pairs without a gold label, of {found}", stacklevel=2)
    return rows


def read_sts(path: str | PathLike[str]) -> list[tuple[str, str, float]]:
    """(first, second, score) of every row; without named columns of the STS benchmark's seven, or of three.

    Units    the file's own: 0 … 5 in the STS benchmark, 1 … 5 in SICK
    Raises   ValueError: no rows, a score that is no number, or a malformed line, with file and number
    """
    rows = []
    columns = {"first text": FIRST, "second text": SECOND, "score": SCORE}
    for where, (first, second, score) in _table(path, columns, _sts_benchmark):
        value = finite_number(score)
        if value is None:
            raise ValueError(f"{where}: expected a score, got {score!r}")
        rows.append((first, second, value))
    return rows


def read_triplets(path: str | PathLike[str]) -> list[tuple[str, str, str]]:
    """(anchor, positive, negative) of every row; without named columns of the three that it has, in that order.

    Raises   ValueError: no rows, or a malformed line, with file and number
    """
    columns = {"anchor": FIRST, "positive": ("positive", *SECOND), "negative": NEGATIVE}
    return [(anchor, positive, negative) for _, (anchor, positive, negative) in _table(path, columns, _three)]


def read_conll(path: str | PathLike[str]) -> list[tuple[list[str], list[str]]]:
    """(words, tags) of every sentence: first and last column of its lines; blank lines and -DOCSTART- end one.

    Raises   ValueError: no sentences, or a line without a word and a tag, with file and number
    """
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for number, line in enumerate(read_text(path).split("\n"), 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            sentences.append(([], []))
            continue
        if len(columns) < 2:
            raise ValueError(f"{path}, line {number}: expected a word and a tag, got {line.strip()!r}")
        for values, value in zip(sentences[-1], (columns[0], columns[-1]), strict=True):
            values.append(value)
    sentences = [sentence for sentence in sentences if sentence[0]]
    if not sentences:
        raise ValueError(f"{path}: expected at least one sentence, got an empty file")
    return sentences


@dataclass(frozen=True)
class Question:
    """A question, the text that may answer it, and the answers that count as right: (text, start); none if it does not.

    Raises   ValueError: an answer that does not stand in the context where it says, with the question's id
    """

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()

    def __post_init__(self):
        for text, start in self.answers:
            found = self.context[start : start + len(text)] if start >= 0 else ""
            if not text or found != text:
                at = f"at {start} of {len(self.context)} characters"
                raise ValueError(f"question {self.id!r}: expected the answer {text!r} {at}, got {found!r}")

    @property
    def span(self) -> tuple[int, int]:
        """(start, end) of the first answer."""
        text, start = self.answers[0]
        return start, start + len(text)


def read_squad(path: str | PathLike[str]) -> list[Question]:
    """The questions of a SQuAD file, 1.1 or 2.0, or of JSON lines with id, question, context and answers.

    Raises   ValueError: no questions, an answer outside its context, or a part that is missing, with file and place
    """
    if _suffix(path) == ".jsonl":
        found = [(where, row, row) for where, row in _json_lines(path)]
    else:
        try:
            data = parse_json(read_text(path))["data"]
            found = [
                (f"{path}, data[{i}].paragraphs[{j}].qas[{k}]", paragraph, question)
                for i, article in enumerate(data)
                for j, paragraph in enumerate(article["paragraphs"])
                for k, question in enumerate(paragraph["qas"])
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected SQuAD's data[…].paragraphs[…].qas[…]: {error}") from error
    if not found:
        raise ValueError(f"{path}: expected at least one question, got none")
    return [_question(*parts) for parts in found]


def _question(where: str, paragraph: dict, row: dict) -> Question:
    try:
        answers = [] if row.get("is_impossible") else row["answers"]
        spans = tuple((answer["text"], answer["answer_start"]) for answer in answers)
        question, context = row["question"], paragraph["context"]
        if not isinstance(question, str) or not isinstance(context, str):
            raise TypeError(f"got {type(question).__name__} and {type(context).__name__} as question and context")
        return Question(str(row["id"]), question, context, spans)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: expected id, question, context and answers: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _table(path, columns: dict[str, tuple[str, ...]], by_place) -> list[tuple[str, list[str]]]:
    """(where, the fields of the columns) of every row; columns: what it is → the names it may have."""
    if _suffix(path) == ".jsonl":
        found = [(where, _named(where, row, columns)) for where, row in _json_lines(path)]
    else:
        found = _separated(path, columns, by_place)
    if not found:
        raise ValueError(f"{path}: expected at least one row, got an empty file")
    for where, fields in found:
        for name, field in zip(columns, fields, strict=True):
            if not field.strip():
                raise ValueError(f"{where}: expected a {name}, got an empty one")
    return found


def _separated(path, columns: dict[str, tuple[str, ...]], by_place) -> list[tuple[str, list[str]]]:
    rows = _split(path)
    header = {name.strip().lower(): place for place, name in enumerate(rows[0][1] if rows else ())}
    chosen = [next((header[name] for name in names if name in header), -1) for names in columns.values()]
    if max(chosen) >= 0 > min(chosen):
        what, names = list(columns.items())[chosen.index(-1)]
        got = f"{', '.join(rows[0][1])}, without a {what} ({', '.join(names)})"
        raise ValueError(f"{rows[0][0]}: expected the names of all columns or of none, got {got}")
    if min(chosen) < 0:
        return [(where, by_place(where, fields)) for where, fields in rows]
    found = []
    for where, fields in rows[1:]:
        if len(fields) <= max(chosen):
            raise ValueError(f"{where}: expected {len(header)} fields, got {len(fields)}")
        found.append((where, [fields[place] for place in chosen]))
    return found


def _split(path) -> list[tuple[str, list[str]]]:
    """(where, fields) of every line that is not blank."""
    text = read_text(path)
    if _suffix(path) != ".csv" or "\t" in text.partition("\n")[0]:
        lines = enumerate((line.removesuffix("\r") for line in text.split("\n")), 1)
        return [(f"{path}, line {number}", line.split("\t")) for number, line in lines if line.strip()]
    reader, rows, number = csv.reader(io.StringIO(text, newline=""), strict=True), [], 1
    try:
        for fields in reader:  # a field may hold line ends
            if len(fields) > 1 or "".join(fields).strip():
                rows.append((f"{path}, line {number}", fields))
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {number}: {error}") from error
    return rows


def _json_lines(path) -> Iterator[tuple[str, dict]]:
    """(where, object) of every line that is not blank."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        where = f"{path}, line {number}"
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{where}: expected a JSON object, got {type(row).__name__}")
            yield where, row


def _named(where: str, row: dict, columns: dict[str, tuple[str, ...]]) -> list[str]:
    lower = {key.lower(): value for key, value in row.items()}
    fields = []
    for what, names in columns.items():
        value = next((lower[name] for name in names if name in lower), None)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{where}: expected a {what} under {' or '.join(names)}, got {value!r}")
        fields.append(str(value))
    return fields


def _label_first(where: str, fields: list[str]) -> list[str]:
    label, *texts = fields if len(fields) > 1 else fields[0].split(maxsplit=1)
    if not texts:
        raise ValueError(f"{where}: expected a label and a text, got {label!r} alone")
    return [" ".join(texts), label]


def _three(where: str, fields: list[str]) -> list[str]:
    if len(fields) != 3:
        raise ValueError(f"{where}: expected 3 fields, got {len(fields)}")
    return fields


def _sts_benchmark(where: str, fields: list[str]) -> list[str]:
    if len(fields) >= 7:  # genre, file, year, id, score, two sentences, and in some rows their licences
        return [fields[5], fields[6], fields[4]]
    return _three(where, fields)


def _suffix(path) -> str:
    """The ending that tells the form: .tsv of "pairs.tsv" and of "pairs.tsv.gz"."""
    return Path(str(path).removesuffix(".gz")).suffix.lower()
