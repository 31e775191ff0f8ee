"""ACFun Style Transfer in the real server: what stock samplers draw with it, that the core draws the same, what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from acfun_core.backends.transferring import Transfer
from acfun_core.config import TransferConfig
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from tools import parity
from tools.comfy.client import Interrupted
from tools.comfy.graphs import PLAIN_PROMPT, PROMPT, SIDE, base_graph, compare_node, ksampler_nodes, node, sampler_node

from .test_bad_input import refused
from .test_method import digest
from .test_photo_noise import pictures, saved
from .workflow_runs import tells_its_steps

pytestmark = pytest.mark.server
STEPS = 4
FULL = TransferConfig(returned=0.3, branch=0.3, latent=0.4, palette_mean=0.3, palette_deviation=0.2, turn=0.2)
"""Everything at once."""


def transfer_node(model=("base", 0), **changes) -> dict:
    settings = {"model": list(model), "clip": ["base", 1], "vae": ["base", 2], "photo": ["face", 0]}
    settings |= {"style_image": ["style", 0], "preset": "instant", "strength": 1.0, "resolution": SIDE, "steps": STEPS}
    return node("ACFunStyleTransfer", **{**settings, **changes})


def with_options(config: TransferConfig, **changes) -> dict:
    options = node("ACFunTransferOptions", **dataclasses.asdict(config))
    return {"options": options, "patched": transfer_node(options=["options", 0], **changes)}


def drawn(base, config: TransferConfig, side: int = SIDE, **settings) -> torch.Tensor:
    """What the core draws with the settings of ``ksampler_nodes``."""
    photo, style = pictures()
    references = base.references(photo, style, STEPS, side)
    return base.sample(
        **{"prompt": PLAIN_PROMPT, "seed": 3, "steps": STEPS, "cfg": 3.0, **settings},
        transfer=Transfer(references, config),
    )


@pytest.mark.parametrize("config", [TransferConfig(), FULL], ids=["instant", "everything"])
def test_ksampler_draws_what_the_core_draws(comfy, client, base, config):
    graph = {**base_graph(), **with_options(config), **ksampler_nodes(model=("patched", 0), latent=("patched", 1))}
    [stock] = saved(comfy, client, graph, "stock")
    assert (stock - drawn(base, config)).abs().max() <= parity.LIMIT


def test_a_side_that_the_widget_offers_and_the_command_line_takes_was_refused(comfy, client, base):
    """Odd at every level: 9, 5 and 3 places a side, and on Stable Diffusion 2.x, which has one level more, 2."""
    graph = {
        **base_graph(),
        **with_options(FULL, resolution=72),
        **ksampler_nodes(("patched", 0), latent=("patched", 1)),
    }
    [stock] = saved(comfy, client, graph, "stock")
    wanted = drawn(base, FULL, 72, size=(72, 72))
    assert stock.shape == wanted.shape == (1, 4, 9, 9) and (stock - wanted).abs().max() <= parity.LIMIT
    graph["sd2"] = node("ProbeSD2", predicts_v=True)
    graph["patched"]["inputs"] |= {"model": ["sd2", 0], "clip": ["sd2", 1]}
    for text in ("positive", "negative"):
        graph[text]["inputs"]["clip"] = ["sd2", 1]
    assert "finite=True" in client.run({**graph, "shown": compare_node(["stock", 0], ["stock", 0])}).texts("shown")[0]
    graph["patched"] = transfer_node(resolution=100)
    refused(
        client, {**graph, "shown": compare_node(["stock", 0], ["stock", 0])}, "portrait's side is 100.*multiple of 8"
    )


def test_with_an_adapter_before_or_after_it_is_the_same(comfy, client, base):
    """The references pass without CFun; the portrait's pass has both, CFun first."""
    adapter = parity.random_adapter(base)
    adapter_file.save(adapter, comfy.folder("models/acfun") / "transfer_parity.safetensors")
    strengths = Strengths(encoder=0.5)
    settings = {"clip": ["base", 1], "adapter_name": "transfer_parity.safetensors", **parity.three_strengths(strengths)}
    graph = {
        **base_graph(),
        **with_options(FULL),
        "after": node("ACFunLoadAdapter", model=["patched", 0], **settings),
        "first": node("ACFunLoadAdapter", model=["base", 0], **settings),
        "before": transfer_node(model=("first", 0), options=["options", 0]),
        "one": sampler_node(["after", 0], "after"),
        "two": sampler_node(["before", 0], "first"),
        "same": compare_node(["one", 0], ["two", 0]),
    }
    [one] = saved(comfy, client, graph, "one")
    assert client.run(graph).texts("same")[0].endswith("equal=True")
    wanted = drawn(base, FULL, prompt=PROMPT, members=[(adapter, strengths)])
    assert (one - wanted).abs().max() <= parity.LIMIT


def test_behind_a_node_that_clones_the_model_half_of_it_was_lost(client):
    """The host copies a MODEL's options deeply: latent swap, return and palette were left to a copy that saw no reference."""
    stock = ksampler_nodes(model=("patched", 0), latent=("patched", 1))
    behind = {**stock["stock"], "inputs": {**stock["stock"]["inputs"], "model": ["cloned", 0]}}
    graph = {
        **base_graph(),
        **with_options(FULL),
        **stock,
        "cloned": node("DifferentialDiffusion", model=["patched", 0]),
        "behind": behind,
        "same": compare_node(["stock", 0], ["behind", 0]),
    }
    assert client.run(graph).texts("same")[0].endswith("equal=True")


