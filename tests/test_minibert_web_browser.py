"""The search page in a real browser, headless Chromium: `make test-browser`. Pictures go where MINIBERT_PICTURES says.

The store holds docstrings of a few modules of the standard library, and a document that would run scripts if it could.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from helpers import ROOT
from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig
from minibert.retrieval import Store
from minibert.stdlib_corpus import docstrings, training_pairs
from minibert.train import train_dual_encoder
from tokenizers import WordPiece

pytestmark = pytest.mark.browser
MODULES = (
    "csv statistics tempfile threading argparse shutil textwrap random pathlib zipfile heapq bisect fractions".split()
)
EVIL = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'><svg onload='window.ran = 3'> evil"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where a server answers, over a store with a briefly trained encoder."""
    folder = tmp_path_factory.mktemp("browser")
    library = Path(sysconfig.get_path("stdlib"))
    found = [doc for doc in docstrings(library) if doc.package in MODULES]
    pairs = training_pairs(found)
    tokenizer = WordPiece.train([text for pair in pairs for text in pair], vocab_size=3000)
    config = DualEncoderConfig(tokenizer.vocab_size, 64, 1, 4, 64, dim=64, normalize=True, temperature=0.05)
    model = DualEncoder.create(tokenizer, config, seed=0)
    train_dual_encoder(model, pairs, epochs=6, batch_size=64, learning_rate=2e-3, warmup=20, progress=False)
    model.save(folder / "model")
    with Store.open(folder / "stdlib.store", model) as store:
        store.remember(model=str(folder / "model"))
        store.add(
            {"id": doc.name, "text": doc.text, "metadata": {"source": doc.name, "package": doc.package}}
            for doc in found
        )
        store.add([{"id": EVIL, "text": EVIL, "title": EVIL, "metadata": {"note": EVIL}}])
    command = [sys.executable, "-m", "minibert.cli", "serve", "--store", folder / "stdlib.store", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*map(str, command)], env=env, stdout=subprocess.PIPE, encoding="utf-8") as server:
        yield server.stdout.readline().split()[0]
        server.terminate()


def open_browser(script=True):
    """A headless Chromium, with or without JavaScript."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    return webdriver.Chrome(options, Service(shutil.which("chromedriver")))


@pytest.fixture(scope="module")
def browser():
    browser = open_browser()
    yield browser
    browser.quit()


def ask(browser, address, question, **fields):
    """Open the page, fill in the form as a person would, and send it with the Enter key."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(address)
    for name, value in fields.items():
        field = browser.find_element(By.NAME, name)
        if field.get_attribute("type") == "checkbox":
            if field.is_selected() != value:
                field.click()
        else:
            field.clear()
            field.send_keys(value)
    browser.find_element(By.NAME, "q").send_keys(question + Keys.ENTER)
    wait_for(browser, "footer, [role=alert]")


def follow(browser, link):
    """Click a hit's link; the passage of the document that opens."""
    link.click()
    return wait_for(browser, "#passage")[0]


