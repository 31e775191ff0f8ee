"""Every guider, in and after a window, in both passes or the prompt's alone, under every schedule.

A single step to the clean latent shows what a guider made of its passes. Expected is what its formula makes of the same passes
drawn one by one, with the adapter in those it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tools.comfy.graphs import node

from .test_moment import SCHEDULES, applied, custom, drawing, patched
from .test_photo_noise import saved

TEXTS = {"positive": "a photo of a man", "middle": "a painting of a woman", "negative": "glasses", "nothing": ""}
PROMPTS = ("positive", "middle")
SHARES = {"in": 0.3, "after": 0.7}
"""Of the sampling that are over, in and after the window that ends at a half."""
WHO = {"in": ("both", "cond"), "after": ("cond",)}
"""Whom the adapter is for in the samplings of each moment."""
Passes = dict[str, Tensor]


@dataclass(frozen=True)
class Guided:
    """A guider, and the patch before it that adds a pass.

    Attributes:
        inputs: of its node, without the MODEL.
        made_of: what it makes of its passes.
        patch: kind and settings.
        beside: further MODEL inputs, which take the base.
    """

    kind: str
    inputs: dict
    made_of: Callable[[Passes], Tensor]
    patch: tuple[str, dict] | None = None
    beside: tuple[str, ...] = ()


def cfg(scale: float) -> Callable[[Passes], Tensor]:
    """Ho and Salimans 2022."""
    return lambda of: of["negative"] + scale * (of["positive"] - of["negative"])


def perp_neg(scale: float, away: float) -> Callable[[Passes], Tensor]:
    """Armandpour et al. 2023: of the negative's direction only what is at right angles to the positive's."""

    def made(of: Passes) -> Tensor:
        plus, minus = of["positive"] - of["nothing"], of["negative"] - of["nothing"]
        across = minus - (minus * plus).sum() / plus.square().sum() * plus
        return of["nothing"] + scale * (plus - away * across)

    return made


def two_prompts(outer: float, inner: float, nested: bool) -> Callable[[Passes], Tensor]:
    """Brooks et al. 2023, their equation 3; nested, guidance of a guided prediction."""

    def made(of: Passes) -> Tensor:
        if nested:
            return of["negative"] + outer * (of["middle"] + inner * (of["positive"] - of["middle"]) - of["negative"])
        step = of["middle"] - of["negative"]
        return of["negative"] + outer * step + inner * (of["positive"] - of["middle"])

    return made


def wired(*names: str, **others: str) -> dict:
    """Conditionings by the inputs that take them."""
    return {name: [text, 0] for name, text in ({name: name for name in names} | others).items()}


PAIR = wired("positive", "negative")
PERP = wired("positive", "negative", empty_conditioning="nothing")
DUAL = {**wired("negative", cond1="positive", cond2="middle"), "cfg_conds": 2.0, "cfg_cond2_negative": 3.0}
GUIDERS = {
    "basic": Guided("BasicGuider", wired(conditioning="positive"), lambda of: of["positive"]),
    "cfg": Guided("CFGGuider", {**PAIR, "cfg": 2.5}, cfg(2.5)),
    "dual_regular": Guided("DualCFGGuider", {**DUAL, "style": "regular"}, two_prompts(3.0, 2.0, nested=False)),
    "dual_nested": Guided("DualCFGGuider", {**DUAL, "style": "nested"}, two_prompts(3.0, 2.0, nested=True)),
    "perp_neg": Guided("PerpNegGuider", {**PERP, "cfg": 2.5, "neg_scale": 0.7}, perp_neg(2.5, 0.7)),
    "perp_neg_patch": Guided(
        "CFGGuider",
        {**PAIR, "cfg": 2.5},
        perp_neg(2.5, 0.7),
        patch=("PerpNeg", {"empty_conditioning": ["nothing", 0], "neg_scale": 0.7}),
    ),
    # Passes with parts of the UNet changed, which nobody can draw alone: see "beyond" below.
    "sag": Guided(
        "CFGGuider",
        {**PAIR, "cfg": 2.5},
        lambda of: cfg(2.5)(of) + of["beyond_sag"],
        patch=("SelfAttentionGuidance", {"scale": 0.5, "blur_sigma": 2.0}),
    ),
    "pag": Guided(
        "CFGGuider",
        {**PAIR, "cfg": 2.5},
        lambda of: cfg(2.5)(of) + of["beyond_pag"],
        patch=("PerturbedAttentionGuidance", {"scale": 0.5}),
    ),
    "two_models": Guided("DualModelGuider", {**PAIR, "cfg": 2.5}, cfg(2.5), beside=("model_negative",)),
    "two_scales": Guided("LTXVDualCFGGuider", {**PAIR, "video_cfg": 2.5, "audio_cfg": 7.0}, cfg(2.5)),
}


def graph_of(schedule: str, guiders: dict[str, Guided]) -> dict:
    """Drawn in one run: single passes (``MOMENT base|whole TEXT``) and guiders (``MOMENT NAME both|cond``)."""
    graph = drawing() | {name: node("CLIPTextEncode", clip=["base", 1], text=text) for name, text in TEXTS.items()}
    graph["empty"]["inputs"]["batch_size"] = 1
    base = patched(graph, ("base", 0), "schedule", SCHEDULES[schedule])
    window = {"encoder_end": 0.5, "decoder_end": 0.5}
    models = {"base": base, "whole": applied(graph, "whole", base)}
    models |= {who: applied(graph, who, base, guidance=who, **window) for who in ("both", "cond")}
    graph["steps"] = node("BasicScheduler", model=list(base), scheduler="normal", steps=1, denoise=1.0)
    for moment, share in SHARES.items():
        graph[f"{moment} level"] = node(
            "SamplingPercentToSigma", model=list(base), sampling_percent=share, return_actual_sigma=False
        )
        graph[f"{moment} sigmas"] = node("SetFirstSigma", sigmas=["steps", 0], sigma=[f"{moment} level", 0])

        def draw(name: str, guider: dict, moment: str = moment) -> None:
            graph[f"{moment} {name} guider"] = guider
            graph[f"{moment} {name}"] = custom(f"{moment} {name} guider", (f"{moment} sigmas", 0))

        # After the window nothing of the adapter is expected, whoever it is for.
        here = ("base", "whole") if moment == "in" else ("base",)
        for who in here:
            for text in TEXTS:
                draw(f"{who} {text}", node("BasicGuider", model=list(models[who]), conditioning=[text, 0]))
            if "pag" in guiders:
                model = patched(graph, models[who], f"{moment} {who} alone patch", [guiders["pag"].patch])
                draw(f"{who} alone", node("BasicGuider", model=list(model), conditioning=["positive", 0]))
        for name, guided in guiders.items():
            for who in (*WHO[moment], *(here if name == "sag" else ())):
                patches = [guided.patch] if guided.patch else []
                model = patched(graph, models[who], f"{moment} {name} {who} patch", patches)
                inputs = {**guided.inputs, **{beside: list(base) for beside in guided.beside}}
                draw(f"{name} {who}", node(guided.kind, model=list(model), **inputs))
    return graph


def expected(drawn: dict[str, Tensor], moment: str, guided: Guided, who: str) -> Tensor:
    """What the guider must have drawn at this moment with the adapter in ``both`` passes, or in the prompts' alone."""

    def adapted(text: str) -> str:
        return "whole" if moment == "in" and (who == "both" or text in PROMPTS) else "base"

    of = {text: drawn[f"{moment} {adapted(text)} {text}"] for text in TEXTS}
    # What perturbed attention adds depends on the pass with the prompt alone: it is there without a negative, too.
    prompt = adapted("positive")
    of["beyond_pag"] = drawn[f"{moment} {prompt} alone"] - drawn[f"{moment} {prompt} positive"]
    # What SAG adds depends on the negative's pass alone: it is there in a sampling with the adapter everywhere or nowhere.
    negative = adapted("negative")
    pair = {text: drawn[f"{moment} {negative} {text}"] for text in ("positive", "negative")}
    of["beyond_sag"] = drawn[f"{moment} sag {negative}"] - cfg(2.5)(pair)
    return guided.made_of(of)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_guider_gives_what_its_formula_makes_of_its_passes(comfy, client, schedule):
    """By its place in the batch, the adapter of ``cond`` was in the negative of dual guiders and nowhere else; passes that SAG
    and Perp-Neg add, and those of a second MODEL, had none or had it wrongly."""
    there = client.object_info()
    guiders = {name: guided for name, guided in GUIDERS.items() if guided.kind in there}
    assert set(guiders) >= {"basic", "cfg", "dual_regular", "dual_nested", "perp_neg", "perp_neg_patch", "sag", "pag"}
    graph = graph_of(schedule, guiders)
    names = [name for name, part in graph.items() if part["class_type"] == "SamplerCustomAdvanced"]
    drawn = dict(zip(names, saved(comfy, client, graph, *names)))
    for moment in SHARES:
        for name, guided in guiders.items():
            for who in WHO[moment]:
                found, wanted = drawn[f"{moment} {name} {who}"], expected(drawn, moment, guided, who)
                assert torch.isfinite(found).all()
                apart = (found - wanted).abs().max() / wanted.abs().max()
                assert apart < 1e-3, (moment, name, who, apart)
    for name in guiders:
        if name != "basic":
            change = drawn[f"in {name} both"] - drawn[f"in {name} cond"]
            assert change.abs().max() > 1e-2, f"{name}: both passes or the prompt's alone must not be the same"
