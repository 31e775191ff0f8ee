"""Windows and cond-only under schedules and guiders of every kind, against what they must be when put together by hand."""

from __future__ import annotations

import pytest

from tools.comfy.client import ComfyClient
from tools.comfy.graphs import adapter_options, apply_node, base_graph, compare_node, node, train_node

SIDE, STEPS = 64, 4
SCHEDULES = {
    "epsilon": [],
    "lcm": [("ModelSamplingDiscrete", {"sampling": "lcm", "zsnr": False})],
    "v_zsnr": [("ModelSamplingDiscrete", {"sampling": "v_prediction", "zsnr": True})],
    "edm": [("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 14.6, "sigma_min": 0.03})],
}


def texts() -> dict:
    prompts = {"positive": "a photo of a man", "middle": "a painting of a woman", "negative": "glasses"}
    return {name: node("CLIPTextEncode", clip=["base", 1], text=text) for name, text in prompts.items()}


def patched(graph: dict, model: tuple, name: str, patches: list) -> tuple:
    """Model patches one after the other on a MODEL of the graph. -> the last one's output."""
    for number, (kind, settings) in enumerate(patches):
        graph[f"{name}_{number}"] = node(kind, model=list(model), **settings)
        model = (f"{name}_{number}", 0)
    return model


def applied(graph: dict, name: str, model: tuple, **options) -> tuple:
    """A MODEL with the adapter's concrete half on it, with these options. -> its output."""
    graph[f"{name}_options"] = adapter_options(**options)
    graph[name] = apply_node(model=model, strengths=(0.0, 1.0, 1.0))
    graph[name]["inputs"]["options"] = [f"{name}_options", 0]
    return name, 0


def drawing() -> dict:
    """The base, an adapter, prompts, noise and a sampler that adds no noise of its own."""
    return {
        **base_graph(),
        "train": train_node(resolution=SIDE, steps=4, name="moment"),
        **texts(),
        "empty": node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=2),
        "noise": node("RandomNoise", noise_seed=5),
        "no_noise": node("DisableNoise"),
        "euler": node("KSamplerSelect", sampler_name="euler"),
    }


def cfg_guider(model: tuple) -> dict:
    return node("CFGGuider", model=list(model), positive=["positive", 0], negative=["negative", 0], cfg=2.5)


def custom(guider: str, sigmas: tuple, noise: str = "noise", latent: tuple = ("empty", 0)) -> dict:
    return node(
        "SamplerCustomAdvanced",
        noise=[noise, 0],
        guider=[guider, 0],
        sampler=["euler", 0],
        sigmas=list(sigmas),
        latent_image=list(latent),
    )


def differences(client: ComfyClient, graph: dict, **pairs) -> dict[str, float]:
    """Largest difference of pairs of latents. All must be finite."""
    run = client.run({**graph, **{name: compare_node(*pair) for name, pair in pairs.items()}})
    found = {name: run.texts(name)[0].split() for name in pairs}
    assert all(finite == "finite=True" for _, finite, _ in found.values()), found
    return {name: float(difference) for name, (difference, _, _) in found.items()}


@pytest.mark.parametrize("order", ["patched first", "patched last"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_window_ends_where_the_host_s_shares_say_under_every_schedule(client, schedule, order):
    """By timesteps, a window closed at once under lcm and EDM: the adapter was silently away. By hand: the steps whose share is
    at most a half with the adapter, then the others without."""
    graph, patches = drawing(), SCHEDULES[schedule]
    if order == "patched first":
        base = patched(graph, ("base", 0), "schedule", patches)
        half, whole = applied(graph, "half", base, encoder_end=0.5, decoder_end=0.5), applied(graph, "whole", base)
    else:
        base = patched(graph, ("base", 0), "schedule", patches)
        half = patched(
            graph, applied(graph, "half", ("base", 0), encoder_end=0.5, decoder_end=0.5), "half_late", patches
        )
        whole = patched(graph, applied(graph, "whole", ("base", 0)), "whole_late", patches)
    graph |= {
        "sigmas": node("BasicScheduler", model=list(base), scheduler="normal", steps=STEPS, denoise=1.0),
        # Shares of four steps are 0, 1/3, 2/3 and 1, or a little less under lcm, which knows every twentieth timestep.
        "split": node("SplitSigmas", sigmas=["sigmas", 0], step=2),
        **{f"{name}_guider": cfg_guider(model) for name, model in (("base", base), ("half", half), ("whole", whole))},
        "windowed": custom("half_guider", ("sigmas", 0)),
        "always": custom("whole_guider", ("sigmas", 0)),
        "first": custom("whole_guider", ("split", 0)),
        "by_hand": custom("base_guider", ("split", 1), "no_noise", ("first", 0)),
        "never": custom("base_guider", ("sigmas", 0)),
    }
    found = differences(
        client,
        graph,
        from_by_hand=(["windowed", 0], ["by_hand", 0]),
        from_always=(["windowed", 0], ["always", 0]),
        from_never=(["windowed", 0], ["never", 0]),
    )
    assert found["from_by_hand"] < 1e-3, found
    assert found["from_always"] > 1e-2 and found["from_never"] > 1e-2, found


def one_step(graph: dict, name: str, guider: dict) -> None:
    """A single step to the clean latent, which is then what the guider made of its passes."""
    graph[f"{name}_guider"] = guider
    graph[name] = custom(f"{name}_guider", ("sigmas", 0))


def added(graph: dict, name: str, parts: list[tuple[float, str]]) -> None:
    """``name`` as a weighted sum of latents."""
    total = None
    for number, (weight, latent) in enumerate(parts):
        graph[f"{name}_{number}"] = node("LatentMultiply", samples=[latent, 0], multiplier=weight)
        here = f"{name}_{number}"
        if total is not None:
            graph[f"{name}_sum_{number}"] = node("LatentAdd", samples1=[total, 0], samples2=[here, 0])
            here = f"{name}_sum_{number}"
        total = here
    graph[name] = node("LatentMultiply", samples=[total, 0], multiplier=1.0)


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_cond_only_means_the_prompts_of_a_dual_guider(client, style):
    """Its passes come as negative, middle, positive: the adapter was in the negative one, and nowhere else."""
    graph = drawing()
    cond = applied(graph, "cond", ("base", 0), guidance="cond")
    whole = applied(graph, "whole", ("base", 0))
    graph["sigmas"] = node("BasicScheduler", model=["base", 0], scheduler="normal", steps=1, denoise=1.0)
    conds = {"cond1": ["positive", 0], "cond2": ["middle", 0], "negative": ["negative", 0]}
    dual = node("DualCFGGuider", model=list(cond), **conds, cfg_conds=2.0, cfg_cond2_negative=3.0, style=style)
    one_step(graph, "dual", dual)
    for name, model in (("positive", whole), ("middle", whole), ("negative", ("base", 0))):
        one_step(graph, f"{name}_alone", node("BasicGuider", model=list(model), conditioning=[name, 0]))
    if style == "regular":  # negative + 3 (middle - negative) + 2 (positive - middle)
        parts = [(-2.0, "negative_alone"), (1.0, "middle_alone"), (2.0, "positive_alone")]
    else:  # negative + 3 (middle + 2 (positive - middle) - negative)
        parts = [(-2.0, "negative_alone"), (-3.0, "middle_alone"), (6.0, "positive_alone")]
    added(graph, "by_hand", parts)
    one_step(graph, "both", {**dual, "inputs": {**dual["inputs"], "model": list(whole)}})
    found = differences(client, graph, from_by_hand=(["dual", 0], ["by_hand", 0]), from_both=(["dual", 0], ["both", 0]))
    assert found["from_by_hand"] < 2e-3, found
    assert found["from_both"] > 1e-2, found
