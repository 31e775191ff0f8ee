"""The blind comparison page in the browser: votes by key and by click, and the ranking."""

from __future__ import annotations

import threading

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks import blind, methods
from benchmarks.drawing import PICTURE
from benchmarks.store import Store

NAMES = ["acfun", "adain"]


@pytest.fixture
def ballot(tmp_path) -> blind.Ballot:
    store = Store(tmp_path)
    for index, name in enumerate(NAMES):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (64, 64), (200 * index, 90, 90)).save(path)
        named = {"method": name, "face": "f", "style": "s", "seed": 0}
        store.keep("run", PICTURE, named, {"file": path, "state": None, "state_face": None, "peak_mb": 0.0})
    files = {}
    for role in "fs":
        files[role] = tmp_path / f"{role}.png"
        Image.new("RGB", (64, 64), "white").save(files[role])
    return blind.Ballot(store, "run", NAMES, tmp_path / "votes.sqlite", files, seed=0)


@pytest.fixture
def page(ballot, browser):
    server = blind.serve(ballot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    yield browser
    browser.get("about:blank")
    server.shutdown()
    server.server_close()
    thread.join(10)


def wait_for(browser, condition) -> None:
    WebDriverWait(browser, 30).until(condition)


def drawn(browser) -> bool:
    script = "return [...document.images].every(i => i.complete && i.naturalWidth > 0 && i.src.includes('/picture/'))"
    return browser.execute_script(script)


def test_votes_by_key_and_by_click_and_the_ranking(page, ballot):
    wait_for(page, drawn)
    shown = page.find_element(By.TAG_NAME, "body").text
    shown += " ".join(
        image.get_attribute("src") + image.get_attribute("alt") for image in page.find_elements(By.TAG_NAME, "img")
    )
    titles = [methods.method(name).title for name in NAMES]
    assert not any(name in shown for name in [*NAMES, *titles]), "the page names no method"
    for count, act in enumerate(
        (
            lambda: page.find_element(By.TAG_NAME, "body").send_keys("1"),
            lambda: page.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT),
            lambda: page.find_element(By.ID, "one").click(),
            lambda: page.find_element(By.CSS_SELECTOR, "[data-choice=tie]").click(),
        ),
        1,
    ):
        wait_for(page, drawn)
        act()
        wait_for(page, lambda browser, n=count: browser.find_element(By.ID, "said").text == f"{n} votes")
    shares = [share for _, _, share in blind.votes_of(ballot.votes)]
    assert shares == [1.0, 0.0, 1.0, 0.5]
    page.find_element(By.ID, "show").click()
    wait_for(page, lambda browser: len(browser.find_elements(By.CSS_SELECTOR, "#ranking tr")) == 3)


def test_another_question_is_counted_apart(page, ballot):
    wait_for(page, drawn)
    page.find_element(By.CSS_SELECTOR, "#about option[value=style]").click()
    wait_for(page, lambda browser: "style" in browser.find_element(By.ID, "question").text)
    page.find_element(By.ID, "two").click()
    wait_for(page, lambda browser: browser.find_element(By.ID, "said").text == "1 votes")
    assert blind.votes_of(ballot.votes) == [] and len(blind.votes_of(ballot.votes, "style")) == 1
