"""The blind comparison: two results for one face and style, unnamed and in random order; votes in SQLite; a ranking.

    python -m benchmarks.blind                          the pictures of the newest run in out/benchmarks
    python -m benchmarks.blind --methods acfun,img2img_0.6 --voter anna
    python -m benchmarks.blind --ranking                only print the ranking

Served on 127.0.0.1 alone. Keys: 1 or left arrow, 2 or right arrow, 0 or space for a tie. Which method a picture is of is known
to the server only.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sqlite3
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from . import methods
from .drawing import OUT, images, names_of
from .ranking import Standing, Vote, ranking
from .store import Store
from .workbench import ROOT

HOST = "127.0.0.1"
PAGE = Path(__file__).with_name("templates") / "blind.html"
QUESTIONS = {"overall": "Which is the better portrait of this face in this style?"}
QUESTIONS |= {"face": "Which looks more like this person?", "style": "Which is closer to this style?"}
VOTES = """CREATE TABLE IF NOT EXISTS votes (
    id INTEGER PRIMARY KEY, voter TEXT, question TEXT, one TEXT, two TEXT, share REAL, face TEXT, style TEXT, seed INTEGER,
    seconds REAL, made REAL)"""
WAITING = 1000
"""Open questions that are remembered; older ones can no longer be answered."""


class Ballot:
    """Draws pairs of results and counts votes.

    Args:
        store, run: whose pictures. names: methods that are compared; anchors may be among them.
        votes: SQLite file. files: face or style id -> picture file.
    """

    def __init__(
        self, store: Store, run: str, names: list[str], votes: Path, files: dict[str, Path], seed: int | None = None
    ):
        self.store, self.votes, self.files = store, votes, files
        self.rng, self.lock = random.Random(seed), threading.Lock()
        self.images: dict[tuple, dict[str, dict]] = {}
        for row in images(store, run):
            if row["method"] in names:
                self.images.setdefault((row["face"], row["style"], row["seed"]), {})[row["method"]] = row
        self.keys = sorted(key for key, found in self.images.items() if len(found) > 1)
        if not self.keys:
            raise SystemExit("No pair has been drawn by two of these methods yet; run make judge-full first.")
        self.open: dict[str, dict] = {}
        with closing(sqlite3.connect(votes)) as connection, connection:
            connection.execute(VOTES)

    def ask(self, question: str) -> dict:
        """A new question: tokens of four pictures, which say nothing of the methods."""
        with self.lock:
            key = self.rng.choice(self.keys)
            one, two = self.rng.sample(sorted(self.images[key]), 2)
            token = secrets.token_urlsafe(12)
            self.open[token] = {"key": key, "one": one, "two": two, "question": question, "start": time.time()}
            while len(self.open) > WAITING:
                self.open.pop(next(iter(self.open)))
        pictures = {role: f"/picture/{token}/{role}" for role in ("face", "style", "one", "two")}
        return {"token": token, "question": QUESTIONS[question], "pictures": pictures}

    def picture(self, token: str, role: str) -> Path | None:
        asked = self.open.get(token)
        if asked is None or role not in ("face", "style", "one", "two"):
            return None
        face, style, _ = asked["key"]
        if role in ("face", "style"):
            return self.files.get({"face": face, "style": style}[role])
        return self.store.file(self.images[asked["key"]][asked[role]])

    def vote(self, token: str, choice: str, voter: str) -> bool:
        """Count ``one``, ``two`` or ``tie``; each question once. -> False if it is not open."""
        share = {"one": 1.0, "two": 0.0, "tie": 0.5}.get(choice)
        with self.lock:
            asked = self.open.pop(token, None) if share is not None else None
        if asked is None:
            return False
        row = (voter[:80], asked["question"], asked["one"], asked["two"], share, *asked["key"])
        with closing(sqlite3.connect(self.votes, timeout=30)) as connection, connection:
            columns = "voter, question, one, two, share, face, style, seed, seconds, made"
            now = time.time()
            marks = ", ".join("?" * 10)
            connection.execute(f"INSERT INTO votes ({columns}) VALUES ({marks})", (*row, now - asked["start"], now))
        return True


def votes_of(path: Path, question: str = "overall") -> list[Vote]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT one, two, share FROM votes WHERE question = ? ORDER BY id", (question,))
        return [tuple(row) for row in rows]


def lines_of(standings: list[Standing]) -> list[str]:
    return [
        f"{methods.method(one.name).title:44} {one.strength:.2f} ({one.low:.2f} to {one.high:.2f})  {one.votes} votes"
        for one in standings
    ]


def handler_of(ballot: Ballot, voter: str) -> type[BaseHTTPRequestHandler]:
    """The page, its questions, its pictures, its votes, its ranking."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "blind"

        def log_message(self, *_) -> None:
            """Votes are in the database; requests are nobody's business."""

        def answer(self, content: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def answer_json(self, content, status: int = 200) -> None:
            self.answer(json.dumps(content).encode(), "application/json", status)

        def trusted(self) -> bool:
            """Whether the browser asked for this machine by its address; pages of other places cannot make it do so."""
            host = self.headers.get("Host", "").partition(":")[0]
            origin = urlparse(self.headers.get("Origin", "")).hostname
            return host in (HOST, "localhost") and origin in (None, HOST, "localhost")

        def do_GET(self) -> None:
            parts = urlparse(self.path)
            if not self.trusted():
                self.answer_json({"error": "only from this machine"}, 403)
            elif parts.path == "/":
                self.answer(PAGE.read_bytes(), "text/html; charset=utf-8")
            elif parts.path == "/question":
                wanted = parse_qs(parts.query).get("about", ["overall"])[0]
                self.answer_json(ballot.ask(wanted if wanted in QUESTIONS else "overall"))
            elif parts.path == "/ranking":
                wanted = parse_qs(parts.query).get("about", ["overall"])[0]
                found = ranking(votes_of(ballot.votes, wanted), draws=100)
                self.answer_json([{**vars(one), "title": methods.method(one.name).title} for one in found])
            elif parts.path.startswith("/picture/") and (path := ballot.picture(*_token_and_role(parts.path))):
                kind = "image/png" if path.suffix == ".png" else "image/jpeg"
                self.answer(path.read_bytes(), kind)
            else:
                self.answer_json({"error": "not here"}, 404)

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), 10_000)
            try:
                sent = json.loads(self.rfile.read(length))
                token, choice = str(sent["token"]), str(sent["choice"])
            except (ValueError, KeyError, TypeError):
                self.answer_json({"error": "no vote"}, 400)
                return
            if self.path != "/vote" or not self.trusted():
                self.answer_json({"error": "not here"}, 403)
            else:
                counted = ballot.vote(token, choice, voter)
                self.answer_json({"counted": counted}, 200 if counted else 409)

    return Handler