def test_the_model_before_it_draws_as_ever(client):
    before = digest(client)
    graph = {**base_graph(), "patched": transfer_node(), **ksampler_nodes(model=("patched", 0))}
    plain = {f"plain {name}": one for name, one in ksampler_nodes().items()}
    for one in plain.values():
        one["inputs"] = {
            name: [f"plain {value[0]}", value[1]] if isinstance(value, list) and value[0] in ksampler_nodes() else value
            for name, value in one["inputs"].items()
        }
    unpatched = {**base_graph(), **ksampler_nodes(), "keep": compare_node(["stock", 0], ["stock", 0])}
    first = client.run(unpatched).texts("keep")[0]
    both = client.run({**graph, **plain, "differs": compare_node(["stock", 0], ["plain stock", 0])})
    assert both.texts("differs")[0].endswith("finite=True equal=False")
    # Cached nodes would say the same whatever happened; another seed makes the server draw.
    unpatched["stock"]["inputs"]["seed"] = 4
    client.run(unpatched)
    unpatched["stock"]["inputs"]["seed"] = 3
    assert client.run(unpatched).texts("keep")[0] == first
    assert digest(client) == before


def test_a_sampler_that_adds_no_noise_goes_on_with_its_latent(client):
    """The second half of a sampling is not sent back to the photo."""
    stock = ksampler_nodes(model=("patched", 0), latent=("patched", 1))
    settings = {**stock.pop("stock")["inputs"], "return_with_leftover_noise": "disable"}
    settings["noise_seed"] = settings.pop("seed")
    settings.pop("denoise")
    first = {**settings, "add_noise": "enable", "return_with_leftover_noise": "enable"}
    graph = {
        **base_graph(),
        "patched": transfer_node(),
        **stock,
        "whole": node("KSamplerAdvanced", **settings, add_noise="enable", start_at_step=0, end_at_step=STEPS),
        "half": node("KSamplerAdvanced", **first, start_at_step=0, end_at_step=2),
        "rest": node(
            "KSamplerAdvanced",
            **{**settings, "latent_image": ["half", 0]},
            add_noise="disable",
            start_at_step=2,
            end_at_step=STEPS,
        ),
        "close": compare_node(["whole", 0], ["rest", 0]),
    }
    assert client.run(graph).texts("close")[0].endswith("equal=True")


def test_it_tells_its_steps_and_ends_within_one_when_cancelled(client):
    graph = {**base_graph(), "patched": transfer_node(steps=7), **ksampler_nodes(("patched", 0), latent=("patched", 1))}
    run = client.run({**graph, "shown": compare_node(["stock", 0], ["stock", 0])})
    assert tells_its_steps(run.progress("patched"), 7)
    before, seen = digest(client), []

    def cancel(event):
        if event.kind == "progress" and event.node == "patched":
            seen.append(event.data["value"])
            if event.data["value"] >= 3:
                client.interrupt()

    graph["patched"] = transfer_node(steps=500)
    with pytest.raises(Interrupted):
        client.run({**graph, "shown": compare_node(["stock", 0], ["stock", 0])}, on_event=cancel)
    assert max(seen) <= 20
    assert digest(client) == before


def test_misfits_are_refused_in_words(client):
    stock = ksampler_nodes(model=("patched", 0), side=2 * SIDE)
    shown = {"shown": compare_node(["stock", 0], ["stock", 0])}
    graph = {**base_graph(), "patched": transfer_node(), **stock, **shown}
    refused(client, graph, "128 x 128 pixels, the photo was read at 64 x 64")
    both = node("ImageBatch", image1=["face", 0], image2=["face", 0])
    graph = {
        **base_graph(),
        "both": both,
        "patched": transfer_node(photo=["both", 0]),
        **ksampler_nodes(("patched", 0)),
    }
    graph |= shown
    refused(client, graph, "2 photos for 1 portraits")


def test_each_photo_of_a_batch_is_drawn_beside_itself(comfy, client):
    both = node("ImageBatch", image1=["face", 0], image2=["style", 0])
    graph = {
        **base_graph(),
        "both": both,
        "patched": transfer_node(photo=["both", 0]),
        **ksampler_nodes(("patched", 0), latent=("patched", 1)),
    }
    [pair] = saved(comfy, client, graph, "stock")
    alone = {**base_graph(), "patched": transfer_node(), **ksampler_nodes(("patched", 0), latent=("patched", 1))}
    [one] = saved(comfy, client, alone, "stock")
    assert (pair[:1] - one).abs().max() <= parity.LIMIT
    assert (pair[1:] - one).abs().max() > 0.1


def test_frames_of_a_film_are_led_as_the_core_leads_them(comfy, client, base):
    """The whole batch at once, after guidance; a single photo has no neighbours, and the node says so."""
    config = dataclasses.replace(FULL, calm=0.5)
    graph = {
        **base_graph(),
        "both": node("ImageBatch", image1=["face", 0], image2=["style", 0]),
        **with_options(config, photo=["both", 0]),
        **ksampler_nodes(("patched", 0), latent=("patched", 1)),
    }
    [calm] = saved(comfy, client, graph, "stock")
    photo, style = pictures()
    references = base.references(torch.cat([photo, style]), style, STEPS, SIDE)
    how = {"prompt": PLAIN_PROMPT, "seed": 3, "steps": STEPS, "cfg": 3.0, "batch": 2}
    led, unled = (base.sample(**how, transfer=Transfer(references, each)) for each in (config, FULL))
    assert (calm - led).abs().max() <= parity.LIMIT < (led - unled).abs().max()
    alone = {**base_graph(), **with_options(config), "shown": node("PreviewAny", source=["patched", 1])}
    run = client.run(alone)
    told = [event.data["text"] for event in run.events if event.kind == "text" and event.node == "patched"]
    assert told == ["calm is for the frames of a film: a single photo has no neighbours, and nothing is led."]
