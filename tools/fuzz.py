"""Thousands of damaged adapter files and wrong inputs against the loader and the checks: ``make fuzz``.

Each mutant is made from good files or values by chance, with a seed, and handed to what a user would hand it to. Wanted is one
of two answers: an :class:`~acfun_core.errors.ACFunError`, or something whole and finite. Anything else is a fault: an
exception of another type, more than two seconds, memory that rises by more than 300 MB, or a number that is not finite.

Prints one JSON line; exit code 1 if there was a fault. The first faults go to standard error, with what repeats them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from acfun_core.backends.prompt import weighted_parts
from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.errors import ACFunError
from acfun_core.faces.landmarks import check_landmarks
from acfun_core.faces.regions import region_strengths
from acfun_core.images import check_image
from acfun_core.method.adapter import Slider, StyleAdapter, TrainingRecord
from acfun_core.options import options_of
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths, check_mask

MUTANTS = 10_000
MOST_SECONDS, MOST_MEGABYTES = 2.0, 300.0
SHOWN = 10

TEXT = "a painting of a woman in S* style"
KINDS = (
    AdapterConfig(TEXT, layers=1, heads=2, head_width=8),
    AdapterConfig(TEXT, form="low_rank", rank=4, compact=True),
    AdapterConfig(TEXT, layers=1, heads=1, head_width=4, form="per_channel", stats="mean_std", image_tokens="pooled"),
    AdapterConfig(TEXT, layers=2, heads=1, head_width=4, abstract_mode="sequence", blocks="encoder", place="output"),
)
SLIDER = Slider("a photo of a smiling person", "a photo of a serious person")
JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, 2**64, 10**30, 10**400,
    math.nan, math.inf, -math.inf,
    "", " ", "S*", "²", "٣", "0x10", "1e5", "NaN", "none", "all", "enc.0.0", "\0", "\ud7ff\U0001f600", "a" * 5000,
    [], [1], [[]], [None] * 3, [math.nan], {}, {"a": 1}, {"enc.0.0": 20_000}, {"enc.0.0": -1},
)  # fmt: skip
TEXT_JUNK = (
    "", "{}", "[]", "[1]", "null", "NaN", "1e999", '"S*"', "{" * 50, "[" * 50_000, '{"a":' * 2000, "²", "2 ", "-1", "1" * 5000,
    '{"enc.0.0": Infinity}', '{"enc.0.0": 1e30}', '{"enc.0.0": 20000}', "\0", "\u202e", "sdxl", "acfun",
)  # fmt: skip
DTYPES = ("F16", "BF16", "I16", "U16", "F32", "I32", "F64", "I64", "BOOL", "U8", "F8_E4M3", "F8_E5M2", "Q4", "")
SIDES = (0, 1, 2, 3, 5, 32, 48, 2**16, 2**31, 2**40, 2**63 - 1, 2**64 - 1)


@dataclass
class Tally:
    """What came of the mutants; ``worst`` are the largest numbers over all of them."""

    refused: int = 0
    accepted: int = 0
    faults: Counter = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=lambda: {"seconds": 0.0, "megabytes": 0.0})

    def fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{kind}: {what}")

    def try_one(self, what: str, attempt: Callable[[], Any]) -> None:
        """One mutant."""
        before, peak_is_new = resident(), forget_peak()
        # Of this process: a busy machine is not the loader's fault, and nothing here waits for anybody.
        start = time.process_time()
        try:
            result = attempt()
        except ACFunError:
            self.refused += 1
        # Any other exception is what is looked for.
        except (Exception, RecursionError) as error:
            self.fault("exceptions", f"{what}: {type(error).__name__}: {str(error)[:200]}")
        else:
            self.accepted += 1
            if not is_finite(result):
                self.fault("non_finite", what)
        seconds, megabytes = time.process_time() - start, (peak() - before) / 1e6 if peak_is_new else 0.0
        if seconds > MOST_SECONDS:
            self.fault("hangs", f"{what}: {seconds:.1f} s")
        if megabytes > MOST_MEGABYTES:
            self.fault("memory", f"{what}: {megabytes:.0f} MB")
        for name, value in (("seconds", seconds), ("megabytes", megabytes)):
            self.worst[name] = max(self.worst[name], value)


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none, as outside of Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def resident() -> int:
    return _status("VmRSS")


def peak() -> int:
    return _status("VmHWM")


def forget_peak() -> bool:
    """Let the kernel measure the peak of this process's memory from now on. -> whether it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def is_finite(result: Any) -> bool:
    """Whether all numbers in a result are finite."""
    if isinstance(result, StyleAdapter):
        record = result.record
        numbers = [record.style_loss, record.face_loss, record.before, record.after, record.looks]
        return all(map(is_finite, [*result.state_dict().values(), *numbers]))
    if isinstance(result, Tensor):
        return not result.is_floating_point() or bool(torch.isfinite(result).all())
    if isinstance(result, float):
        return math.isfinite(result)
    if isinstance(result, dict):
        return all(map(is_finite, result.values()))
    if isinstance(result, (list, tuple)):
        return all(map(is_finite, result))
    return True