def wait_for(browser, selector):
    """Elements by CSS selector, as soon as there are any."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda browser: all_of(browser, selector))


def all_of(browser, selector):
    """Elements by CSS selector."""
    from selenium.webdriver.common.by import By

    return browser.find_elements(By.CSS_SELECTOR, selector)


def picture(browser, name):
    """Save what the window shows, where pictures are asked for."""
    if folder := os.environ.get("MINIBERT_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_search_shows_marked_passages_and_their_stages(browser, address):
    """Question, Enter, hits: words marked, one best sentence a hit, the stages on demand."""
    ask(browser, address, "median of an even number of data points", answer=True)
    hits = all_of(browser, ".hits > li")
    assert len(hits) == 10 and "statistics" in hits[0].text
    assert "median" in [mark.text for mark in all_of(browser, ".hits > li:first-child mark")]
    assert all_of(browser, ".tokens li")[0].text == "[CLS]"
    assert "[1]" in all_of(browser, ".answer p")[0].text or "statistics" in all_of(browser, ".answer li")[0].text
    details = all_of(browser, ".hits summary")[0]
    details.click()
    assert [row.text for row in all_of(browser, ".hits > li:first-child th[scope=row]")] == [
        "dense",
        "sparse",
        "fusion",
    ]
    picture(browser, "search")


def test_a_condition_filters_and_a_wrong_one_is_told(browser, address):
    """Only passages that meet it; else the reason, and the form as it was."""
    ask(browser, address, "read rows as dictionaries", where='{"package": "csv"}')
    names = [link.text for link in all_of(browser, ".hits h2 a")]
    assert names and all(name.startswith("csv") for name in names)
    assert "passages met the condition" in all_of(browser, "footer")[0].text
    ask(browser, address, "rows", where='{"package": {"$like": "csv"}}')
    assert "where.package: expected an operator" in all_of(browser, "[role=alert]")[0].text
    assert all_of(browser, "[name=where]")[0].get_attribute("value") == '{"package": {"$like": "csv"}}'


def test_a_hit_leads_to_its_document(browser, address):
    """The link opens the document at the passage, which is marked and in view."""
    ask(browser, address, "temporary directory")
    text = all_of(browser, ".passage")[0].text
    passage = follow(browser, all_of(browser, ".hits h2 a")[0])
    assert passage.text.split()[:5] == text.split()[:5]
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", passage)
    assert 0 <= top < 900


def test_no_script_of_a_document_runs(browser, address):
    """Its title, text, id and metadata are words, in the list of hits and in the document's page."""
    browser.get_log("browser")  # forgets what came before
    ask(browser, address, "evil")
    link = next(link for link in all_of(browser, ".hits h2 a") if "window.ran" in link.text)
    assert link.text == EVIL and browser.execute_script("return window.ran") is None
    follow(browser, link)
    assert all_of(browser, ".document")[0].text == EVIL and browser.execute_script("return window.ran") is None
    assert all_of(browser, "main script, main img, main svg") == []
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry for entry in severe if "favicon.ico" not in entry["message"]] == []


def test_the_policy_stops_what_no_escape_would(browser, address):
    """Were a script in the page all the same, it would not run."""
    browser.get(address)
    code = "const s = document.createElement('script'); s.textContent = 'window.ran = 4'; document.body.append(s)"
    browser.execute_script(code)
    assert browser.execute_script("return window.ran") is None


def test_similarity_is_a_table_and_every_field_has_a_name(browser, address):
    """Cosines of the question and all hits, 1 on the diagonal; labels for those who cannot see."""
    ask(browser, address, "shuffle a list at random", similarity=True, k="8")
    cells = [cell.text for cell in all_of(browser, ".heat td[class]")]
    assert len(cells) == 81 and cells[::10] == ["1.00"] * 9
    for field in all_of(browser, "input"):
        assert browser.execute_script("return arguments[0].labels.length", field) == 1
    browser.execute_script("arguments[0].scrollIntoView({block: 'end'})", all_of(browser, "footer")[0])
    picture(browser, "similarity")


@pytest.mark.parametrize("width", [360, 1600])
def test_page_fits_narrow_and_wide_windows(browser, address, width):
    """Nothing sticks out sideways."""
    browser.set_window_size(width, 900)
    ask(browser, address, "median of data", similarity=True)
    scroll, shown = browser.execute_script("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
    browser.set_window_size(1000, 900)
    assert scroll <= shown


def test_search_works_without_javascript(address):
    """Form, hits and link in a browser that runs no script at all."""
    browser = open_browser(script=False)
    try:
        browser.get("data:text/html,<title>before</title><script>document.title = 'after'</script>")
        assert browser.title == "before"
        ask(browser, address, "median of data")
        assert len(all_of(browser, ".hits > li")) == 10
        assert follow(browser, all_of(browser, ".hits h2 a")[0]).text
    finally:
        browser.quit()
