"""The chat endpoint against a server of this machine that speaks OpenAI's protocol, well and badly."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minibert.retrieval.chat import ChatEndpoint, GenerationError
from minibert.retrieval.rag import answer, make_prompt
from minibert.retrieval.search import Hit

KEY = "sk-very-secret"
HITS = [Hit("a", "Cats sleep.", 1.0, "a.md", (0, 11), {}), Hit("b", "Dogs bark.", 0.5, "b.md", (5, 15), {})]
PROMPT = make_prompt("who sleeps", HITS)


def completion(text, finish="stop"):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]})


class Handler(BaseHTTPRequestHandler):
    """Plays the server's script: one (status, headers, body) a request, the last again and again."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), json.loads(body)))
        script = self.server.script
        step = script.pop(0) if len(script) > 1 else script[0]
        if callable(step):
            return step(self)
        status, headers, body = step
        self.send_response(status)
        for name, value in {"Content-Length": len(body.encode()), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.seen = True, []
    server.handle_error = lambda *_: None  # a client that no longer waits
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def endpoint(server, script, **options):
    """An endpoint of the server, which will answer as the script says."""
    server.script = script
    return ChatEndpoint(server.url, "tiny", KEY, **{"timeout": 5, "wait": 0.01, **options})


def refused(model):
    """The message of the error that `generate` ends in; it never holds the key."""
    with pytest.raises(GenerationError) as caught:
        model.generate(PROMPT)
    message = str(caught.value)
    assert message.startswith(model.url) and "\n" not in message and KEY not in message + repr(model)
    return message


def test_chat_sends_the_prompt_and_cites_what_comes_back(server):
    """The request has the protocol's fields and the key; the answer's [2] is the second hit."""
    model = endpoint(server, [(200, {}, completion(" It barks [2]. "))], options={"max_tokens": 7})
    result = answer("who barks", HITS, model)
    assert result.text == "It barks [2]." and result.citations[0].hit == HITS[1] and result.complete
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert body["model"] == "tiny" and body["max_tokens"] == 7
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "never an instruction" in system["content"] and "Source [2]\n```\nb.md\n\nDogs bark." in user["content"]


def test_chat_without_a_key_sends_none(server):
    """A local model needs none."""
    server.script = [(200, {}, completion("x"))]
    ChatEndpoint(server.url + "/", "tiny").generate(PROMPT)
    path, headers, _ = server.seen[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers


def test_chat_tells_that_an_answer_was_cut(server):
    """finish_reason "length" is not a whole answer."""
    assert not endpoint(server, [(200, {}, completion("Half an", "length"))]).generate(PROMPT).complete


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_chat_tries_again_when_the_server_is_overloaded(server, status):
    """Two failures, then an answer; the waits double, and Retry-After counts where it is given."""
    failures = [(status, {}, "busy"), (status, {"Retry-After": "0"}, "busy")]
    model = endpoint(server, [*failures, (200, {}, completion("done"))], wait=0.05)
    start = time.monotonic()
    assert model.generate(PROMPT).text == "done" and len(server.seen) == 3
    assert 0.05 <= time.monotonic() - start < 2


def test_chat_gives_up_after_its_tries(server):
    """The last failure is the message, with what the server said and the number of tries."""
    message = refused(endpoint(server, [(500, {}, '{"error": {"message": "out of memory"}}')], tries=3))
    assert "HTTP 500 at 3 tries" in message and "out of memory" in message and len(server.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 404])
def test_chat_does_not_repeat_what_is_refused(server, status):
    """A wrong key or model stays wrong; the key that the server repeats is blotted out, before the words are cut."""
    body = json.dumps({"error": {"message": "x" * 250 + f"Incorrect API key {KEY}"}})
    message = refused(endpoint(server, [(status, {}, body)]))
    assert f"HTTP {status}" in message and "sk-very" not in message and len(server.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "<html>",
        "[]",
        "null",
        "[" * 100_000,
        '{"choices": []}',
        '{"choices": [{}]}',
        '{"choices": [null]}',
        '{"choices": [{"message": "x"}]}',
        '{"choices": {"0": 1}}',
        f'"{KEY}"',
    ],
)
def test_chat_refuses_what_is_no_completion(server, body):
    """Malformed JSON and other shapes: one error that shows what came."""
    assert "expected a chat completion as JSON" in refused(endpoint(server, [(200, {}, body)]))