# -- adapter files --------------------------------------------------------------------------


def good_files() -> list[bytes]:
    """Whole adapter files of several kinds, with and without a checksum."""
    torch.manual_seed(0)
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for config in KINDS:
            tokens, slider = torch.randn(0 if config.compact else 5, 12), SLIDER if config.compact else None
            channels = {"enc.0.0": 16, "enc.1.0": 8, "dec.0.0": 16}
            adapter = StyleAdapter(config, torch.randn(16), tokens, channels, slider=slider)
            with torch.no_grad():
                for parameter in adapter.parameters():
                    parameter.copy_(torch.randn_like(parameter))
            adapter.record = TrainingRecord(
                {"steps": 3, "seed": 2**64 - 1}, [0.5, 0.4, 0.3], [0.5, 0.4, 0.3], [1.0, 1.0], [0.3, 0.3], 0, (64, 64)
            )
            whole = adapter_file.save(adapter, Path(folder) / "one.safetensors").read_bytes()
            whole = _in_order(whole)
            files += [whole, _joined(_without_checksum(_header(whole)), _data(whole))]
    return files


def _in_order(file: bytes) -> bytes:
    """The texts of the header by name: safetensors writes them in an order of chance."""
    header = _header(file)
    return _joined({**header, "__metadata__": dict(sorted(header["__metadata__"].items()))}, _data(file))


def _length(file: bytes) -> int:
    return struct.unpack("<Q", file[:8])[0]


def _header(file: bytes) -> dict:
    return json.loads(file[8 : 8 + _length(file)])


def _data(file: bytes) -> bytes:
    return file[8 + _length(file) :]


def _joined(header: Any, data: bytes) -> bytes:
    # Surrogates and NaN go in as they are: that is what is tested.
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


def _without_checksum(header: dict) -> dict:
    texts = {key: value for key, value in header["__metadata__"].items() if key != "checksum"}
    return {**header, "__metadata__": texts}


def flipped(file: bytes, chance: random.Random) -> bytes:
    """Some bits turned, in the header as often as in the numbers."""
    changed = bytearray(file)
    reach = 8 + _length(file) if chance.random() < 0.5 else len(file)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(file: bytes, chance: random.Random) -> bytes:
    """Shorter or longer than it was."""
    return (
        file[: chance.randrange(len(file))] if chance.random() < 0.7 else file + chance.randbytes(chance.randint(1, 99))
    )


def claimed_length(file: bytes, chance: random.Random) -> bytes:
    return struct.pack("<Q", chance.choice([0, 1, 2**20, 2**27, 2**40, 2**63, 2**64 - 1])) + file[8:]


def other_entry(file: bytes, chance: random.Random) -> bytes:
    """One tensor with another shape, type, place or name."""
    header = _without_checksum(_header(file))
    name = chance.choice([key for key in header if key != "__metadata__"])
    entry, kind = header[name], chance.randrange(5)
    if kind == 0:
        entry["dtype"] = chance.choice(DTYPES)
    elif kind == 1:
        entry["shape"] = [chance.choice(SIDES) for _ in range(chance.randint(0, 4))]
    elif kind == 2:
        entry["shape"] = chance.choice(
            [entry["shape"][::-1], [math.prod(entry["shape"])], [1, *entry["shape"]], *JUNK[:20]]
        )
    elif kind == 3:
        entry["data_offsets"] = [chance.choice(SIDES), chance.choice(SIDES)]
    else:
        header[chance.choice([name.upper(), "x", "", "cfun.enc.9.9.gamma.weight", name + ".x"])] = header.pop(name)
    return _joined(header, _data(file))


def other_text(file: bytes, chance: random.Random) -> bytes:
    """One text of the metadata replaced, left out, or added."""
    header = _header(file) if chance.random() < 0.2 else _without_checksum(_header(file))
    texts = header["__metadata__"]
    key = chance.choice([*texts, "checksum"])
    texts[key] = chance.choice(TEXT_JUNK)
    if chance.random() < 0.1:
        del texts[key]
    if chance.random() < 0.05:
        header["__metadata__"] = chance.choice(JUNK)
    return _joined(header, _data(file))


def other_value(file: bytes, chance: random.Random) -> bytes:
    """One value inside blocks, options or training replaced."""
    header = _without_checksum(_header(file))
    texts = header["__metadata__"]
    key = chance.choice(["blocks", "options", "training"])
    content = json.loads(texts[key])
    name = chance.choice([*content, "enc.7.7", "unknown", "mid.0"])
    old = content.get(name)
    if isinstance(old, list) and old and chance.random() < 0.5:
        old[chance.randrange(len(old))] = chance.choice(JUNK)
    else:
        content[name] = chance.choice(JUNK)
    if chance.random() < 0.1:
        del content[name]
    texts[key] = json.dumps(content)
    return _joined(header, _data(file))


def many_blocks(file: bytes, chance: random.Random) -> bytes:
    """Blocks that are claimed and not there, many or wide."""
    header = _without_checksum(_header(file))
    count, width = chance.choice([1, 20, 255, 5000]), chance.choice([1, 320, 20_000, 65_536, 10**9])
    header["__metadata__"]["blocks"] = json.dumps({f"enc.{at // 99}.{at % 99}": width for at in range(count)})
    return _joined(header, _data(file))


