"""ACFun Photo Noise in the real server: what it gives, that the core gives the same, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from acfun_core.config import PALETTE_HOLD
from acfun_core.demo_base import NATIVE_SIDE
from acfun_core.diffusion.palette import Palette
from acfun_core.images import square
from acfun_core.storage import adapter_file
from acfun_core.strengths import Strengths
from tools import parity
from tools.comfy.client import Interrupted
from tools.comfy.graphs import PROMPT, SIDE, apply_node, base_graph, compare_node, node, sampler_node, train_node

from .test_bad_input import refused
from .test_method import digest
from .workflow_runs import tells_its_steps

pytestmark = pytest.mark.server
STEPS = 4


def noise_node(model=("base", 0), **changes) -> dict:
    settings = {"model": list(model), "clip": ["base", 1], "vae": ["base", 2], "photo": ["face", 0]}
    return node(
        "ACFunPhotoNoise", **{**settings, "steps": STEPS, "resolution": SIDE, "palette_hold": PALETTE_HOLD, **changes}
    )


def trained() -> dict:
    return {**base_graph(), "train": train_node(), "apply": apply_node()}


def saved(comfy, client, graph: dict, *names: str) -> list[torch.Tensor]:
    """The latents of these nodes."""
    client.run(
        {**graph, **{f"save {n}": node("SaveLatent", samples=[n, 0], filename_prefix=f"photo_{n}") for n in names}}
    )
    return [
        load_file(max(comfy.folder("output").glob(f"photo_{n}_*.latent"), key=lambda path: path.stat().st_mtime_ns))[
            "latent_tensor"
        ]
        for n in names
    ]


def pictures() -> list[torch.Tensor]:
    """Face and style of the base graph, (1, H, W, 3)."""
    from acfun_core.backends.pictures import read_picture

    files = [base_graph()[name]["inputs"]["picture"] for name in ("face", "style")]
    return [read_picture(parity.REPO / "pictures" / file, "picture") for file in files]


def test_the_core_finds_the_same_noise(comfy, client, base):
    """In ComfyUI the noise has the scale of the largest level; the base's VAE needs no other."""
    [found] = saved(comfy, client, {**base_graph(), "start": noise_node(style_image=["style", 0])}, "start")
    wanted = base.photo_noise(*pictures(), steps=STEPS, resolution=SIDE)
    scale = (1 + base.schedule.sigma(torch.tensor([999])) ** 2).sqrt() / base.vae.config.scaling_factor
    assert (found - scale * wanted).abs().max() <= 1e-3 * scale


def test_the_core_draws_the_same_from_it(comfy, client, base):
    adapter = parity.random_adapter(base)
    adapter_file.save(adapter, comfy.folder("models/acfun") / "photo_parity.safetensors")
    graph = {
        **base_graph(),
        "start": noise_node(style_image=["style", 0]),
        "plain": noise_node(style_image=["style", 0], palette_hold=0.0),
        "load": node(
            "ACFunLoadAdapter",
            model=["base", 0],
            clip=["base", 1],
            adapter_name="photo_parity.safetensors",
            **parity.three_strengths(Strengths()),
        ),
        "portrait": sampler_node(["load", 0], "load", start=["start", 0], cfg=1.0),
        "unheld": sampler_node(["load", 0], "load", start=["plain", 0], cfg=1.0),
    }
    portrait, unheld = saved(comfy, client, graph, "portrait", "unheld")
    photo, style = pictures()
    members, palette = [(adapter, Strengths())], Palette(base.encode(square(style, SIDE)))
    drawn = [
        base.sample(
            PROMPT,
            members=members,
            noise=base.photo_noise(photo, style, steps=STEPS, resolution=SIDE, hold=hold),
            palette=palette if hold else None,
            steps=STEPS,
            cfg=1.0,
        )
        for hold in (PALETTE_HOLD, 0.0)
    ]
    assert (portrait - drawn[0]).abs().max() <= parity.LIMIT
    assert (unheld - drawn[1]).abs().max() <= parity.LIMIT
    assert (drawn[0] - drawn[1]).abs().max() > 0.1


def test_it_shows_its_progress_and_leaves_the_model_untouched(client):
    before = digest(client)
    run = client.run({**base_graph(), "start": noise_node(steps=7), "same": compare_node(["start", 0], ["start", 0])})
    assert tells_its_steps(run.progress("start"), 7)
    assert digest(client) == before


def test_cancel_ends_it_within_a_step_and_leaves_nothing(client):
    before, seen = digest(client), []

    def cancel(event):
        if event.kind == "progress" and event.node == "start":
            seen.append(event.data["value"])
            # Not the third alone: ComfyUI 0.33 does not tell of every step.
            if event.data["value"] >= 3:
                client.interrupt()

    graph = {
        **base_graph(),
        "start": noise_node(steps=500, resolution=NATIVE_SIDE),
        "same": compare_node(["start", 0], ["start", 0]),
    }
    with pytest.raises(Interrupted):
        client.run(graph, on_event=cancel)
    assert max(seen) <= 5
    assert digest(client) == before


