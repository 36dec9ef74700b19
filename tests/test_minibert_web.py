"""The search page and its JSON: what is shown, what is refused, and that no document's word is ever more than text."""

import html
import http.client
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from helpers import HashEncoder
from minibert.retrieval import Store
from minibert.retrieval.chat import GenerationError
from minibert.retrieval.rag import Draft
from minibert.retrieval.words import words
from minibert.web import app, page
from minibert.web.forms import LONGEST_QUESTION, Query, read_query
from minibert.web.highlight import find_words, pieces
from minibert.web.service import Service

EVIL = '<script>document.title="run"</script><img src=x onerror=alert(1)> " onfocus="x" \' </mark></p> & [1]'
DOCUMENTS = [
    {"id": "cats", "text": "Cats sleep all day. At night they hunt mice.", "metadata": {"year": 2020}},
    {"id": "owls", "text": "Owls hunt mice at night, too.", "metadata": {"year": 1999, "source": "birds/owls.md"}},
    {"id": '"><script>alert(2)</script>', "text": f"evil words {EVIL}", "title": f"Title {EVIL}"},
    {"id": "../../etc/passwd", "text": "dots and slashes", "metadata": {"source": "../x\0y"}},
]


class Chosen:
    """A generator that a test tells what to do."""

    def __init__(self):
        self.say = lambda prompt: Draft("mice [1], perhaps [9]")

    def generate(self, prompt):
        return self.say(prompt)


class Lengths:
    """A reranker: longer passages first."""

    def score(self, query, documents):
        return [float(len(text)) for text in documents]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "store"
    with Store.open(path, HashEncoder()) as store:
        store.add(DOCUMENTS)
        store.search("x", hybrid=True)
    service = Service(lambda: Store.open(path, HashEncoder()), Chosen(), Lengths())
    yield service
    service.close()


