"""A style from several pictures, textual inversions of others, and gradient checkpointing, through the nodes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import base_graph, node

from .test_options import small_training, train_options


def learned(client, comfy, graph: dict, name: str):
    """The adapter of a run's one training."""
    client.run(graph)
    [path] = comfy.folder("models/acfun").glob(f"{name}_*.safetensors")
    return adapter_file.load(path)


def test_a_style_is_learned_from_a_batch_of_pictures(client, comfy):
    graph = {
        **base_graph(),
        "other": node("ACFunExampleImage", picture="style_cubist.jpg"),
        "both": node("ImageBatch", image1=["style", 0], image2=["other", 0]),
        "train": small_training(style_image=["both", 0], steps=4, name="of_two"),
    }
    adapter = learned(client, comfy, graph, "of_two")
    one = learned(client, comfy, {**base_graph(), "train": small_training(steps=4, name="of_one")}, "of_one")
    assert len(adapter.style_tokens) == 2 * len(one.style_tokens)
    assert torch.equal(adapter.style_tokens[: len(one.style_tokens)], one.style_tokens)
    # The same start, another mean over pictures, other steps.
    assert adapter.record.before != one.record.before and adapter.record.style_loss != one.record.style_loss
    nine = {**graph, "both": node("RepeatImageBatch", image=["style", 0], amount=9)}
    with pytest.raises(NodeError, match="style image is a batch of 9 pictures.*up to 8"):
        client.run(nine)


def test_s_star_starts_from_an_embedding_of_models_embeddings(client, comfy):
    row = torch.linspace(-0.2, 0.2, 256)
    folder = comfy.folder("models/embeddings")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": row[None]}, folder / "of_others.safetensors")
    save_file({"emb_params": torch.ones(1, 768)}, folder / "too_wide.safetensors")

    def graph(name: str) -> dict:
        options = train_options(start_embedding=name)
        slow = {"learning_rate": 1e-9, "steps": 1, "options": ["options", 0], "name": "from_word"}
        return {**base_graph(), "options": options, "train": small_training(**slow)}

    adapter = learned(client, comfy, graph("embedding:of_others"), "from_word")
    torch.testing.assert_close(adapter.row(), row, atol=1e-3, rtol=0)
    for name, says in (("too_wide", "is 768 wide, those of this base are 256 wide"), ("none", "no embedding 'none'")):
        with pytest.raises(NodeError, match=says):
            client.run(graph(name))


def test_with_gradient_checkpointing_the_same_is_learned(client, comfy):
    """Through ComfyUI's own blocks, which note in one dict which of them computes."""
    found = []
    for mode in ("off", "on"):
        name = f"checkpointing_{mode}"
        training = small_training(options=["options", 0], steps=3, name=name)
        graph = {**base_graph(), "options": train_options(checkpointing=mode), "train": training}
        found.append(learned(client, comfy, graph, name))
    one, two = (adapter.record for adapter in found)
    for name in ("before", "after", "style_loss", "face_loss"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-3), name
