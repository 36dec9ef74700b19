"""Files of labelled text in every form that data sets come in, and the malformed lines that are told."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.formats import (
    Question,
    read_conll,
    read_labelled,
    read_labelled_pairs,
    read_nli,
    read_squad,
    read_sts,
    read_triplets,
)


def written(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


SNLI_TXT = (
    "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1\tsentence2\tlabel1\n"
    "neutral\t( A )\t( B )\tA man.\tA tall man.\tneutral\n"
    "-\t( A )\t( B )\tA man.\tNobody.\tneutral\n"
    "entailment\t( A )\t( B )\tTwo men.\tPeople.\n"
)
NLI = [("A man.", "A tall man.", "neutral"), ("Two men.", "People.", "entailment")]


@pytest.mark.parametrize(
    ("read", "name", "text", "expected"),
    [
        (read_nli, "snli.txt", SNLI_TXT, NLI),
        (
            read_nli,
            "mnli.jsonl",
            '{"gold_label": "neutral", "sentence1": "A man.", "sentence2": "A tall man.", "pairID": 7}'
            '\n\n{"gold_label": "-", "sentence1": "x", "sentence2": "y"}\n'
            '{"gold_label": "entailment", "sentence1": "Two men.", "sentence2": "People."}\n',
            NLI,
        ),
        (read_nli, "nli.tsv", "Premise\tHypothesis\tLabel\nA man.\tA tall man.\t1\r\nTwo men.\tPeople.\t0", NLI),
        (read_nli, "three.txt.gz", "A man.\tA tall man.\t1\nTwo men.\tPeople.\t0\n", NLI),
        (
            read_nli,
            "sick.txt",
            "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
            "1\tA man.\tA tall man.\t4.5\tNEUTRAL\n2\tTwo men.\tPeople.\t3.6\tENTAILMENT\n",
            NLI,
        ),
        (read_sts, "sick.txt", "sentence_A\tsentence_B\trelatedness_score\nA\tB\t4.5\n", [("A", "B", 4.5)]),
        (
            read_sts,
            "sts-train.csv",
            'main\tMSRvid\t2012test\t0001\t5.000\tA "plane.\tAn air plane.\nmain\tx\ty\t2\t0\tA\tB\tlicence\tlicence\n',
            [('A "plane.', "An air plane.", 5.0), ("A", "B", 0.0)],
        ),
        (read_sts, "sts.csv", 'sentence1,sentence2,score\n"A, ""b""\nc",B,2\n', [('A, "b"\nc', "B", 2.0)]),
        (read_sts, "sts.jsonl", '{"text1": "A", "text2": "B", "score": 0.25}', [("A", "B", 0.25)]),
        (read_triplets, "t.tsv", "a\tp\tn\n", [("a", "p", "n")]),
        (read_triplets, "t.jsonl", '{"anchor": "a", "positive": "p", "negative": "n"}', [("a", "p", "n")]),
        (read_triplets, "t.csv", "negative,anchor,positive\nn,a,p\n  \n", [("a", "p", "n")]),
        (read_labelled, "sst.txt", "1 a fine , long film\n\n0 dull\n", [("a fine , long film", "1"), ("dull", "0")]),
        (read_labelled, "ag.csv", '"3","Title, a","A text"\n', [("Title, a A text", "3")]),
        (read_labelled, "bank.csv", "text,category\nWhere is it?,card\n", [("Where is it?", "card")]),
        (read_labelled, "glue.tsv", "sentence\tlabel\nfine\t1\n", [("fine", "1")]),
        (read_labelled, "titles.tsv", "7\tHow to?\n", [("How to?", "7")]),
        (read_labelled, "l.jsonl", '{"label": 1, "text": "fine"}', [("fine", "1")]),
        (read_labelled_pairs, "wikiqa.txt", "who?\tme.\t1\n", [("who?", "me.", "1")]),
        (
            read_labelled_pairs,
            "mrpc.tsv",
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t12\t13\tone\ttwo\n",
            [("one", "two", "1")],
        ),
        (
            read_conll,
            "c.conll",
            "-DOCSTART- -X- O O\n\nAda NNP B-NP B-PER\nruns VBZ B-VP O\n\n \nNo DT B-NP O",
            [(["Ada", "runs"], ["B-PER", "O"]), (["No"], ["O"])],
        ),
        (read_conll, "close.conll", "No O\n-DOCSTART- O\nAda B-PER\n", [(["No"], ["O"]), (["Ada"], ["B-PER"])]),
    ],
)
@pytest.mark.filterwarnings("ignore:.* left out 1 pairs without a gold label")
def test_files_are_read_as_they_come(tmp_path, read, name, text, expected):
    """With and without named columns, with quotes where there are commas, in JSON lines, packed."""
    assert read(written(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("read", "name", "text", "message"),
    [
        (read_nli, "n.tsv", "a\tb\t0\na\tb\n", "n.tsv, line 2: expected 3 fields, got 2"),
        (read_nli, "n.tsv", "a\tb\tmaybe\n", "n.tsv, line 1: expected a label of entailment, neutral"),
        (read_nli, "n.tsv", "premise\thypothesis\tlabel\n\na\tb\n", "n.tsv, line 3: expected 3 fields, got 2"),
        (read_nli, "n.jsonl", '{"sentence1": "a"}\n', "n.jsonl, line 1: expected a hypothesis under sentence2 or"),
        (read_nli, "n.jsonl", "\n{]\n", "n.jsonl, line 2: expected JSON"),
        (read_nli, "n.jsonl", "[1]\n", "n.jsonl, line 1: expected a JSON object, got list"),
        (read_sts, "s.tsv", "a\tb\tnan\n", "s.tsv, line 1: expected a score, got 'nan'"),
        (read_sts, "s.tsv", "a\tb\tgood\n", "s.tsv, line 1: expected a score, got 'good'"),
        (read_sts, "s.tsv", "g\tf\ty\ti\t5\ta\n", "s.tsv, line 1: expected 3 fields, got 6"),
        (read_sts, "s.csv", 'a,b,1\na,"b\nc,1\n', "s.csv, line 2: unexpected end of data"),
        (read_triplets, "t.tsv", "a\t \tn\n", "t.tsv, line 1: expected a positive, got an empty one"),
        (read_triplets, "t.tsv", "\n \n", "t.tsv: expected at least one row, got an empty file"),
        (read_labelled, "l.txt", "1 fine\n0\n", "l.txt, line 2: expected a label and a text, got '0' alone"),
        (read_labelled, "l.jsonl", '{"text": "a", "label": null}', "l.jsonl, line 1: expected a label under"),
        (
            read_labelled,
            "films.csv",
            "review,sentiment\nfine,good\n",
            "films.csv, line 1: expected the names of all columns or of none, got review, sentiment, without a text",
        ),
        (read_labelled_pairs, "p.csv", "a,b\n", "p.csv, line 1: expected 3 fields, got 2"),
        (read_conll, "c.txt", "Ada B-PER\nruns\n", "c.txt, line 2: expected a word and a tag, got 'runs'"),
        (read_conll, "c.txt", "-DOCSTART- O\n\n", "c.txt: expected at least one sentence, got an empty file"),
        (read_squad, "s.json", "{}", "s.json: expected SQuAD's data"),
        (read_squad, "s.json", "[]", "s.json: expected SQuAD's data"),
        (read_squad, "s.json", '{"data": []}', "s.json: expected at least one question, got none"),
        (
            read_squad,
            "s.json",
            '{"data": [{"paragraphs": [{"context": "a", "qas": ["b"]}]}]}',
            "s.json, data[0].paragraphs[0].qas[0]: expected id, question, context and answers",
        ),
        (
            read_squad,
            "s.jsonl",
            '{"id": 1, "question": "who?", "context": 5, "answers": []}',
            "s.jsonl, line 1: expected id, question, context and answers: TypeError('got str and int as",
        ),
        (read_squad, "s.jsonl", '{"id": 1}', "s.jsonl, line 1: expected id, question, context and answers"),
    ],
)
def test_malformed_files_are_told_by_name_and_line(tmp_path, read, name, text, message):
    """What was expected, what was got, and where."""
    with pytest.raises(ValueError) as error:
        read(written(tmp_path, name, text))
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(message)


@pytest.mark.filterwarnings("error")
def test_pairs_without_a_gold_label_are_left_out_and_counted(tmp_path):
    """SNLI's "-", and −1 where labels are numbers; a file without any other has nothing to learn from."""
    row = '{{"premise": "A man.", "hypothesis": "A tall man.", "label": {}}}\n'
    for lines, count in ((["1", "-1", '"-"', '"-1"'], 3), (["1"], 0)):
        path = written(tmp_path, "n.jsonl", "".join(map(row.format, lines)))
        if not count:
            assert read_nli(path) == NLI[:1]
            continue
        with pytest.warns(UserWarning, match="n.jsonl: left out 3 pairs without a gold label, of 4"):
            assert read_nli(path) == NLI[:1]
    with pytest.raises(ValueError, match="expected pairs with a gold label, got 2 without"):
        read_nli(written(tmp_path, "n.tsv", "a\tb\t-\na\tb\t-1\n"))
    with pytest.raises(ValueError, match="n.jsonl, line 1: expected a label of entailment, neutral, .*, got '-2'"):
        read_nli(written(tmp_path, "n.jsonl", row.format("-2")))


