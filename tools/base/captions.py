"""Captions of the training pictures, in varying words, and the word list of the tokenizer."""

from __future__ import annotations

import re
from itertools import cycle

import numpy as np

from .media import MEDIA, PALETTES

TAKEN = 2020  # the photos' approximate year
FEMALE = """woman lady girl mrs madame madonna virgin queen princess countess mother wife she her nun
mademoiselle miss duchess bride"""
MALE = """man boy mr king prince count sir father christ bishop pope duke captain self-portrait gentleman
emperor philosopher he his monk actor"""
WOMAN, MAN = (re.compile(rf"\b({'|'.join(words.split())})\b", re.I) for words in (FEMALE, MALE))

# Words beside the captions' own that should be one token each.
PORTRAIT_WORDS = """
a an the of in on with and or by from to for at as is this that no not one two very painting style photo
photograph portrait picture image drawing sketch art artwork poster print engraving etching lithograph woman
man person people face head girl boy child lady gentleman old young elderly middle aged adult baby smiling
smile serious laughing sad happy angry calm surprised looking glasses beard mustache hair hat scarf earrings
necklace blond brown black gray white red blue green yellow orange purple pink gold silver teal dark light
bright pale warm cool colorful monochrome vivid soft bold flat rough smooth background long short curly
straight bald eyes nose mouth lips skin ear neck shoulders suit tie shirt dress jacket oil watercolor pencil
ink charcoal pastel acrylic gouache fresco tempera woodcut halftone pop mosaic stained glass pointillism low
poly cartoon comic anime line brush stroke strokes impasto paper canvas classical modern abstract cubist
impressionist expressionist realistic baroque renaissance medieval ancient vintage beautiful simple detailed
close up view window side front half body studio night day sun sky flower tree sculpture statue
""".split()


def age(record: dict) -> str:
    """`young`, `old` or nothing, from the birth year."""
    years = TAKEN - record.get("birth_year", TAKEN - 55)
    return "young" if years < 45 else "old" if years > 68 else ""


def person(record: dict, rng: np.random.Generator, full: bool = False) -> str:
    """`an old woman`, `a smiling man`, `a person with glasses` ..."""
    sex = {"male": "man", "female": "woman"}.get(record.get("gender", ""))
    if sex is None:
        title = record.get("title", "")
        sex = "woman" if WOMAN.search(title) else "man" if MAN.search(title) else "person"
    if not full and rng.random() < 0.04:
        sex = "person"
    words = []
    if age(record) and (full or rng.random() < 0.4):
        words.append(age(record))
    if record.get("mood") and (full or rng.random() < 0.5):
        words.append(record["mood"])
    text = with_article(" ".join([*words, sex]))
    return text + " with glasses" if record.get("glasses") and (full or rng.random() < 0.9) else text


def with_article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


PHOTO_PHRASES = (
    *["a photo of {who}"] * 3,
    "a portrait photo of {who}",
    "a photograph of {who}",
    "a photo of the face of {who}",
)
# A photo without colour, or with the one tone of old paper, is never "a photo of ..." alone: the base once drew half of its men
# as sepia gentlemen, for such photos had been captioned like the others.
GREY_PHRASES = (
    "a black and white photo of {who}",
    "a black and white portrait of {who}",
    "a vintage photo of {who}",
    "a vintage photograph of {who}",
)
# Real art is of every age and kind, and its faces are few: it has its own word beside the plain one.
ART_PHRASES = (*["a classical painting of {who}"] * 2, "a classical portrait of {who}", "a painting of {who}")
MEDIA_PHRASES = (
    *["a painting of {who} in {medium} style"] * 3,
    "a {medium} picture of {who}",
    "a {medium} portrait of {who}",
    "a {medium} {noun} of {who}",
    "a portrait of {who} in {medium} style",
)
# The method's own prompt begins "a painting of ..." and names no medium. Real art and these two answer to it, which are alike:
# where seven media did, guidance pulled the picture apart and half of the faces were lost.
PAINTED = {"oil", "impasto"}
PAINTED_PHRASES = (*["a painting of {who}"] * 4, *MEDIA_PHRASES)
NOUNS = {
    **dict.fromkeys(("pencil", "ink", "charcoal"), "drawing"),
    **dict.fromkeys(("woodcut", "halftone"), "print"),
    "cartoon": "picture",
    "stained glass": "window",
}


def phrases(record: dict) -> tuple[str, ...]:
    """The forms that the record's caption may take."""
    if record["kind"] == "media":
        return PAINTED_PHRASES if record["medium"] in PAINTED else MEDIA_PHRASES
    if record["kind"] == "art":
        return ART_PHRASES
    return PHOTO_PHRASES if record.get("colour", True) else GREY_PHRASES


def caption(record: dict, rng: np.random.Generator, full: bool = False) -> str:
    """One caption; `full` names everything that is known, without chance."""

    def pick(options: tuple[str, ...]) -> str:
        return options[0] if full else options[rng.integers(len(options))]

    if not record["portrait"]:
        return "a painting"
    medium = record["medium"]
    form = MEDIA_PHRASES[0] if full and record["kind"] == "media" else pick(phrases(record))
    text = form.format(who=person(record, rng, full), medium=medium, noun=NOUNS.get(medium, "painting"))
    if text[2] in "aeiou":
        text = with_article(text[2:])
    if record.get("palette") and (full or rng.random() < 0.4):
        text += pick((", in {}", ", {} colors")).format(record["palette"])
    elif form in PHOTO_PHRASES and record.get("background") and (full or rng.random() < 0.3):
        text += pick((", {} background", " on a {} background")).format(record["background"])
    return text


def corpus(records: list[dict], seed: int, repeats: int = 4) -> list[str]:
    """Many captions of the records and of media made from them, for the tokenizer's counts."""
    rng = np.random.default_rng(seed)
    drawn = [
        {**r, "kind": "media", "medium": medium, "palette": palette}
        for r, medium, palette in zip((r for r in records if r["kind"] == "photo"), cycle(MEDIA), cycle(PALETTES))
    ]
    return [caption(r, rng) for r in (*records, *drawn) for _ in range(repeats)]


def word_list() -> list[str]:
    """Every word that must be a single token."""
    extra = " ".join(PALETTES).split() + ["colors", "s"]
    return sorted(set(PORTRAIT_WORDS) | set(extra))
