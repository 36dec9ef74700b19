"""The pages as HTML, and their style sheet. Every text goes through `escape`: what a document says is shown, never run.

No script, no style attribute, nothing from elsewhere: the strictest Content-Security-Policy allows these pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

from minibert.retrieval.chunk import Span
from minibert.retrieval.rag import Answer
from minibert.retrieval.search import Hit
from minibert.web.forms import LONGEST_QUESTION, MOST_HITS
from minibert.web.highlight import pieces
from minibert.web.service import Found, Service

SHADES = 10  # of the similarity table, from its least cosine to 1

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><a href="/">minibert</a> <span>{store}</span></header>
<main>
{main}
</main>
</body>
</html>
"""

FORM = """<form action="/" method="get" role="search">
<div class="ask">
<label for="q" class="unseen">Question</label>
<input type="search" id="q" name="q" value="{q}" maxlength="{longest}" placeholder="Ask the store" required autofocus>
<button>Search</button>
</div>
<fieldset>
<legend class="unseen">Options</legend>
<label>Hits <input type="number" name="k" min="1" max="{most}" value="{k}"></label>
<label>Diversity <input type="number" name="diversity" min="0" max="1" step="0.05" value="{diversity}"></label>
{boxes}
<label class="where">Only where <input name="where" value="{where}" placeholder='{{"year": {{"$gte": 2020}}}}'
spellcheck="false" autocomplete="off"></label>
</fieldset>
</form>
"""
BOXES = {
    "hybrid": "Words too (BM25)",
    "exact": "Exact",
    "rerank": "Rerank",
    "answer": "Answer",
    "similarity": "Similarity",
}


def search_page(service: Service, fields: Mapping[str, str], found: Found | None = None, error: str = "") -> str:
    """The form with what was asked, and below it the hits, or what is wrong."""
    parts = [_form(service, fields)]
    if error:
        parts.append(f'<p role="alert" class="error">{escape(error)}</p>')
    if found:
        parts += [_tokens(found), _answer(found.answer), _hits(found), _similarity(found), _times(found)]
    title = f"{fields['q']} – minibert" if fields.get("q") else "minibert"
    return _page(service, title, "\n".join(parts))


def document_page(service: Service, document: Mapping[str, Any], span: Span) -> str:
    """A whole document, the passage in it marked."""
    text, start, end = document["text"], span[0], max(span)
    before, passage, after = (escape(part) for part in (text[:start], text[start:end], text[end:]))
    marked = f'<mark id="passage">{passage}</mark>' if passage else ""
    facts = json.dumps(document.get("metadata", {}), ensure_ascii=False, indent=1)
    title = document.get("title") or document["id"]
    main = f"""<article>
<h1>{escape(title)}</h1>
<p class="from">{escape(document["id"])}</p>
<details><summary>Metadata</summary><pre>{escape(facts)}</pre></details>
<pre class="document">{before}{marked}{after}</pre>
</article>"""
    return _page(service, f"{title} – minibert", main)


def message_page(service: Service, message: str) -> str:
    """What went wrong where there is no form to show."""
    return _page(service, "minibert", f'<p role="alert" class="error">{escape(message)}</p>')


def _page(service: Service, title: str, main: str) -> str:
    return PAGE.format(title=escape(title), store=escape(service.path.name), main=main)


def _form(service: Service, fields: Mapping[str, str]) -> str:
    shown = {"k": "10", "diversity": "0", "where": "", "q": ""} | dict(fields)
    on = {"hybrid"} if not fields else {name for name in BOXES if fields.get(name, "") not in ("", "0", "false")}
    boxes = "\n".join(
        f'<label><input type="checkbox" name="{name}" value="1"{" checked" if name in on else ""}> {label}</label>'
        for name, label in BOXES.items()
        if name != "rerank" or service.reranker is not None
    )
    values = {name: escape(str(shown[name])) for name in ("q", "k", "diversity", "where")}
    return FORM.format(longest=LONGEST_QUESTION, most=MOST_HITS, boxes=boxes, **values)


def _tokens(found: Found) -> str:
    chips = (
        f'<li title="id {id}">{escape(token)}</li>' if id is not None else f"<li>{escape(token)}</li>"
        for token, id in found.tokens
    )
    return f'<section aria-label="Tokens of the question"><ol class="tokens">{"".join(chips)}</ol></section>'