def _token_and_role(path: str) -> tuple[str, str]:
    _, _, rest = path.partition("/picture/")
    token, _, role = rest.partition("/")
    return token, role


def serve(ballot: Ballot, voter: str = "", port: int = 0) -> ThreadingHTTPServer:
    """A server on the loopback interface; 0 is any free port. The caller runs and closes it."""
    return ThreadingHTTPServer((HOST, port), handler_of(ballot, voter))


def newest_run(store: Store) -> str:
    runs = sorted((store.folder / "pictures").glob("*"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise SystemExit(f"There are no pictures in {store.folder}; run make judge-full first.")
    return runs[-1].name


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results (out/benchmarks)")
    parser.add_argument("--run", default="", help="name of a run in it (the newest)")
    parser.add_argument("--methods", default="", help="names (all that are no anchors)")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders of faces and styles (DATA)")
    parser.add_argument("--voter", default="", help="name beside the votes")
    parser.add_argument("--port", type=int, default=8189, help="0 is any free one (8189)")
    parser.add_argument("--ranking", action="store_true", help="print the ranking and end")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    votes = options.out / "votes.sqlite"
    if options.ranking:
        for question in QUESTIONS:
            print(question, *(lines_of(ranking(votes_of(votes, question))) or ["no votes yet"]), sep="\n  ")
        return 0
    from .lists import files_by_hash

    folders = options.pictures or [ROOT.parent / "shared" / "data"]
    files = {digest[:12]: path for folder in folders for digest, path in files_by_hash(folder).items()}
    store = Store(options.out)
    names = names_of(options.methods) if options.methods else [m.name for m in methods.METHODS if not m.anchor]
    ballot = Ballot(store, options.run or newest_run(store), names, votes, files)
    server = serve(ballot, options.voter, options.port)
    print(f"http://{HOST}:{server.server_port}/ (end with Ctrl+C)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