class Client:
    """Asks a server; an answer has status, headers and text."""

    def __init__(self, address):
        self.address = address

    def request(self, method, path, fields=None, body=None, headers=None):
        path = path.partition("#")[0] + ("?" + urlencode(fields) if fields else "")
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return SimpleNamespace(
            status=response.status, headers=response.headers, text=text, json=lambda: json.loads(text)
        )

    def get(self, path, fields=None, headers=None):
        return self.request("GET", path, fields, headers=headers)

    def post(self, path, value):
        return self.request("POST", path, body=json.dumps(value), headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def address(service):
    """Host and port of a server over the store."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(app.configuration(app.application(service)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(address):
    return Client(address)


class Tags(HTMLParser):
    """The tags of a page and their attributes; a tag that is not closed in its turn is an error."""

    EMPTY = {"meta", "link", "input", "br"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def harmless(response):
    """A page that is well formed, and on which nothing of a document is a tag or an attribute of ours."""
    page = Tags(response.text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "img", "iframe", "object", "style", "base")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert attributes.get("href", "/")[0] == "/"
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert response.headers["x-content-type-options"] == "nosniff"
    return page


def test_page_shows_hits_with_words_and_best_sentence_marked(client):
    """Without a script: form, tokens, hits with links, stages, times."""
    response = client.get("/", {"q": "hunt at night", "hybrid": "1", "k": "2"})
    assert response.status == 200
    tags = harmless(response)
    assert response.text.count("<article>") == 2
    assert '<span class="best">' in response.text and "<mark>hunt</mark>" in response.text
    links = [a["href"] for tag, a in tags.tags if tag == "a" and "document" in a["href"]]
    assert links[0].startswith("/document?id=") and links[0].endswith("#passage")
    assert '<th scope="row">sparse</th>' in response.text and "milliseconds: encode" in response.text
    assert 'value="hunt at night"' in response.text
    found = client.get(links[0])
    assert found.status == 200 and '<mark id="passage">' in found.text
    harmless(found)


def test_page_opens_empty_and_keeps_what_was_asked(client):
    """The form alone at first, with words taken into account; then as it was sent."""
    first = client.get("/")
    assert first.status == 200 and "<article>" not in first.text
    assert 'name="hybrid" value="1" checked' in first.text
    sent = {"q": "x", "where": '{"year": 2020}', "k": "3", "diversity": "0.5", "exact": "1"}
    again = client.get("/", sent).text
    assert "&quot;year&quot;: 2020" in again and 'name="exact" value="1" checked' in again
    assert 'name="hybrid" value="1">' in again and 'name="k" min="1" max="100" value="3"' in again


def test_filters_options_similarity_and_answer_reach_the_page(client):
    """A condition, reranking and diversity, the table of cosines, an answer with its citations and an invented one."""
    response = client.get("/", {"q": "hunt mice", "where": '{"year": {"$gte": 2000}}'})
    assert response.text.count("<article>") == 1 and "1 passages met the condition" in response.text
    asked = {"q": "hunt mice", "rerank": "1", "diversity": "0.3", "similarity": "1", "answer": "1", "k": "3"}
    response = client.get("/", asked)
    harmless(response)
    assert "rerank</th>" in response.text and "diversity</th>" in response.text
    assert response.text.count('<td class="s') == 16 and '<td class="s10">1.00</td>' in response.text
    assert "mice [1], perhaps [9]" in response.text and "no source has the number: [9]" in response.text


@pytest.mark.parametrize("where", ["{", "[1]", "3", '{"year": {"$near": 1}}', "[" * 9000, '{"a": "\\ud800"}'])
def test_a_wrong_condition_is_told_in_the_page(client, where):
    """400, the form with what was sent, and the reason."""
    response = client.get("/", {"q": "x", "where": where})
    assert response.status == 400 and 'role="alert"' in response.text
    assert html.escape(where) in response.text
    harmless(response)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "q: expected a question"),
        ({"q": " "}, "q: expected a question"),
        ({"q": 3}, "q: expected a question"),
        ({"q": "x" * (LONGEST_QUESTION + 1)}, "at most 2000 characters"),
        ({"q": "\ud800"}, "lone surrogate"),
        ({"q": "x", "k": 0}, "k: expected a whole number"),
        ({"q": "x", "k": 101}, "k: expected a whole number"),
        ({"q": "x", "k": True}, "k: expected a whole number"),
        ({"q": "x", "k": "9" * 5000}, "k: expected a whole number"),
        ({"q": "x", "diversity": 2}, "diversity: expected a number"),
        ({"q": "x", "diversity": "nan"}, "diversity: expected a number"),
        ({"q": "x", "diversity": 10**400}, "diversity: expected a number"),
        ({"q": "x", "hybrid": "maybe"}, "hybrid: expected true or false"),
        ({"q": "x", "hybrid": 1}, "hybrid: expected true or false"),
        ({"q": "x", "where": []}, "where: expected an object"),
        ({"q": "x", "where": {"a": {"$gt": None}}}, "where.a.$gt: expected text or a number"),
        ({"q": "x", "drop": 1}, "expected fields among"),
        (["q"], "expected an object"),
        ("q", "expected an object"),
        (None, "expected an object"),
    ],
)
def test_json_refuses_what_cannot_be(client, fields, message):
    """Each with 400 and what was expected."""
    for path in ("/search", "/ask"):
        response = client.post(path, fields)
        assert response.status == 400 and message in response.json()["error"], response.text


def test_json_says_the_same_as_the_page(client):
    """Hits as the store gives them, with what is marked; GET and POST alike."""
    asked = {"q": "hunt at night", "hybrid": True, "k": 2, "similarity": True, "where": {"year": {"$gt": 1990}}}
    posted = client.post("/search", asked)
    as_texts = {"where": json.dumps(asked["where"]), "hybrid": 1, "similarity": "true"}
    got = client.get("/search", {**asked, **as_texts})
    assert posted.status == got.status == 200
    result = posted.json()
    assert {k: v for k, v in result.items() if k != "times"} == {k: v for k, v in got.json().items() if k != "times"}
    assert result["matching"] == 2 and [t for t, _ in result["tokens"]] == ["hunt", "at", "night"]
    for hit in result["hits"]:
        document = next(d for d in DOCUMENTS if d["id"] == hit["id"])
        assert document["text"][slice(*hit["span"])] == hit["text"]
        assert {hit["text"][a:b].lower() for a, b in hit["marked"]} <= {"hunt", "night", "at"} and hit["best"]
        assert hit["stages"].keys() >= {"dense", "fusion"}
    assert len(result["similarity"]) == 3


def test_ask_cites_the_exact_passage(client, service):
    """Number, document, span and words of what is cited; unknown numbers apart."""
    result = client.post("/ask", {"q": "hunt mice", "k": 2}).json()
    (cited,) = result["citations"]
    document = next(d for d in DOCUMENTS if d["id"] == cited["id"])
    assert document["text"][slice(*cited["span"])] == cited["text"] and cited["number"] == 1
    assert result["unknown"] == [9] and len(result["sources"]) == 2 and result["text"] == "mice [1], perhaps [9]"
    old, service.generator.say = service.generator.say, lambda prompt: (_ for _ in ()).throw(GenerationError("down"))
    try:
        response = client.post("/ask", {"q": "hunt"})
        assert (response.status, response.json()) == (502, {"error": "down"})
    finally:
        service.generator.say = old


def test_what_a_document_says_is_text(client):
    """Scripts, quotes and tags of a document, its title and its id: in every page they are words."""
    response = client.get("/", {"q": "evil words", "hybrid": "1"})
    assert EVIL in "".join(harmless(response).text)
    link = html.unescape(re.search(r'href="(/document\?id=%22[^"]*)"', response.text)[1])
    assert EVIL in "".join(harmless(client.get(link)).text)
    response = client.get("/", {"q": EVIL, "where": f'{{"{"<b>"}": 1}}', "k": "<i>"})
    assert response.status == 400
    harmless(response)
    harmless(client.get("/document", {"id": "<script>"}))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("GET", "/document?id=cats&start=0&end=19"), 200),
        (("GET", "/document?id=..%2F..%2Fetc%2Fpasswd"), 200),
        (("GET", "/document?id=cats&start=x"), 400),
        (("GET", "/document?id=cats&start=99999999999&end=0"), 200),
        (("GET", "/document?id=nobody"), 404),
        (("GET", "/document"), 404),
        (("GET", "/document?id=%00'%22;--"), 404),
        (("GET", "/../../etc/passwd"), 404),
        (("GET", "/nothing"), 404),
        (("DELETE", "/search"), 405),
        (("GET", "/search?q=x&q=y"), 400),
        (("GET", "/search?q=%ff%fe"), 200),
        (("GET", "/?q=%00%01"), 200),
        (("GET", "/healthz"), 200),
        (("GET", "/style.css"), 200),
        (("POST", "/"), 405),
    ],
)
def test_status_of_odd_requests(client, request_, status):
    """Nothing is ever 5xx."""
    response = client.request(*request_)
    assert response.status == status, response.text


def test_bodies_that_are_no_query_are_refused(client):
    """Another type, more bytes than a query has, no JSON, no UTF-8."""
    kind = {"content-type": "application/json"}
    for content, headers, status in [
        (b'{"q": "x"}', {"content-type": "text/plain"}, 415),
        (b'{"q": "x"}', {}, 415),
        (b" " * (app.LARGEST + 1), kind, 413),
        (b"{", kind, 400),
        (b"[" * 60_000, kind, 400),
        (b"\xff", kind, 400),
        (b"", kind, 400),
    ]:
        assert client.request("POST", "/search", body=content, headers=headers).status == status


def test_other_sites_and_other_names_are_refused(client):
    """A page elsewhere cannot ask, by this machine's address or by a name of its own that leads here."""
    assert client.get("/healthz", headers={"host": "evil.example"}).status == 400
    assert client.get("/search?q=x", headers={"sec-fetch-site": "cross-site"}).status == 403
    assert client.get("/search?q=x", headers={"sec-fetch-site": "same-origin"}).status == 200


def test_health_counts_the_documents(client):
    """What a watchdog wants to know."""
    result = client.get("/healthz").json()
    assert result == {"status": "ok", "documents": len(DOCUMENTS), "encoder": HashEncoder().fingerprint}


def test_searches_from_many_threads_share_one_store(service):
    """Threads at once get what one after the other gets."""
    questions = [f"hunt {word}" for word in ("mice", "night", "cats", "dots")] * 5
    alone = [service.hits(Query(q, hybrid=True)) for q in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda q: service.hits(Query(q, hybrid=True)), questions)) == alone