def _answer(answer: Answer | None) -> str:
    if answer is None:
        return ""
    lines = [f"<p>{escape(answer.text) or 'The passages hold no answer.'}</p>"]
    lines += [
        f'<li value="{cited.number}"><a href="{_link(cited.hit, cited.span)}">{escape(cited.hit.source)}</a> '
        f"<q>{escape(cited.text)}</q></li>"
        for cited in answer.citations
    ]
    lines[1:] = ["<ol>", *lines[1:], "</ol>"] if len(lines) > 1 else []
    if answer.unknown:
        numbers = ", ".join(f"[{number}]" for number in answer.unknown)
        lines.append(f'<p class="error">Cited, but no source has the number: {numbers}</p>')
    if answer.unread:
        brackets = ", ".join(escape(f"{bracket:.60}") for bracket in answer.unread)
        lines.append(f'<p class="error">Not read as citations: {brackets}</p>')
    if not answer.complete:
        lines.append('<p class="error">The model was stopped at its limit: the answer is cut off.</p>')
    return f'<section class="answer" aria-label="Answer">{"".join(lines)}</section>'


def _hits(found: Found) -> str:
    if not found.hits:
        return "<p>No hit.</p>"
    shown = zip(found.hits, found.marked, found.best, strict=True)
    return f'<ol class="hits">{"".join(_hit(*row) for row in shown)}</ol>'


def _hit(hit: Hit, marked: list[Span], best: Span | None) -> str:
    context = f'<span class="from">{escape(hit.context)}</span>' if hit.context else ""
    return f"""<li><article>
<h2><a href="{_link(hit, hit.span)}">{escape(hit.source)}</a></h2>
<p class="from">{hit.score:.4f} · characters {hit.span[0]}–{hit.span[1]} {context}</p>
<p class="passage">{_marked(hit.text, marked, best)}</p>
<details><summary>How it was found</summary>{_stages(hit)}</details>
</article></li>
"""


def _marked(text: str, marked: list[Span], best: Span | None) -> str:
    parts = []
    for piece in pieces(text, marked, best):
        part = escape(piece.text)
        part = f"<mark>{part}</mark>" if piece.word else part
        parts.append(f'<span class="best">{part}</span>' if piece.best else part)
    return "".join(parts)


def _stages(hit: Hit) -> str:
    rows = (
        f'<tr><th scope="row">{escape(stage)}</th><td>{note["rank"]}</td><td>{note["score"]:.4f}</td>'
        f"<td>{escape(_further(note))}</td></tr>"
        for stage, note in hit.stages.items()
    )
    head = '<tr><th scope="col">Stage</th><th scope="col">Rank</th><th scope="col">Score</th><td></td></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _further(note: Mapping[str, Any]) -> str:
    """What a stage tells beside rank and score."""
    told = []
    for name, value in note.items():
        if name == "terms":
            told += [f"{term} {share:.4f}" for term, share in value.items()]
        elif name == "exact":
            told.append("exact" if value else "approximate")
        elif name not in ("rank", "score"):
            told.append(f"{name} {value:.4f}")
    return " · ".join(told)


def _similarity(found: Found) -> str:
    if found.similarity is None:
        return ""
    names = ["question", *map(str, range(1, len(found.hits) + 1))]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    least = float(found.similarity.min())
    rows = (
        f'<tr><th scope="row">{name}</th>{"".join(_cosine(value, least) for value in row)}</tr>'
        for name, row in zip(names, found.similarity.tolist(), strict=True)
    )
    caption = "<caption>Cosines of the question and the hits</caption>"
    return f'<div class="wide"><table class="heat">{caption}<tr><td></td>{head}</tr>{"".join(rows)}</table></div>'


def _cosine(value: float, least: float) -> str:
    shade = round(SHADES * (value - least) / max(1 - least, 1e-12))
    return f'<td class="s{min(shade, SHADES)}">{value:.2f}</td>'


def _times(found: Found) -> str:
    times = found.answer.times if found.answer else found.hits.times
    told = " · ".join(f"{escape(stage)} {milliseconds:.1f}" for stage, milliseconds in (times or {}).items())
    matching = "" if found.hits.matching is None else f"{found.hits.matching} passages met the condition · "
    return f"<footer>{matching}milliseconds: {told}</footer>"


def _link(hit: Hit, span: Span) -> str:
    return escape(f"/document?{urlencode({'id': hit.id, 'start': span[0], 'end': span[1]})}#passage")


