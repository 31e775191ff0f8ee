"""SDXL and Stable Diffusion 2.x without ComfyUI, tiny and with random weights; diffusers' own pipelines say what is right."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file

from acfun_core.backends.stable_diffusion import StableDiffusion
from acfun_core.backends.transferring import Transfer
from acfun_core.config import AdapterConfig, TrainConfig, TransferConfig
from acfun_core.diffusion.sampling import starting_noise
from acfun_core.errors import ACFunError
from acfun_core.images import square
from acfun_core.storage import adapter_file
from acfun_core.storage.export import SDXL_EMBEDDINGS, save_embedding
from acfun_core.strengths import Strengths
from acfun_core.training.slider import SliderConfig, check_slider

from . import tiny_bases
from .acfun_command import FACE, STYLE, acfun_here
from .conftest import PROMPT, SIDE, load_once

PLAIN = PROMPT.replace("S*", "painting")
SHORT = {"seed": 3, "steps": 3, "cfg": 3.0, "size": (SIDE, SIDE)}
V = {"prediction_type": "v_prediction"}
ZERO_SNR = {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
KINDS = {
    "sdxl": (tiny_bases.sdxl, {}),
    "sdxl_v_zero_snr": (tiny_bases.sdxl, ZERO_SNR),
    "sd2_v": (tiny_bases.sd2, V),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory) -> Path:
    make, scheduler = KINDS[request.param]
    return make(tmp_path_factory.mktemp("bases") / request.param, **scheduler)


@pytest.fixture(scope="module")
def base(folder) -> StableDiffusion:
    return StableDiffusion.load(folder)


@pytest.fixture(scope="module")
def adapter(users_noises_for_all, base, style, face):
    config = TrainConfig(steps=3, learning_rate=3e-3, warmup_steps=0)
    return base.train(style, face, AdapterConfig(PROMPT), config, SIDE)


def pipeline_of(base: StableDiffusion, folder: Path):
    """diffusers' own, on the same models."""
    parts = {"unet": base.unet, "vae": base.vae, "scheduler": DDIMScheduler.from_pretrained(folder / "scheduler")}
    names = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")
    encoders = base.text.parts if base.family.name == "sdxl" else (base.text,)
    for part, encoder, tokenizer in zip(encoders, *names):
        # Where nothing is pooled, diffusers takes the text model without its projection.
        parts |= {encoder: part.model if part.pools else part.model.text_model, tokenizer: part.tokenizer}
    if base.family.name == "sdxl":
        return StableDiffusionXLPipeline(**parts, force_zeros_for_empty_prompt=False, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def test_a_prompt_says_what_it_says_to_diffusers(base, folder, monkeypatch):
    pipeline = pipeline_of(base, folder)
    for tokenizer in (getattr(pipeline, name, None) for name in ("tokenizer", "tokenizer_2")):
        if tokenizer is not None:
            monkeypatch.setattr(tokenizer, "model_max_length", 77)
    told = base.told("a portrait of a smiling woman")
    once = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    theirs = pipeline.encode_prompt("a portrait of a smiling woman", **once)
    torch.testing.assert_close(told.context, theirs[0], atol=1e-5, rtol=1e-5)
    if base.family.name == "sdxl":
        torch.testing.assert_close(told.pooled, theirs[2], atol=1e-5, rtol=1e-5)
    else:
        assert told.pooled is None


def test_a_pass_of_the_unet_is_that_of_diffusers(base, folder):
    """One step of its pipeline, which tells the size of the picture by itself."""
    pipeline, seen = pipeline_of(base, folder), {}
    unet = base.unet.forward

    def watch(z_t, t, encoder_hidden_states=None, added_cond_kwargs=None, **rest):
        answer = unet(z_t, t, encoder_hidden_states, added_cond_kwargs=added_cond_kwargs, **rest)
        seen.update(z_t=z_t, t=t, answer=answer[0])
        return answer

    base.unet.forward = watch
    try:
        told = base.told(PLAIN)
        pooled = {} if told.pooled is None else {"pooled_prompt_embeds": told.pooled}
        pipeline.set_progress_bar_config(disable=True)
        pipeline(
            prompt_embeds=told.context,
            **pooled,
            latents=starting_noise(0, 1, SIDE, 2 * SIDE),
            height=SIDE,
            width=2 * SIDE,
            num_inference_steps=1,
            guidance_scale=1.0,
            output_type="latent",
        )
    finally:
        del base.unet.forward
    ours = base.predict(seen["z_t"], seen["t"][None], told.context, told.pooled)
    torch.testing.assert_close(ours, seen["answer"], atol=1e-5, rtol=1e-5)


def test_trains_draws_and_strength_zero_is_the_base(base, adapter, tmp_path):
    record = adapter.record
    assert adapter.base_family == base.family.name and adapter.base_prediction == base.prediction
    assert all(after < before for before, after in zip(record.before, record.after)), record
    [row] = (adapter.e_a,)
    assert row.shape == (base.text.width,) and not torch.equal(row, adapter.afun.initial_row)
    loaded = adapter_file.load(adapter_file.save(adapter, tmp_path / "a.safetensors"))
    drawn = base.sample(PROMPT, members=[(loaded, Strengths())], **SHORT)
    plain = base.sample(PLAIN, **SHORT)
    assert (drawn - plain).abs().max() > 1e-3 and drawn.isfinite().all()
    assert torch.equal(base.sample(PROMPT, members=[(loaded, Strengths(0.0, 0.0, 0.0))], **SHORT), plain)
    word = base.sample(PROMPT, members=[(loaded, Strengths(1.0, 0.0, 0.0))], **SHORT)
    assert (word - plain).abs().max() > 1e-5


def test_a_slider_is_learned_and_acts(base, face, tmp_path):
    config = SliderConfig(steps=3, learning_rate=3e-3)
    slider = base.train_slider([face], check_slider("a smiling face", "a serious face"), config, SIDE)
    assert all(0 < error < float("inf") for error in slider.record.style_loss)
    loaded = adapter_file.load(adapter_file.save(slider, tmp_path / "smile.safetensors"))
    assert (loaded.base_family, loaded.base_prediction) == (base.family.name, base.prediction)
    drawn = [
        base.sample("a face", members=[(loaded, Strengths(encoder=s, decoder=s))], steps=2, size=(SIDE, SIDE))
        for s in (0.0, 1.0)
    ]
    assert torch.equal(drawn[0], base.sample("a face", steps=2, size=(SIDE, SIDE)))
    assert drawn[1].isfinite().all() and not torch.equal(*drawn)


def test_the_sequence_mode_and_a_mix(base, adapter, style, face):
    """Of which the pooled embedding is that of AFun's row, at the same share as the context."""
    config = TrainConfig(steps=1, learning_rate=3e-3, warmup_steps=0)
    other = base.train(style, face, AdapterConfig(PROMPT, abstract_mode="sequence"), config, SIDE)
    both = base.told(PROMPT, ((adapter, Strengths(weight=0.5)), (other, Strengths(weight=0.5))))
    assert (both.pooled is None) == (base.family.name == "sd2") and both.context.isfinite().all()
    alone = base.told(PROMPT, ((other, Strengths()),))
    assert not torch.equal(alone.context, both.context)
    if alone.pooled is not None:
        assert torch.equal(alone.pooled, base.text.read(base.text.sections(PROMPT), other.row()).pooled)


def test_a_photo_comes_back_from_its_noise(base, face):
    """Under the empty prompt and with all that is told besides, nearer than from any other noise."""
    photo = base.encode(square(face, SIDE))
    noise = base.photo_noise(face, steps=10, resolution=SIDE)
    drawn, by_chance = (
        base.sample("", noise=one, steps=10, cfg=1.0) for one in (noise, starting_noise(0, 1, SIDE, SIDE))
    )
    assert (drawn - photo).norm() < 0.4 * (by_chance - photo).norm()


def test_beside_a_photo_and_a_style_picture(base, face, style):
    given = TransferConfig(branch=0, latent=0, returned=1, keep=1, sharpness=1)
    references = base.references(face, face, 4, SIDE)
    drawn = base.sample("", steps=4, cfg=1.0, transfer=Transfer(references, given))
    torch.testing.assert_close(drawn, base.encode(square(face, SIDE)), atol=1e-2, rtol=1e-2)
    other = base.sample(PLAIN, steps=4, cfg=2.0, transfer=Transfer(base.references(face, style, 4, SIDE)))
    assert other.isfinite().all() and (other - drawn).abs().max() > 0.1


def test_the_command_line_from_training_to_export(base, folder, adapter, tmp_path, monkeypatch):
    """Of which each command would load the base anew."""
    load_once(base, monkeypatch)
    family, path = adapter.base_family, tmp_path / "style.safetensors"
    train = ("train", "--base", folder, "--style", STYLE, "--face", FACE, "--description", PROMPT, "--resolution", SIDE)
    ended = acfun_here(*train, "--steps", 2, "--out", path, "--json")
    assert ended.code == 0, ended.err
    [told] = acfun_here("info", path, "--json").result["adapters"]
    assert told["base_family"] == family and told["base_prediction"] == adapter.base_prediction
    sample = ("sample", path, "--base", folder, "--steps", 2, "--width", SIDE, "--height", SIDE)
    beside = ("--preset", "keep_person", "--photo", FACE, "--style", STYLE)
    for number, more in enumerate([(), ("--photo", FACE, "--palette", STYLE), beside]):
        ended = acfun_here(*sample, *more, "--out", tmp_path / f"{number}.png", "--json")
        assert ended.code == 0 and (tmp_path / f"{number}.png").is_file(), ended.err
    small = acfun_here("export", path, "--rank", 4, "--compact", "--out", tmp_path / "small.safetensors", "--json")
    assert small.code == 0 and adapter_file.load(tmp_path / "small.safetensors").base_family == family


def test_diffusers_reads_the_exported_embedding(base, folder, adapter, tmp_path, monkeypatch):
    """By its own loader; a prompt with it then says what the adapter's S* says."""
    for name, width in zip(("clip_l", "clip_g"), tiny_bases.WIDTHS):
        monkeypatch.setitem(SDXL_EMBEDDINGS, name, width)
    path = save_embedding(adapter, tmp_path / "word.safetensors")
    pipeline = pipeline_of(base, folder)
    sides = [("text_encoder", "tokenizer", "emb_params")]
    if base.family.name == "sdxl":
        sides = [("text_encoder", "tokenizer", "clip_l"), ("text_encoder_2", "tokenizer_2", "clip_g")]
    for encoder, tokenizer, name in sides:
        # Copies: diffusers adds the word to the tokenizers and to the tables.
        parts = {"text_encoder": copy.deepcopy(getattr(pipeline, encoder))}
        parts["tokenizer"] = copy.deepcopy(getattr(pipeline, tokenizer))
        parts["tokenizer"].model_max_length = 77
        setattr(pipeline, encoder, parts["text_encoder"])
        setattr(pipeline, tokenizer, parts["tokenizer"])
        # A file of one tensor as it is; of SDXL's two each by itself.
        given = str(path) if name == "emb_params" else load_file(path)[name]
        pipeline.load_textual_inversion(given, token="<s>", **parts)
    once = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    theirs = pipeline.encode_prompt(PROMPT.replace("S*", "<s>"), **once)
    told = base.told(PROMPT, ((adapter, Strengths(1.0, 0.0, 0.0)),))
    torch.testing.assert_close(told.context, theirs[0], atol=1e-4, rtol=1e-4)
    if told.pooled is not None:
        torch.testing.assert_close(told.pooled, theirs[2], atol=1e-4, rtol=1e-4)


def test_an_adapter_of_another_family_is_refused(base, adapter):
    other = "sd2" if base.family.name == "sdxl" else "sdxl"
    adapter.base_family, family = other, adapter.base_family
    try:
        with pytest.raises(ACFunError, match=f"trained on .*, this base is {base.family.title}"):
            base.sample(PROMPT, members=[(adapter, Strengths())], **SHORT)
    finally:
        adapter.base_family = family


def test_a_folder_of_sdxl_without_its_second_text_encoder_is_named(tmp_path):
    folder = tiny_bases.sdxl(tmp_path / "xl")
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(ACFunError, match="no text_encoder_2/config.json.*as SDXL has them"):
        StableDiffusion.load(folder)


def test_the_text_encoders_of_another_base_are_named(tmp_path):
    folder = tiny_bases.sdxl(tmp_path / "xl")
    tiny_bases.text_model(64, "gelu", tiny_bases.POOLED).save_pretrained(folder / "text_encoder_2")
    with pytest.raises(ACFunError, match="UNet takes text 80 wide, the text encoder gives 96"):
        StableDiffusion.load(folder)


def test_a_second_text_encoder_without_its_projection_is_named(tmp_path):
    """The UNet is told the projected embedding; at random it would be told anything."""
    folder = tiny_bases.sdxl(tmp_path / "xl")
    tiny_bases.text_model(48, "gelu").save_pretrained(folder / "text_encoder_2")
    with pytest.raises(ACFunError, match="text encoder does not fit: 1 weights are missing .text_projection"):
        StableDiffusion.load(folder)


@pytest.mark.parametrize(("dtype", "text"), [(torch.float16, torch.float16), (torch.bfloat16, torch.float32)])
def test_the_text_encoders_of_sdxl_lost_the_steps_of_a_word_in_bfloat16(tmp_path, dtype, text):
    """In float16 they are as precise as the UNet, since two of them are large; bfloat16 is too coarse to learn in."""
    base = StableDiffusion.load(tiny_bases.sdxl(tmp_path / "xl"), dtype=dtype)
    assert {model.dtype for model in base.text.models} == {text} and base.vae.dtype == torch.float32
    drawn = base.sample(PLAIN, **SHORT)
    assert drawn.dtype == torch.float32 and drawn.isfinite().all()
