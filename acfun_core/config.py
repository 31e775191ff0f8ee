"""Frozen, self-validating settings. Every choice that the paper leaves open is a named field here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .block_names import BLOCKS
from .options import check_options, check_range, choice, default_of, flag, number, options_of, require, text, whole

__all__ = [
    "COPY_LIMIT",
    "INITIAL_WORD",
    "PALETTE_HOLD",
    "PLACEHOLDER",
    "AdapterConfig",
    "DrawConfig",
    "TrainConfig",
    "TransferConfig",
    "check_description",
    "check_prompt",
]

PLACEHOLDER = "S*"
"""The pseudo-word that stands for the style in a prompt."""

INITIAL_WORD = "painting"
"""The word whose embedding the learned S* row starts from."""

COPY_LIMIT = 0.8
"""Share of a picture that its two training pictures may explain; from there on it is a copy or a blend. The VAE's own loss
leaves copies far above it."""

PALETTE_HOLD = 0.7
"""How far noise and portrait go toward the style picture's palette if nothing is said (benchmarks/README.md)."""


def check_description(text: str) -> str:
    """Return the stripped face description, or say what is missing from it.

    Raises:
        ACFunError: the text is empty or does not contain ``S*`` exactly once.
    """
    require(
        text is None or isinstance(text, str),
        f"The face description is {str(text)[:120]}.",
        "a text",
        "describe the face in words",
    )
    text = (text or "").strip()
    example = f'"a painting of a woman in {PLACEHOLDER} style"'
    require(bool(text), "The face description is empty.", f"a short text such as {example}", "describe the face")
    count = text.count(PLACEHOLDER)
    require(
        count == 1,
        f"The face description holds {PLACEHOLDER} {count} times: {text[:120]!r}.",
        f"{PLACEHOLDER} exactly once, as in {example}",
        f"write {PLACEHOLDER} where the name of the style would stand",
    )
    return text


def check_prompt(prompt: str) -> None:
    """Raise unless a prompt holds S*, without which an adapter would act by half.

    Raises:
        ACFunError: it does not.
    """
    require(
        PLACEHOLDER in prompt,
        f"The prompt does not hold {PLACEHOLDER}: {prompt[:120]!r}.",
        f"a prompt such as 'a painting of a woman in {PLACEHOLDER} style'",
        f"write {PLACEHOLDER} where the style's name would stand",
    )


@dataclass(frozen=True)
class AdapterConfig:
    """What kind of adapter is learned. Stored in the adapter file."""

    description: str = text(f"Face description with {PLACEHOLDER} in it once, the text y of eq. 1.")
    layers: int = whole(2, 1, 16, "Cross-attention layers of AFun (eq. 2).", label="AFun layers")
    heads: int = whole(8, 1, 64, "Heads of each of AFun's layers.", label="AFun heads")
    head_width: int = whole(64, 1, 512, "Width of each of AFun's heads.", label="AFun head_width")
    dropout: float = number(0.05, 0.0, 0.9, "Dropout in AFun while it learns.", label="AFun dropout", step=0.01)
    blocks: str = choice(
        "both",
        BLOCKS,
        "Which ResBlocks of the UNet carry CFun. both: encoder and decoder without the middle block; all: with it; none: "
        "abstract fusion alone. The encoder gives strokes and texture, the decoder structure and pose.",
        label="CFun blocks",
    )
    abstract_mode: str = choice(
        "token",
        ("token", "sequence", "sequence_literal"),
        f"Where e_a goes. token: it replaces {PLACEHOLDER} in the prompt, before CLIP's text transformer. sequence: it is "
        "added to the encoded prompt and goes straight to the UNet. sequence_literal: eq. 2 to the letter, without the "
        "encoded prompt underneath; the text is followed weakly.",
        since=2,
    )
    image_tokens: str = choice(
        "patches",
        ("patches", "pooled"),
        "What AFun reads of the style picture (K and V of eq. 2). patches: all tokens of CLIP vision; pooled: its class "
        "token alone, with which every word gets the same answer.",
        since=2,
    )
    learned_row: bool = flag(
        True,
        f"Whether {PLACEHOLDER} has an embedding of its own that is learned; without, it stays the initial word.",
        since=2,
    )
    form: str = choice(
        "full",
        ("full", "low_rank", "per_channel"),
        "Maps of CFun. full: every channel steers every other; low_rank: the same through a few numbers; per_channel: each "
        "channel steers itself alone.",
        label="CFun form",
        since=2,
    )
    rank: int = whole(16, 1, 512, "Rank of CFun's maps with form low_rank.", label="CFun rank", since=2)
    stats: str = choice(
        "std",
        ("none", "std", "mean", "mean_std"),
        "Statistics over each channel that steer CFun. none: gamma and beta are constants. The mean carries content, so "
        "mean and mean_std leak more of the style picture.",
        label="CFun stats",
        since=2,
    )
    place: str = choice(
        "residual",
        ("residual", "output", "norm", "attention"),
        "Where CFun acts. residual: on the ResBlock's residual branch, before the skip is added; output: after it; norm: "
        "after the branch's second normalisation; attention: after the attention that follows the ResBlock, where there "
        "is one (leaks more of the style picture).",
        label="CFun place",
        since=2,
    )
    prompt: str = choice(
        "description",
        ("description", "pseudo_word"),
        f"The text of the training. description: the face description; pseudo_word: {PLACEHOLDER} alone.",
        label="The training prompt",
        since=2,
    )
    compact: bool = flag(
        False,
        "A file without AFun's layers and the style picture's tokens: enough to draw, not to learn on. Made by the export.",
        since=2,
    )

    def __post_init__(self):
        object.__setattr__(self, "description", check_description(self.description))
        check_options(self)
        require(
            not (self.abstract_mode == "sequence_literal" and self.image_tokens == "pooled"),
            "abstract_mode is sequence_literal and image_tokens is pooled: the softmax over one token is 1 and the text "
            "would be ignored altogether.",
            "patches with sequence_literal",
            "set image_tokens to patches",
        )
        require(
            not self.compact or self.abstract_mode == "token",
            f"A compact adapter with abstract_mode {self.abstract_mode} could not read a prompt.",
            "compact only with abstract_mode token",
            "export without compact",
        )

    @property
    def training_text(self) -> str:
        """The text that the training encodes."""
        return PLACEHOLDER if self.prompt == "pseudo_word" else self.description

    @property
    def format_version(self) -> int:
        """The oldest version of the file format that can say all of this."""
        used = [
            option.since for name, option in options_of(self).items() if getattr(self, name) != default_of(self, name)
        ]
        return max([1, *used])

    def as_dict(self) -> dict:
        """All fields that format version 1 knows, and the newer ones if any of them is used."""
        version = self.format_version
        known = {name for name, option in options_of(self).items() if option.since <= version}
        return {name: value for name, value in dataclasses.asdict(self).items() if name in known}