def _shades() -> Iterable[str]:
    for shade in range(SHADES + 1):
        part = shade * 100 // SHADES
        ink = "var(--page)" if part > 55 else "var(--ink)"
        yield f".s{shade} {{ background: color-mix(in oklab, var(--accent) {part}%, var(--page)); color: {ink} }}"


STYLE = """
:root {
  color-scheme: light dark;
  --page: #fdfcfa; --card: #ffffff; --ink: #1d1f23; --faint: #5d626b; --line: #dcd8d0;
  --accent: #1f5fa8; --mark: #ffe48a; --best: #e9f1fb; --wrong: #a3261d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181c; --card: #1e2126; --ink: #e6e4df; --faint: #a0a5ae; --line: #363a41;
    --accent: #86b7f0; --mark: #6b5512; --best: #22303f; --wrong: #ff9a90;
  }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 17px/1.55 system-ui, sans-serif }
header, main { max-width: 52rem; margin: 0 auto; padding: 0.75rem 1.25rem }
header { display: flex; gap: 0.75rem; align-items: baseline; color: var(--faint) }
header a { font-weight: 700; color: var(--ink); text-decoration: none }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
.ask { display: flex; gap: 0.5rem }
input, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.4rem; padding: 0.4rem 0.6rem }
.ask input { flex: 1; min-width: 0; padding: 0.6rem 0.8rem }
button { background: var(--accent); border-color: var(--accent); color: var(--page); font-weight: 600;
  padding: 0.6rem 1.1rem; cursor: pointer }
fieldset { display: flex; flex-wrap: wrap; gap: 0.5rem 1.1rem; align-items: center; margin: 0.75rem 0 0; padding: 0;
  border: 0; font-size: 0.88rem; color: var(--faint) }
input[type=number] { width: 4.8rem; padding: 0.2rem 0.4rem }
input[type=checkbox] { accent-color: var(--accent) }
.where { flex: 1 1 100%; display: flex; gap: 0.6rem; align-items: center; white-space: nowrap }
.where input { flex: 1; min-width: 0; font-family: ui-monospace, monospace; font-size: 0.85rem }
.error { color: var(--wrong); border-left: 4px solid; padding-left: 0.75rem; overflow-wrap: anywhere }
.tokens { display: flex; flex-wrap: wrap; gap: 0.3rem; list-style: none; margin: 1.2rem 0 0; padding: 0 }
.tokens li { font: 0.8rem ui-monospace, monospace; border: 1px solid var(--line); border-radius: 0.3rem;
  padding: 0.1rem 0.4rem; color: var(--faint); overflow-wrap: anywhere }
.answer { margin: 1.2rem 0; padding: 0.25rem 1.25rem; border: 1px solid var(--accent); border-radius: 0.6rem;
  background: var(--card) }
.answer p { font-size: 1.1rem }
.answer ol { padding-left: 1.5rem; font-size: 0.92rem; color: var(--faint) }
.hits { padding: 0; list-style: none; counter-reset: hit }
.hits > li { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; margin: 0.9rem 0;
  padding: 0.8rem 1.25rem; counter-increment: hit }
h1, h2 { margin: 0; line-height: 1.3; overflow-wrap: anywhere }
h1 { font-size: 1.4rem }
h2 { font-size: 1.05rem }
h2::before { content: counter(hit) ". "; color: var(--faint) }
.from, footer { margin: 0.1rem 0 0.4rem; font-size: 0.82rem; color: var(--faint); overflow-wrap: anywhere }
.passage { margin: 0.3rem 0; white-space: pre-line; overflow-wrap: anywhere }
mark { background: var(--mark); color: inherit; border-radius: 0.2rem }
.best { background: var(--best); box-shadow: 0 0.12em 0 var(--accent) }
.best mark { background: var(--mark) }
summary { font-size: 0.85rem; color: var(--faint); cursor: pointer }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 0.2rem 0.7rem 0.2rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.wide { overflow-x: auto }
.heat { margin: 1.2rem 0 }
.heat caption { text-align: left; color: var(--faint); padding-bottom: 0.3rem }
.heat th, .heat td { text-align: center; padding: 0.25rem 0.45rem; border: 1px solid var(--page) }
pre { font: 0.88rem/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.document { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 1rem 1.25rem }
""" + "\n".join(_shades())