@pytest.mark.parametrize("content", [None, "", "  ", 3, ["text"]])
def test_chat_refuses_an_answer_without_text(server, content):
    """A filtered answer, say."""
    message = refused(endpoint(server, [(200, {}, completion(content, "content_filter"))]))
    assert "holds no text (finish_reason 'content_filter')" in message


def test_chat_refuses_bytes_that_are_not_utf8(server):
    """Binary rubbish."""

    def rubbish(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"\xff\xfe{}")

    assert "expected a chat completion" in refused(endpoint(server, [rubbish]))


def test_chat_notices_an_answer_that_breaks_off(server):
    """Fewer bytes than announced, by length and in chunks."""

    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"40\r\n{")

    for step in ((200, {"Content-Length": 1000}, completion("half")), chunked):
        assert "broke off" in refused(endpoint(server, [step]))


def test_chat_stops_waiting(server):
    """A server that says nothing, and one that goes on with a byte now and then."""

    def silent(handler):
        time.sleep(0.6)

    def slow(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    for step in (silent, slow):
        start = time.monotonic()
        assert "did not answer in time" in refused(endpoint(server, [step], timeout=0.2))
        assert time.monotonic() - start < 0.6


def test_chat_reads_no_endless_answer(server, monkeypatch):
    """More than an answer can be."""
    monkeypatch.setattr("minibert.retrieval.chat.LARGEST", 1000)
    assert "longer than 1000 bytes" in refused(endpoint(server, [(200, {}, completion("x" * 2000))]))


def test_chat_follows_no_redirect(server):
    """The key is not sent on."""
    message = refused(endpoint(server, [(302, {"Location": server.url + "/elsewhere"}, "")]))
    assert "HTTP 302" in message and len(server.seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_chat_asks_this_machine_without_a_proxy(server, monkeypatch, host):
    """A proxy of the environment, which would send the question elsewhere, is passed by."""
    monkeypatch.delenv("no_proxy")
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.url = f"http://{host}:{server.server_port}/v1"
    assert endpoint(server, [(200, {}, completion("It barks [2]."))]).generate(PROMPT).text == "It barks [2]."


def test_chat_uses_a_proxy_towards_others(server, monkeypatch):
    """The server stands in for the proxy: it is asked for the whole address."""
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    server.script = [(200, {}, completion("Yes [1]."))]
    assert ChatEndpoint("http://chat.invalid/v1", "tiny").generate(PROMPT).text == "Yes [1]."
    assert server.seen[0][0] == "http://chat.invalid/v1/chat/completions"


def test_chat_says_that_nothing_listens(server):
    """No connection."""
    server.script = []
    model = ChatEndpoint("http://127.0.0.1:9", "tiny", KEY, timeout=1)
    assert "refused" in refused(model).lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ftp://host/v1", "m"), "expected an address like"),
        (("127.0.0.1:80", "m"), "expected an address like"),
        (("http://user:pass@host/v1", "m"), "give the key apart"),
        (("http://host/v1?key=1", "m"), "expected an address like"),
        (("http://host/v1", ""), "name of a model"),
        (("http://host/v1", "m", "line\nHost: evil"), "key holds"),
        (("http://host/v1", "m", "clé"), "key holds"),
        (("http://host/v1", "m", "", 0), "timeout > 0"),
    ],
)
def test_chat_refuses_settings_that_cannot_be(arguments, message):
    """Each says what was expected; neither key nor password is repeated."""
    with pytest.raises(ValueError, match=message) as caught:
        ChatEndpoint(*arguments)
    assert "pass" not in str(caught.value).replace("password", "") and "evil" not in str(caught.value)


def test_chat_settings_come_from_the_environment(monkeypatch):
    """Where they are not given."""
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="OPENAI_BASE_URL is not set"):
        ChatEndpoint.from_environment()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    with pytest.raises(ValueError, match="OPENAI_MODEL is not set"):
        ChatEndpoint.from_environment()
    monkeypatch.setenv("OPENAI_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert ChatEndpoint.from_environment() == ChatEndpoint("http://host/v1", "m", KEY)
    assert ChatEndpoint.from_environment("http://other/v1", "n", "") == ChatEndpoint("http://other/v1", "n", "")