def test_what_another_store_adds_is_found(service):
    """The server's store goes on to the last commit with the next search."""
    with Store.open(service.path, HashEncoder()) as other:
        other.add([{"id": "new", "text": "fresh arrival"}])
        assert service.hits(Query("fresh arrival", hybrid=True))[0].id == "new"
        other.delete(["new"])
        assert all(hit.id != "new" for hit in service.hits(Query("fresh arrival", hybrid=True)))


POST = b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /?q=" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 17,
        POST + b"Content-Length: 10000000\r\n\r\n" + b" " * 100_000,
    ],
)
def test_malformed_http_is_answered_with_4xx(address, sent):
    """Bytes that are no request, and heads larger than any; the server goes on."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(1000))
    assert Client(address).get("/healthz").status == 200


def test_a_body_that_does_not_come_is_not_waited_for(address, monkeypatch):
    """A client that promises a body and sends a part of it is told that the time is over."""
    monkeypatch.setattr(app, "SLOWEST", 0.1)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(POST + b'Content-Length: 9\r\n\r\n{"q"')
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


@given(
    st.text(st.sampled_from("ab+# é中国ひ.\n"), max_size=20), st.sets(st.sampled_from(["a", "b", "中国", "é", "c++"]))
)
def test_marks_are_the_wanted_words(text, wanted):
    """The marked stretches fold to wanted words, and every wanted word of the text is marked."""
    spans = find_words(text, wanted)
    assert {words(text[a:b])[0] for a, b in spans} == wanted & set(words(text))


@given(st.text(max_size=12), st.data())
def test_pieces_are_the_text(text, data):
    """Together they are the text; each place has the marks of the spans over it."""
    places = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(places, places).map(sorted).map(tuple), max_size=4))
    best = data.draw(st.none() | st.tuples(places, places).map(sorted).map(tuple))
    cut = list(pieces(text, spans, best))
    assert "".join(piece.text for piece in cut) == text and all(piece.text for piece in cut)
    flags = [(piece.word, piece.best) for piece in cut for _ in piece.text]
    assert flags == [
        (any(a <= i < b for a, b in spans), best is not None and best[0] <= i < best[1]) for i in range(len(text))
    ]


@given(st.dictionaries(st.sampled_from(["q", "k", "where", "hybrid", "diversity"]), st.text(max_size=6), min_size=1))
def test_a_form_gives_a_query_or_a_reason(fields):
    """No other exception, whatever the texts are."""
    try:
        query = read_query(fields)
    except ValueError as error:
        assert re.match("q|k|where|hybrid|diversity|expected", str(error))
    else:
        assert query.q == fields["q"] and 1 <= query.k <= 100 and 0 <= query.diversity <= 1


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_style_sheet_has_a_shade_for_every_cosine(a, b):
    """From the least of a table, the lightest, to 1, the darkest."""
    least, value = sorted((a, b))
    for cosine, expected in ((value, None), (least, "s0" if least < 1 - 1e-9 else None), (1.0, None)):
        shade = re.search(r"s\d+", page._cosine(cosine, least))[0]
        assert f".{shade} {{" in page.STYLE and expected in (None, shade)


@pytest.mark.parametrize("places", [{"start": "9"}, {"start": "9", "end": "3"}, {"start": "3", "end": "9"}])
def test_document_is_shown_whole_and_once(client, places):
    """Whatever places the address names, the page shows the document's text."""
    shown = "".join(Tags(client.get("/document", {"id": "cats", **places}).text).text)
    assert shown.count(DOCUMENTS[0]["text"]) == 1 and shown.count("Cats") == shown.count("mice") == 1
