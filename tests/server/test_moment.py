"""Windows under schedules of every kind, against what they must be when put together by hand."""

from __future__ import annotations

import pytest

from tools.comfy.client import ComfyClient
from tools.comfy.graphs import (
    PROMPT,
    adapter_options,
    apply_node,
    base_graph,
    compare_node,
    ksampler_nodes,
    node,
    train_node,
)

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


def test_nodes_that_combine_conditionings_know_one_part_of_a_windowed_word(client):
    """As the page of Adapter Options says: in their second input the first part alone counts, and one range for all parts draws
    the mean of their pictures. In their first input all parts stay."""
    graph = {**base_graph(), "train": train_node(resolution=SIDE, name="word"), **ksampler_nodes()}
    for name, end in (("half", 0.5), ("whole", 1.0)):
        graph[f"{name}_options"] = adapter_options(abstract_end=end)
        graph[f"{name}_word"] = apply_node(strengths=(1.0, 0.0, 0.0))
        graph[f"{name}_word"]["inputs"]["options"] = [f"{name}_options", 0]
        graph[name] = node("CLIPTextEncode", clip=[f"{name}_word", 1], text=PROMPT)
    graph["man"] = node("CLIPTextEncode", clip=["base", 1], text="a photo of a man")

    def both(kind: str, one: str, two: str, **settings) -> dict:
        return node(kind, conditioning_to=[one, 0], conditioning_from=[two, 0], **settings)

    def during(conditioning: str, start: float, end: float) -> dict:
        return node("ConditioningSetTimestepRange", conditioning=[conditioning, 0], start=start, end=end)

    def together(one: str, two: str) -> dict:
        return node("ConditioningCombine", conditioning_1=[one, 0], conditioning_2=[two, 0])

    share = {"conditioning_to_strength": 0.5}
    graph |= {
        "second": both("ConditioningConcat", "man", "half"),
        "second_hand": both("ConditioningConcat", "man", "whole"),
        "mean": both("ConditioningAverage", "man", "half", **share),
        "mean_hand": both("ConditioningAverage", "man", "whole", **share),
        "range": during("half", 0.0, 1.0),
        "range_hand": together("whole", "positive"),
        "first": both("ConditioningConcat", "half", "man"),
        "with_word": both("ConditioningConcat", "whole", "man"),
        "without_word": both("ConditioningConcat", "positive", "man"),
        "early": during("with_word", 0.0, 0.5),
        "late": during("without_word", 0.5, 1.0),
        "first_hand": together("early", "late"),
    }
    pairs = {}
    for name in ("second", "mean", "range", "first"):
        for end in (name, f"{name}_hand"):
            graph[f"{end}_drawn"] = {**graph["stock"], "inputs": {**graph["stock"]["inputs"], "positive": [end, 0]}}
        pairs[f"{name}_same"] = ([f"{name}_drawn", 0], [f"{name}_hand_drawn", 0])
    graph["with_word_drawn"] = {**graph["stock"], "inputs": {**graph["stock"]["inputs"], "positive": ["with_word", 0]}}
    found = differences(client, graph, **pairs, ends=(["first_drawn", 0], ["with_word_drawn", 0]))
    assert all(found[name] < 1e-4 for name in pairs), found
    assert found["ends"] > 1e-3, found