def squad(**changes):
    answer = {"text": "Paris", "answer_start": 13}
    question = {"id": "q1", "question": "Where?", "answers": [answer], "is_impossible": False} | changes
    return json.dumps({"data": [{"paragraphs": [{"context": "Ada lives in Paris.", "qas": [question]}]}]})


def test_squad_questions_of_both_versions(tmp_path):
    """Answers with their places; impossible ones have none; JSON lines say the same."""
    expected = Question("q1", "Where?", "Ada lives in Paris.", (("Paris", 13),))
    assert read_squad(written(tmp_path, "a.json", squad())) == [expected]
    assert expected.span == (13, 18)
    nothing = squad(answers=[], is_impossible=True, plausible_answers=[{"text": "Paris", "answer_start": 13}])
    assert read_squad(written(tmp_path, "b.json.gz", nothing))[0].answers == ()
    line = {"id": "q1", "question": "Where?", "context": expected.context}
    line["answers"] = [{"text": "Paris", "answer_start": 13}]
    assert read_squad(written(tmp_path, "c.jsonl", json.dumps(line) + "\n")) == [expected]


@pytest.mark.parametrize(("text", "start"), [("Paris", 12), ("Paris", 99), ("Paris", -6), ("", 3), ("London", 13)])
def test_an_answer_outside_its_context_is_refused(tmp_path, text, start):
    """With file, place in the file, and the question's id."""
    path = written(tmp_path, "s.json", squad(answers=[{"text": text, "answer_start": start}]))
    with pytest.raises(
        ValueError, match=r"s.json, data\[0\].paragraphs\[0\].qas\[0\]: question 'q1': expected the ans"
    ):
        read_squad(path)


FIELDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=5))
def test_csv_and_tsv_and_jsonl_say_the_same(tmp_path_factory, rows):
    """Whatever is written comes back, quoted or not."""
    folder = tmp_path_factory.mktemp("rows")
    names = "anchor", "positive", "negative"
    quoted = "".join(",".join('"' + field.replace('"', '""') + '"' for field in row) + "\n" for row in [names, *rows])
    tabbed = "".join("\t".join(row) + "\n" for row in [names, *rows])
    lines = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    for name, text in (("a.csv", quoted), ("a.tsv", tabbed), ("a.jsonl", lines)):
        assert read_triplets(written(folder, name, text)) == rows