@dataclass(frozen=True)
class DrawConfig:
    """How portraits are drawn. Kept in the picture by the command line."""

    seed: int = whole(0, 0, 2**64 - 1, "The noise it starts from.")
    steps: int = whole(40, 1, 1000, "Sampling steps.", label="The number of steps")
    cfg: float = number(5.0, 0.0, 100.0, "How strictly the prompt is followed.", label="The guidance (cfg)", step=0.1)
    batch: int = whole(1, 1, 64, "Portraits at once.", label="The batch size")
    palette_hold: float = number(
        PALETTE_HOLD,
        0.0,
        1.0,
        "From a photo's noise: how far noise and portrait go toward the colours and contrasts of the style picture; 0 keeps "
        "the photo's.",
    )

    def __post_init__(self):
        check_options(self)


@dataclass(frozen=True)
class TrainConfig:
    """How the adapter is learned. Kept in the adapter file as a record."""

    steps: int = whole(
        500, 1, 100_000, "Optimizer steps; each is one style pass and one face pass.", label="Training steps"
    )
    learning_rate: float = number(1e-4, 1e-9, 1.0, "Step size of AdamW, the same for every width of base.", step=1e-6)
    style_weight: float = number(0.8, 0.0, 100.0, "Weight of the style term of eq. 4.")
    face_weight: float = number(1.0, 0.0, 100.0, "Weight of the face term of eq. 4.")
    seed: int = whole(0, 0, 2**64 - 1, "Seeds initialisation, dropout, timesteps and noise.")
    warmup_steps: int = whole(
        20, 0, 100_000, "The learning rate rises linearly from 0 over this many steps.", label="Warm-up"
    )
    max_grad_norm: float = number(1.0, 1e-6, 1e6, "Gradients are clipped to this L2 norm.", label="The gradient limit")
    noisy_source: str = choice(
        "own",
        ("own", "own_shared", "blend", "face", "style", "random"),
        "What the UNet sees noised in eq. 4. own: each term its own picture; own_shared: the same with one timestep and "
        "one noise for both; blend, face, style, random: both terms see one and the same noised picture (the mean of "
        "both, the face, the style, or either by chance).",
    )
    target: str = choice(
        "epsilon",
        ("epsilon", "x0", "v"),
        "What the loss compares: epsilon, what the base itself predicts, the noise or, on a v-prediction base, the velocity; "
        "x0, the clean latent; v, the velocity. This only weighs the timesteps: 1, 1/SNR and 1 + 1/SNR where the base "
        "predicts noise, 1, 1/(1 + SNR) and 1 where it predicts v.",
    )
    min_snr_gamma: float = number(
        0.0,
        0.0,
        100.0,
        "Weighs timesteps by min(SNR, gamma) in the clean latent, whatever the target; 0 is off, 5 is usual.",
        step=0.5,
    )
    timestep_split: float = number(
        0.0,
        0.0,
        0.95,
        "The face term learns only above this share of the timesteps (high noise, structure), the style term only below "
        "it (texture); 0 is off. Against the style picture's pose.",
    )
    style_crop: float = number(
        0.0, 0.0, 0.7, "Largest share of the side that random crops of the style picture cut away; 0 is off."
    )
    style_flip: bool = flag(False, "Whether half of the style picture's variants are mirrored.")
    style_colour: float = number(
        0.0, 0.0, 1.0, "How far brightness, contrast and saturation of the style picture's variants vary; 0 is off."
    )
    style_variants: int = whole(
        16,
        2,
        256,
        "How many variants of the style picture are encoded before the training, with crops, flips or colour.",
    )
    copy_guard_every: int = whole(
        0,
        0,
        100_000,
        "Looks every so many steps whether the adapter only copies its two pictures, keeps the best one that does not, and "
        "stops when it does; 0 is off. A look costs about ten steps.",
    )
    copy_limit: float = number(
        COPY_LIMIT,
        0.0,
        1.0,
        "How much of a drawn picture may be explained by the two training pictures (R^2, 1 is a copy or a blend).",
    )
    # Last, because saved workflows hold the values of widgets by their position.
    learning_rate_end: float = number(
        1.0, 0.0, 1.0, "Share of the learning rate that is left at the last step, on half a cosine; 1 keeps it."
    )

    def __post_init__(self):
        check_options(self)
        require(
            self.style_weight + self.face_weight > 0,
            "Both loss weights are 0.",
            "at least one above 0",
            "use 0.8 for the style and 1.0 for the face",
        )
        require(
            self.timestep_split == 0 or self.noisy_source == "own",
            f"timestep_split is {self.timestep_split} with noisy_source {self.noisy_source}: both terms share a timestep.",
            "a split only with noisy_source own",
            "set noisy_source to own or timestep_split to 0",
        )

    @property
    def varies_style(self) -> bool:
        """Whether the training needs variants of the style picture."""
        return self.style_crop > 0 or self.style_flip or self.style_colour > 0

    def due(self, step: int, every: int) -> bool:
        """Whether what happens every so many steps, 0 for never, happens after this one; the last step always counts."""
        return every > 0 and (step % every == 0 or step == self.steps)

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class TransferConfig:
    """What a portrait takes from its photo and from the style picture while it is drawn, without any training.

    :mod:`acfun_core.transfer` says what each does. Kept in the picture by the command line.
    """

    keep: float = number(
        0.75,
        0.0,
        1.0,
        "Share of the photo's own questions (queries) in the decoder's self-attention: how strictly features keep their place.",
    )
    sharpness: float = number(
        1.5,
        0.1,
        10.0,
        "Factor of the attention's scores: how decidedly each place picks one part of the style picture.",
    )
    keys_start: float = number(0.0, 0.0, 1.0, "Share of the sampling after which attention reads the style picture.")
    branch: float = number(
        0.2,
        0.0,
        1.0,
        "Branch swap: how far the last two ResBlocks go toward what they make of like places of the style picture. "
        "Strokes and lines; too much breaks mouths and eyes.",
    )
    latent: float = number(
        0.3,
        0.0,
        1.0,
        "Latent swap: how far the picture in the making goes toward like places of the style picture, from 0.2 to 0.8 of "
        "the sampling. Flat areas and the paper's tone.",
    )
    returned: float = number(
        0.0,
        0.0,
        1.0,
        "Share of the error of the way to the photo's noise that is given back on the way home. Sharpens the person.",
    )
    palette_start: float = number(
        1.0,
        0.0,
        1.0,
        "How far the noise goes toward mean and deviation of the style picture's noise before the first step.",
    )
    palette_mean: float = number(
        0.0, 0.0, 1.0, "How far the mean of the picture in the making goes toward the style picture's, at each step."
    )
    palette_deviation: float = number(0.0, 0.0, 1.0, "The same for its deviation, the contrast of each channel.")
    turn: float = number(
        0.0,
        0.0,
        1.0,
        "How far the photo's noise is turned toward the seed's: 0 keeps the person's place and light, 1 is pure noise.",
    )
    background: float = number(
        0.0,
        0.0,
        1.0,
        "How far the noise around the head, outside an oval in the middle, is turned toward the style picture's own: its "
        "ground in place of the photo's.",
    )
    # Last, because saved workflows hold the values of widgets by their position.
    calm: float = number(
        0.0,
        0.0,
        1.0,
        "For photos that are the frames of a film: how far each picture in the making goes toward like places of those before "
        "and after it, up to 0.8 of the sampling. Less flicker, and cleaner lines.",
    )

    def __post_init__(self):
        check_options(self)

    def stronger(self, factor: float) -> TransferConfig:
        """The same with branch swap, latent swap and return times a factor of 0 to 2, each 1 at most."""
        check_range("strength of the transfer", factor, 0.0, 2.0, 1)
        names = ("branch", "latent", "returned")
        return dataclasses.replace(self, **{name: min(1.0, factor * getattr(self, name)) for name in names})