def test_an_adapter_on_the_model_is_left_out_and_acts_in_the_drawing(client):
    graph = {
        **trained(),
        "plain": noise_node(),
        "patched": noise_node(model=("apply", 0)),
        "portrait": sampler_node(["apply", 0], "apply", start=["plain", 0], cfg=1.0),
        "off": apply_node(strengths=(0.0, 0.0, 0.0)),
        "bare": sampler_node(["off", 0], "off", start=["plain", 0], cfg=1.0),
        "same": compare_node(["plain", 0], ["patched", 0]),
        "changed": compare_node(["portrait", 0], ["bare", 0]),
    }
    run = client.run(graph)
    assert run.texts("same")[0].endswith("equal=True")
    assert run.texts("changed")[0].endswith("finite=True equal=False")


def test_the_portrait_is_the_photo_where_nothing_is_learned(comfy, client):
    """At the size that the base was trained for."""
    drawing = {"cfg": 1.0, "steps": 20, "prompt": "S*", "width": NATIVE_SIDE, "height": NATIVE_SIDE}
    scaled = {"upscale_method": "area", "width": NATIVE_SIDE, "height": NATIVE_SIDE, "crop": "center"}
    graph = {
        **trained(),
        "off": apply_node(strengths=(0.0, 0.0, 0.0)),
        "start": noise_node(steps=20, resolution=NATIVE_SIDE),
        "portrait": sampler_node(["off", 0], "off", start=["start", 0], **drawing),
        "chance": sampler_node(["off", 0], "off", **drawing),
        "small": node("ImageScale", image=["face", 0], **scaled),
        "photo": node("VAEEncode", pixels=["small", 0], vae=["base", 2]),
    }
    portrait, chance, photo = saved(comfy, client, graph, "portrait", "chance", "photo")
    assert (portrait - photo).norm() < 0.6 * photo.norm() < (chance - photo).norm()


def test_each_photo_of_a_batch_gets_its_portrait(comfy, client):
    both = node("ImageBatch", image1=["face", 0], image2=["style", 0])
    graph = {
        **trained(),
        "both": both,
        "start": noise_node(photo=["both", 0]),
        "one": noise_node(),
        "portraits": sampler_node(["apply", 0], "apply", start=["start", 0], cfg=1.0, batch_size=1),
    }
    portraits, start, one = saved(comfy, client, graph, "portraits", "start", "one")
    assert portraits.shape == (2, 4, SIDE // 8, SIDE // 8)
    torch.testing.assert_close(start[:1], one, atol=1e-3, rtol=1e-3)


def test_the_seed_has_no_say(client):
    graph = trained() | {"start": noise_node()}
    for seed in (1, 2):
        graph[f"seed {seed}"] = sampler_node(["apply", 0], "apply", start=["start", 0], cfg=1.0, seed=seed)
    run = client.run({**graph, "same": compare_node(["seed 1", 0], ["seed 2", 0])})
    assert run.texts("same")[0].endswith("equal=True")


def test_a_portrait_is_no_start_for_another(client):
    """A sampler passes on what else its latent held: the mark of the noise must not travel along."""
    graph = {
        **trained(),
        "start": noise_node(),
        "portrait": sampler_node(["apply", 0], "apply", start=["start", 0], cfg=1.0),
        "again": sampler_node(["apply", 0], "apply", start=["portrait", 0], cfg=1.0),
        "save": node("SaveLatent", samples=["again", 0], filename_prefix="again"),
    }
    refused(client, graph, "ordinary latent")


@pytest.mark.parametrize(
    ("kind", "says"), [("rank", "shape"), ("empty", "is empty"), ("tiny", "1 x 1"), ("nan", "not numbers")]
)
@pytest.mark.parametrize("role", ["photo", "style_image"])
def test_pictures_that_cannot_be_used(client, role, kind, says):
    graph = {
        **base_graph(),
        "bad": node("ProbePicture", kind=kind),
        "start": noise_node(**{role: ["bad", 0]}),
        "save": node("SaveLatent", samples=["start", 0], filename_prefix="bad"),
    }
    refused(client, graph, f"{role.replace('_', ' ')}.*{says}")


def test_a_model_of_another_family(client):
    graph = {
        **base_graph(),
        "other": node("ProbeOtherModel", family="refiner"),
        "start": noise_node(model=("other", 0)),
        "save": node("SaveLatent", samples=["start", 0], filename_prefix="bad"),
    }
    refused(client, graph, "SDXLRefiner, not Stable Diffusion 1.x")
