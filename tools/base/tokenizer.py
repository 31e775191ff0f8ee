"""Build the small CLIP tokenizer: byte-level BPE whose merges make the caption words single tokens.

Layout as in CLIP: 256 byte characters, the same with `</w>`, one token a merge, start and end token.
Words outside the vocabulary fall apart into pieces, at worst into bytes.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from transformers import CLIPTokenizer

from . import captions

START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters() -> list[str]:
    """The printable characters that stand for the 256 bytes, in CLIP's order."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    other = [b for b in range(256) if b not in own]
    return [chr(b) for b in own] + [chr(256 + i) for i in range(len(other))]


def merge_word(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def train_bpe(counts: Counter) -> list[tuple[str, str]]:
    """Merge the most frequent pair until every counted word is one token."""
    words = {(*word[:-1], word[-1] + "</w>"): n for word, n in sorted(counts.items())}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = {merge_word(word, best): n for word, n in words.items()}


def settle(source: Path, folder: Path) -> None:
    """Make `folder` a tokenizer's, with the vocabulary and the merges that lie in `source` or in its `tokenizer`."""
    source = source / "tokenizer" if (source / "tokenizer").is_dir() else source
    folder.mkdir(parents=True, exist_ok=True)
    if source != folder:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(source / name, folder / name)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    config = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def write(folder: Path, texts: list[str]) -> None:
    """Write the tokenizer's files to `folder`."""
    counts: Counter = Counter({word: 1 for word in captions.word_list()})
    for text in texts:
        counts.update(w for w in text.replace(",", " ").split() if w.isalpha())
    merges = train_bpe(counts)
    letters = byte_characters()
    tokens = [*letters, *(c + "</w>" for c in letters), *dict.fromkeys(a + b for a, b in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    settle(folder, folder)


def encode(tokenizer: CLIPTokenizer, texts: list[str]):
    """Token ids [n, 77], padded with the end token as in CLIP-L."""
    return tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