def other_numbers(file: bytes, chance: random.Random) -> bytes:
    """NaN, infinity, another type or another shape in a tensor, under a header that fits it."""
    tensors, texts = load(file), _without_checksum(_header(file))["__metadata__"]
    # safetensors gives them in an order of chance.
    name = chance.choice(sorted(tensors))
    tensor, kind = tensors[name], chance.randrange(5)
    if kind < 2 and tensor.numel():
        tensor.view(-1)[chance.randrange(tensor.numel())] = chance.choice([math.nan, math.inf, -math.inf])
    elif kind == 2:
        tensors[name] = tensor.to(
            chance.choice([torch.float64, torch.float32, torch.bfloat16, torch.int32, torch.bool])
        )
    elif kind == 3:
        tensors[name] = torch.zeros(
            [chance.choice([0, 1, 2, 16, 17]) for _ in range(chance.randint(0, 3))], dtype=tensor.dtype
        )
    else:
        del tensors[name]
    return _in_order(save(tensors, texts))


FILE_MUTATIONS = (flipped, cut, claimed_length, other_entry, other_text, other_value, many_blocks, other_numbers)


# -- values ---------------------------------------------------------------------------------


def config_of(kind: type, chance: random.Random) -> Callable[[], Any]:
    """A config with one or two fields of the wrong type or range."""
    values = {"description": TEXT} if kind is AdapterConfig else {}
    for name in chance.sample(list(options_of(kind)), chance.randint(1, 2)):
        option = options_of(kind)[name]
        values[name] = chance.choice([*JUNK, option.low, option.high, option.low - 1, option.high + 1, *option.choices])
    return lambda: vars(kind(**values))


def tensor_like(chance: random.Random, most: int) -> Any:
    """A tensor of any rank, size, type and range, or no tensor at all."""
    if chance.random() < 0.05:
        return chance.choice(JUNK)
    sizes = [chance.choice([0, 1, 2, 3, 4, 5, 16, 40]) for _ in range(chance.randint(0, most))]
    generator = torch.Generator().manual_seed(chance.randrange(2**32))
    scale = chance.choice([1, 1, 2, 255, 65535, 1e38])
    tensor = scale * torch.rand(sizes, generator=generator) - chance.choice([0, 0, 0, scale / 2])
    if tensor.numel() and chance.random() < 0.3:
        tensor.view(-1)[chance.randrange(tensor.numel())] = chance.choice([math.nan, math.inf, -math.inf])
    return tensor.to(
        chance.choice([torch.float32] * 4 + [torch.float16, torch.uint8, torch.int64, torch.bool, torch.float64])
    )


def value_mutants(chance: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Without end: what is tried, and the trial."""
    while True:
        for kind in (AdapterConfig, TrainConfig, Strengths):
            yield kind.__name__, config_of(kind, chance)
        mask, image, points = tensor_like(chance, 4), tensor_like(chance, 5), tensor_like(chance, 3)
        yield "mask", lambda mask=mask: check_mask(mask)
        yield "masked strengths", lambda mask=mask: Strengths(mask=mask).mask
        yield "picture", lambda image=image: check_image(image, "picture")
        yield "landmarks", lambda points=points: check_landmarks(points, torch.zeros(1, 64, 64, 3), "landmarks")
        regions = chance.choice([*TEXT_JUNK, json.dumps({chance.choice(["eyes", "ears"]): chance.choice(JUNK)})])
        yield "regions", lambda regions=regions: region_strengths(regions)
        prompt = "".join(chance.choices("(():)\\S*a 1.3", k=chance.choice([5, 20, 2000])))
        yield "prompt", lambda prompt=prompt: weighted_parts(prompt)


def run(count: int, seed: int) -> Tally:
    """Three files to each wrong value."""
    tally, files = Tally(), good_files()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.safetensors"
        for file in files:
            path.write_bytes(file)
            adapter_file.load(path)
        values = value_mutants(random.Random(seed))
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            if number % 4 == 3:
                what, attempt = next(values)
            else:
                mutate = FILE_MUTATIONS[number % len(FILE_MUTATIONS)] if chance.random() < 0.9 else flipped
                path.write_bytes(mutate(chance.choice(files), chance))
                what, attempt = mutate.__name__, lambda: adapter_file.load(path)
            tally.try_one(f"mutant {number} of seed {seed}, {what}", attempt)
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=MUTANTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    tally = run(arguments.mutants, arguments.seed)
    print("\n".join(tally.shown), file=sys.stderr)
    kinds = ("exceptions", "hangs", "memory", "non_finite")
    result = {
        "mutants": arguments.mutants,
        "seed": arguments.seed,
        "refused": tally.refused,
        "accepted": tally.accepted,
        **{kind: tally.faults[kind] for kind in kinds},
        **{f"most_{name}": round(value, 2) for name, value in tally.worst.items()},
    }
    print(json.dumps(result))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
