"""A generator behind HTTP: any server that speaks OpenAI's chat completions (llama.cpp, Ollama, vLLM, OpenAI, …).

    POST {url}/chat/completions  {"model": …, "messages": [{"role": "system", …}, {"role": "user", …}]}
      ↳  {"choices": [{"message": {"content": "… [1]"}, "finish_reason": "stop"}]}

The key goes to that address and nowhere else: redirects are not followed, and no message or repr ever holds it. The
environment's proxies (http_proxy, https_proxy, no_proxy) are used, but not towards this machine itself.

Source   OpenAI's API reference, "Create chat completion"; RFC 9110 section 10.2.3 for Retry-After
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from minibert.data import parse_json
from minibert.retrieval.rag import Draft, Prompt

URL, MODEL, KEY = "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"  # variables of the environment
LARGEST = 1 << 22  # bytes read of an answer
LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
TOO_MANY_REQUESTS = 429


class GenerationError(ValueError):
    """The endpoint gave no answer that can be used: the message names the address and the reason."""


@dataclass(frozen=True)
class ChatEndpoint:
    """A chat model at an address such as http://127.0.0.1:8080/v1.

    Units    timeout: seconds that a whole try may take; tries: in all, where the server is overloaded or fails (429,
             5xx); wait: seconds before the second, doubled before each further one, or what Retry-After says
    options  more fields of the request, such as {"max_tokens": 300}
    Raises   ValueError: an address that is not http(s) or holds a password, no model, or a key of other characters
             than printable ASCII
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    tries: int = 4
    wait: float = 1.0
    options: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})

    def __post_init__(self):
        if "@" in self.url:
            raise ValueError("the address holds a user or a password: give the key apart from it")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"expected an address like http://127.0.0.1:8080/v1, got {self.url!r:.80}")
        if not self.model:
            raise ValueError("expected the name of a model, got an empty one")
        if not all("!" <= c <= "~" for c in self.key):
            raise ValueError("the key holds a blank, a line end or another character that no key has")
        if not (self.timeout > 0 and self.wait >= 0 and self.tries >= 1):
            raise ValueError(
                f"expected timeout > 0, wait ≥ 0, tries ≥ 1, got {self.timeout}, {self.wait}, {self.tries}"
            )

    @classmethod
    def from_environment(
        cls, url: str | None = None, model: str | None = None, key: str | None = None, **options: Any
    ) -> ChatEndpoint:
        """An endpoint whose address, model and key, where not given, are OPENAI_BASE_URL, OPENAI_MODEL, OPENAI_API_KEY.

        Raises   ValueError: as the class, or no address or model is given or set
        """
        url, model = url or os.environ.get(URL, ""), model or os.environ.get(MODEL, "")
        for value, variable in ((url, URL), (model, MODEL)):
            if not value:
                raise ValueError(f"expected an address and a model of a chat endpoint: {variable} is not set")
        return cls(url, model, os.environ.get(KEY, "") if key is None else key, **options)

    def generate(self, prompt: Prompt) -> Draft:  # type: ignore[return]  # count never ends
        """The model's answer.

        Raises   GenerationError: no connection, too slow, refused, or an answer that does not follow the protocol
        """
        messages = [
            {"role": "system", "content": prompt.instructions},
            {"role": "user", "content": prompt.text},
        ]
        body = json.dumps({"model": self.model, "messages": messages, **self.options}).encode()
        for failed in count(1):
            try:
                return self._read(self._post(body))
            except urllib.error.HTTPError as error:
                with error:
                    self._refuse_or_wait(error, failed)
            except (OSError, http.client.HTTPException) as error:
                raise self._error(_reason(error)) from None

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "minibert"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        handlers: list[Any] = [_NoRedirect]
        if _is_loopback(urlsplit(self.url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))  # none: a proxy's 127.0.0.1 is another machine
        end = time.monotonic() + self.timeout
        with urllib.request.build_opener(*handlers).open(request, timeout=self.timeout) as response:
            parts, size = [], 0
            while part := response.read1(1 << 16):
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise self._error(f"its answer is longer than {LARGEST} bytes")
                if time.monotonic() > end:
                    raise TimeoutError
            if response.length:
                raise http.client.IncompleteRead(b"".join(parts), response.length)
        return b"".join(parts)

    def _read(self, content: bytes) -> Draft:
        try:
            reply = parse_json(content.decode())
            choice = reply["choices"][0]
            text, why = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._error("expected a chat completion as JSON, got", content) from None
        if not isinstance(text, str) or not text.strip():
            raise self._error(f"its answer holds no text (finish_reason {why!r})")
        return Draft(text.strip(), complete=why != "length")

    def _refuse_or_wait(self, error: urllib.error.HTTPError, failed: int) -> None:
        """Sleep before the next try; raise where a next one is of no use, or was the last."""
        if (error.code == TOO_MANY_REQUESTS or error.code >= 500) and failed < self.tries:
            time.sleep(min(LONGEST_WAIT, _retry_after(error, self.wait * 2 ** (failed - 1))))
            return
        times = f" at {failed} tries" if failed > 1 else ""
        try:
            said = error.read1(1 << 12)
        except (OSError, http.client.HTTPException):  # the status is what counts
            said = b""
        raise self._error(f"HTTP {error.code}{times}: {error.reason}", said) from None

    def _error(self, reason: str, body: bytes = b"") -> GenerationError:
        """With the first words of what the server said, the key blotted out before they are cut."""
        said = f"{reason} {body.decode('utf-8', 'replace')}"
        said = said.replace(self.key, "…") if self.key else said
        return GenerationError(f"{self.url}: {' '.join(said.split()):.300}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key on to wherever the answer points."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 section 6.3


def _reason(error: Exception) -> str:
    error = getattr(error, "reason", error)  # of an URLError
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "its answer broke off"
    return f"{getattr(error, 'strerror', None) or error or type(error).__name__}"


def _retry_after(error: urllib.error.HTTPError, otherwise: float) -> float:
    asked = error.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else otherwise
