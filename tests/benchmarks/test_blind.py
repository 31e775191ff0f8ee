"""The blind comparison page over HTTP, and the ranking on votes whose strengths are known."""

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from benchmarks import blind
from benchmarks.drawing import PICTURE
from benchmarks.ranking import ranking, strengths, wins_of
from benchmarks.store import Store

NAMES = ["acfun", "text", "lora_our_loss"]


def test_strengths_of_two_by_hand():
    """Three of four votes and the half votes on each side: the fit satisfies the likelihood's own equation."""
    p = strengths(wins_of([("a", "b", 1.0)] * 3 + [("a", "b", 0.0)], ["a", "b"]))
    assert p[0] * p[1] == pytest.approx(1)
    expected = 4 * p[0] / (p[0] + p[1]) + p[0] / (p[0] + 1)
    assert expected == pytest.approx(3.5, abs=1e-6)


def test_known_strengths_are_found_within_their_intervals():
    rng = np.random.default_rng(0)
    true = {"a": 4.0, "b": 1.0, "c": 0.25}
    votes = []
    for _ in range(600):
        one, two = rng.choice(list(true), 2, replace=False)
        votes.append((one, two, float(rng.random() < true[one] / (true[one] + true[two]))))
    found = ranking(votes, draws=100)
    assert [one.name for one in found] == ["a", "b", "c"]
    assert all(one.low < true[one.name] / (1 + true[one.name]) < one.high for one in found)
    assert found[0].low > found[1].high > found[1].low > found[2].high


def test_ties_rank_nobody_and_unbeaten_methods_stay_finite():
    tied = ranking([("a", "b", 0.5)] * 10, draws=20)
    assert tied[0].strength == pytest.approx(0.5) and tied[1].strength == pytest.approx(0.5)
    assert 0.5 < ranking([("a", "b", 1.0)] * 5, draws=20)[0].strength < 1
    assert ranking([]) == []


@pytest.fixture
def ballot(tmp_path) -> blind.Ballot:
    store, colours = Store(tmp_path), {}
    for index, name in enumerate(NAMES):
        for seed in range(2):
            path = tmp_path / f"{name}-{seed}.png"
            Image.new("RGB", (8, 8), (80 * index, 0, 0)).save(path)
            named = {"method": name, "face": "f", "style": "s", "seed": seed}
            store.keep("run", PICTURE, named, {"file": path, "state": None, "state_face": None, "peak_mb": 0.0})
    for role in "fs":
        colours[role] = tmp_path / f"{role}.png"
        Image.new("RGB", (8, 8), "white").save(colours[role])
    return blind.Ballot(store, "run", NAMES, tmp_path / "votes.sqlite", colours, seed=0)


@pytest.fixture
def url(ballot):
    server = blind.serve(ballot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(address: str, **headers) -> bytes:
    with OPENER.open(urllib.request.Request(address, headers=headers), timeout=20) as answer:
        return answer.read()


def post(address: str, content: dict, **headers) -> dict:
    request = urllib.request.Request(address, json.dumps(content).encode(), headers)
    with OPENER.open(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_a_vote_from_question_to_ranking(url, ballot):
    for _ in range(4):
        asked = json.loads(get(f"{url}/question"))
        assert not any(name in json.dumps(asked) for name in NAMES), "a question names no method"
        assert all(get(url + path)[:4] == b"\x89PNG" for path in asked["pictures"].values())
        assert post(f"{url}/vote", {"token": asked["token"], "choice": "one"}) == {"counted": True}
    assert len(blind.votes_of(ballot.votes)) == 4
    shown = json.loads(get(f"{url}/ranking"))
    assert sum(one["votes"] for one in shown) == 8 and {one["name"] for one in shown} <= set(NAMES)


def test_a_question_counts_once(url, ballot):
    token = json.loads(get(f"{url}/question"))["token"]
    post(f"{url}/vote", {"token": token, "choice": "tie"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{url}/vote", {"token": token, "choice": "one"})
    assert refused.value.code == 409 and blind.votes_of(ballot.votes)[0][2] == 0.5


@pytest.mark.parametrize("headers", [{"Origin": "http://example.org"}, {"Host": "example.org"}])
def test_other_places_may_not_vote(url, ballot, headers):
    token = json.loads(get(f"{url}/question"))["token"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{url}/vote", {"token": token, "choice": "one"}, **headers)
    assert refused.value.code == 403 and blind.votes_of(ballot.votes) == []


def test_sides_are_drawn_by_chance(ballot):
    firsts = [ballot.open[ballot.ask("overall")["token"]]["one"] for _ in range(60)]
    assert all(10 <= firsts.count(name) <= 30 for name in NAMES)


def test_nothing_but_the_asked_pictures_is_served(url):
    for path in ("/picture/nothing/one", "/picture/../results.sqlite", "/results.sqlite"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url + path)
        assert refused.value.code == 404
