"""Each training once: what was killed goes on, what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management

from ...acfun_core.errors import ACFunError
from ...acfun_core.method.adapter import StyleAdapter
from ...acfun_core.storage import adapter_file
from ...acfun_core.storage.rescue import rescued, save_or_rescue
from ...acfun_core.training.keeper import StateKeeper
from ...acfun_core.training.key import described, weights_identity
from . import files
from .bypass import bypass_loras
from .families import prediction_of
from .written import wrote


@dataclass
class _Last:
    """The training that ended last in this server: its file may be deleted, or could not be written."""

    key: str
    name: str
    adapter: StyleAdapter


@dataclass(frozen=True)
class _Written:
    """The file of a training of this server, and what it was like when it was written."""

    path: Path
    size: int
    time: int

    @classmethod
    def now(cls, path: Path) -> _Written:
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns)

    @property
    def is_there(self) -> bool:
        """Whether it is still the file that was written."""
        return self.path.is_file() and _Written.now(self.path) == self


_last: _Last | None = None
_written: dict[tuple[str, str], _Written] = {}
"""(Key, name) -> its file."""


def once(
    key: str,
    name: str,
    path: Path,
    steps: int,
    train: Callable[[StateKeeper], StyleAdapter],
    say: Callable[[str], None],
    keep: bool = False,
) -> tuple[StyleAdapter, Path]:
    """Train and save, or take what is left of the same training. -> the adapter, and the path of its file.

    Args:
        key: which training it is, from :func:`~...acfun_core.training.key.training_key`.
        name: under which the user wants it.
        path: a free path for that name.
        steps: how many are wanted.
        train: does the training; is given what keeps its state.
        keep: leave the state there at the end, so that more steps can continue it.

    Raises:
        ACFunError: the training failed, or its file could not be written; in that case the adapter is kept.
    """
    global _last
    elsewhere = files.folders_elsewhere()
    keeper = StateKeeper(path.parent, key, keep=keep, say=say)
    written = _written.get((key, name))
    there = written is not None and written.is_there
    adapter = _found(key, name, steps, elsewhere, written.path if there else None)
    if adapter is not None and there:
        say(f"This training was done before: {written.path.name}.")
        return adapter, wrote(name, written.path)
    if adapter is None:
        try:
            adapter = train(keeper)
        except (comfy.model_management.InterruptProcessingException, ACFunError) as error:
            # Cancelled, or failed in a way that would come again. A training that breaks off otherwise may go on.
            # One that is to be kept may be that of a training which had ended well before it was continued.
            if not getattr(error, "for_now", False):
                keeper.end()
            raise
    else:
        say("This training was done before, and its file is missing. It is written without training again.")
    _last = _Last(key, name, adapter)
    path = wrote(name, save_or_rescue(adapter, path, key, elsewhere))
    _written[key, name] = _Written.now(path)
    keeper.end()
    return adapter, path


def _found(key: str, name: str, steps: int, elsewhere: list[Path], file: Path | None) -> StyleAdapter | None:
    """The adapter of the same training, from memory, from its file, or from where it was rescued to."""
    if _last is not None and (_last.key, _last.name) == (key, name):
        adapter = _last.adapter
    elif file is None:
        adapter = rescued(key, elsewhere)
    else:
        adapter = adapter_file.load(file)
        # Whoever comes back to a training that was stopped halfway wants the rest of it.
        if len(adapter.record.style_loss) < steps and not adapter.record.looks:
            return None
    return adapter if adapter is not None and adapter.record.settings["steps"] == steps else None


def base_identity(model, clip, vae, clip_vision=None) -> str:
    """What of a graph's models, which are loaded, decides a training: weights, patches, and options such as a skipped layer."""
    patched = [
        (patcher.patches, patcher.object_patches, patcher.model_options.get("transformer_options", {}))
        for patcher in (model, clip.patcher)
    ]
    modules = [model.model.diffusion_model, clip.cond_stage_model, vae.first_stage_model]
    if clip_vision is not None:
        modules.append(clip_vision.model)
    # The same weights in a checkpoint that says it predicts v are another base.
    noise = prediction_of(model), model.get_model_object("model_sampling").sigmas
    told = [patched, clip.layer_idx, getattr(clip, "tokenizer_options", {}), bypass_loras(*modules[:2]), noise]
    return weights_identity(*modules) + described(told)
