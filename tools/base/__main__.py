"""Train the base inside a time budget.

    python -m tools.base --data FOLDER --minutes 9 --device cuda
    python -m tools.base --data FOLDER --minutes 300 --from base --device cpu

The first trains everything from nothing. With `--from` the weights of a base or of a parcel are where it starts, their encoder
stays as it is, and only the UNet learns further unless `--stages` says otherwise. Processes beside this one draw fresh pictures
all the while. Killed, the same command goes on from the run folder. When it is done, `--out` holds a parcel of at most 8 files
of 16 MB, which `python -m tools.base.export` turns into a base, and the run folder a log (STATUS.md) and sheets of pictures.

A machine without network needs the packages of tools/base/requirements.txt and copies of
- tools/ (1 MB);
- the data: records.jsonl (1 MB), mesh.npz (4 MB), img/ (37 MB);
- for the stages autoencoder and decoder squeezenet_weights.pkl (5 MB, out of the package ndf; FACE_MODELS names its folder);
- for `--from` no more of base/ than fits: text_encoder, vae and tokenizer (12 MB) are enough for a UNet from nothing, and
  unet (34 MB) beside them and the data for one that learns further is 88 MB: where 64 MB is the limit, it goes in two copies.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import torch

from tools.measure import style

from . import captions, spread_words
from .common import arguments
from .export import write_parcel
from .pictures.album import Album
from .tokenizer import settle, write
from .training import autoencoder, decoder, encoders, plain, unet
from .training.run import CHANGED, Run

STAGES = {
    "encoders": encoders.train,
    "words": spread_words.train,
    "autoencoder": autoencoder.train,
    "decoder": decoder.train,
    "unet": unet.train,
    "plain": plain.train,
    "image_encoder": encoders.train_image_encoder,
}
NEEDS = {
    "words": {"text_encoder"},
    "decoder": {"vae"},
    "unet": {"vae", "text_encoder"},
    "plain": {"vae", "text_encoder", "unet"},
    "image_encoder": {"text_encoder", "image_encoder"},
}
"""Networks that a stage does not start from nothing."""
OPTIONS = {
    "--from": {"dest": "given", "type": Path, "help": "a base or a parcel to start from"},
    "--stages": {"help": f"some of {','.join(STAGES)}, in this order; with --from: unet,plain"},
    "--producers": {"type": int, "help": "processes that draw pictures; 0: a thread does"},
    "--out": {"type": Path, "default": Path("out/base_parcel"), "help": "where the parcel goes"},
}


def chosen(args) -> list[str]:
    """The stages to do, in order."""
    names = args.stages.split(",") if args.stages else ["unet", "plain"] if args.given else list(STAGES)
    if unknown := set(names) - STAGES.keys():
        raise SystemExit(f"There is no stage {', '.join(sorted(unknown))}: choose from {', '.join(STAGES)}.")
    return [name for name in STAGES if name in names]


def check(stages: list[str], run: Run) -> None:
    """Refuse at once what could only fail after long work."""
    known = set(run.known)
    for name in stages:
        if missing := NEEDS.get(name, set()) - known:
            raise SystemExit(
                f"The stage {name} needs a trained {', '.join(sorted(missing))}: start --from a base that has it."
            )
        known |= set(CHANGED[name])
    if any(getattr(run.cfg, name).perceptual for name in stages if name in ("autoencoder", "decoder")):
        style.weights()


def main() -> None:
    began = time.monotonic()
    args = arguments(__doc__, OPTIONS)
    if not args.minutes:
        raise SystemExit("Say how long it may take: --minutes 9.")
    if args.device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    stages = chosen(args)
    if args.given:
        settle(args.given, args.run / "tokenizer")
    elif not (args.run / "tokenizer").exists():
        write(args.run / "tokenizer", captions.corpus(Album(args.data).records, args.cfg.seed))
    run = Run(args, stages, began)
    check(stages, run)
    try:
        for name in stages:
            if name not in run.done:
                STAGES[name](run)
    finally:
        run.close()
    trained = {name: network for name, network in run.networks.items() if name in run.known}
    write_parcel(trained, args.run / "tokenizer", args.out)
    shutil.copy(args.run / "STATUS.md", args.out)
    run.say(f"done: {', '.join(sorted(trained))} in {args.out}")


if __name__ == "__main__":
    # Producers that share their cores with the trainer make it wait at every layer.
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
    main()
