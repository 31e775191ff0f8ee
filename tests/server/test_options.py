"""Options inside the real server: saved with the workflow, kept in the file, and felt in the picture."""

from __future__ import annotations

import json

import pytest
from safetensors import safe_open

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.options import default_of, options_of
from acfun_core.storage import adapter_file
from tools.comfy.client import NodeError
from tools.comfy.graphs import (
    PROMPT,
    USAGE,
    adapter_options,
    apply_node,
    base_graph,
    compare_node,
    ksampler_nodes,
    node,
    sampler_node,
    train_node,
)

from .editor_format import queued_by_the_editor, widgets_of

SMALL = 64
SIZE = {"width": SMALL, "height": SMALL}
SHOWN = {
    AdapterConfig: ("blocks", "abstract_mode", "form", "rank"),
    TrainConfig: (
        *("learning_rate_end", "timestep_split", "min_snr_gamma", "style_crop", "style_flip", "style_colour"),
        *("style_variants", "copy_guard_every", "copy_limit"),
    ),
}
DEFAULTS = {name: default_of(config, name) for config, names in SHOWN.items() for name in names}
BESIDE = {"style_mask", "face_mask", "keep_state", "checkpointing", "start_embedding"}
"""Inputs of the node that are no option of the method."""


def train_options(**changes) -> dict:
    assert changes.keys() <= DEFAULTS.keys() | BESIDE
    return node("ACFunTrainOptions", **{**DEFAULTS, **changes})


def small_training(**changes) -> dict:
    return train_node(**{"resolution": SMALL, "steps": 4, **changes})


def portrait(applied: str, **changes) -> dict:
    return sampler_node([applied, 0], applied, **{**SIZE, **changes})


def stock_small() -> dict:
    nodes = ksampler_nodes()
    nodes["noise"]["inputs"].update(SIZE)
    return nodes


def differences(client, graph: dict, **pairs) -> dict[str, float]:
    """Largest differences of pairs of latents; all must be finite."""
    run = client.run({**graph, **{f"compare {name}": compare_node(*pair) for name, pair in pairs.items()}})
    answers = {name: run.texts(f"compare {name}")[0].split() for name in pairs}
    assert all(finite == "finite=True" for _, finite, _ in answers.values())
    return {name: float(difference) for name, (difference, _, _) in answers.items()}


def test_the_widgets_are_the_declarations(client):
    """Ranges and defaults are the config's, and the simple node keeps the inputs it had."""
    shown = client.object_info("ACFunTrainOptions")["input"]
    assert list(shown["required"]) == list(DEFAULTS) and set(shown["optional"]) == BESIDE
    for name, value in DEFAULTS.items():
        assert shown["required"][name][1]["default"] == value, name
    simple = client.object_info("ACFunTrainStyle")["input"]
    assert list(simple["required"])[5:] == [
        "description",
        "steps",
        "learning_rate",
        "style_weight",
        "face_weight",
        "seed",
        "resolution",
        "preview_every",
        "name",
    ]
    assert list(simple["optional"]) == ["face_image", "options", "preset"]
    for name in ("steps", "learning_rate", "style_weight", "face_weight", "seed"):
        option, shown = options_of(TrainConfig)[name], simple["required"][name][1]
        assert (shown["min"], shown["max"]) == (option.low, option.high), name
    for kind in ("ACFunLoadAdapter", "ACFunApplyAdapter"):
        inputs = client.object_info(kind)["input"]
        assert list(inputs["required"])[-3:] == ["abstract_strength", "encoder_strength", "decoder_strength"]
        assert list(inputs["optional"]) == ["options"]


def test_untouched_options_change_nothing(client):
    graph = {
        **base_graph(),
        "plain": small_training(name="plain"),
        "options": train_options(),
        "optioned": small_training(name="optioned", options=["options", 0]),
        "one": apply_node(adapter=["plain", 0]),
        "usage": adapter_options(),
        "two": {**apply_node(adapter=["optioned", 0])},
        "first": portrait("one"),
        "second": portrait("two"),
    }
    graph["two"]["inputs"]["options"] = ["usage", 0]
    assert differences(client, graph, same=(["first", 0], ["second", 0])) == {"same": 0.0}


CHOICES = [
    {"abstract_mode": "sequence", "form": "per_channel"},
    {"form": "low_rank", "rank": 4, "blocks": "all", "min_snr_gamma": 5.0},
    {"style_crop": 0.3, "style_flip": True, "style_colour": 0.2, "style_variants": 3, "timestep_split": 0.4},
]


@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "-".join(map(str, options.values())))
def test_every_option_reaches_the_file_and_the_picture(client, comfy, options):
    before = set(comfy.folder("models/acfun").glob("*"))
    graph = {
        **base_graph(),
        "options": train_options(**options),
        "train": small_training(name="optioned", options=["options", 0]),
        "apply": apply_node(),
        "drawn": portrait("apply"),
        "off": apply_node(strengths=(0.0, 0.0, 0.0)),
        "undrawn": portrait("off"),
        **stock_small(),
    }
    graph["encoded"] = node("CLIPTextEncode", clip=["apply", 1], text=PROMPT)
    graph["by_stock"] = {**graph["stock"], "inputs": {**graph["stock"]["inputs"], "model": ["apply", 0]}}
    graph["by_stock"]["inputs"]["positive"] = ["encoded", 0]
    found = differences(
        client,
        graph,
        change=(["drawn", 0], ["stock", 0]),
        base=(["undrawn", 0], ["stock", 0]),
        stock_nodes=(["by_stock", 0], ["drawn", 0]),
    )
    assert found["base"] == 0.0 and found["stock_nodes"] == 0.0 and found["change"] > 1e-4
    [path] = set(comfy.folder("models/acfun").glob("*")) - before
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    kept = {**json.loads(metadata["options"]), **json.loads(metadata["training"])["settings"]}
    assert kept.items() >= options.items()
    assert adapter_file.load(path).config.as_dict() == json.loads(metadata["options"])
    loaded = node(
        "ACFunLoadAdapter",
        model=["base", 0],
        clip=["base", 1],
        adapter_name=path.name,
        abstract_strength=1.0,
        encoder_strength=1.0,
        decoder_strength=1.0,
    )
    graph |= {"load": loaded, "from_file": portrait("load")}
    assert differences(client, graph, same=(["drawn", 0], ["from_file", 0])) == {"same": 0.0}


EVERY = [
    {
        **{"blocks": "all", "abstract_mode": "sequence", "form": "low_rank", "rank": 3, "min_snr_gamma": 5.0},
        **{"copy_guard_every": 3, "copy_limit": 0.9, "learning_rate_end": 0.1},
    },
    {"timestep_split": 0.4, "style_crop": 0.3, "style_flip": True, "style_colour": 0.2, "style_variants": 3},
]


@pytest.mark.parametrize("options", EVERY, ids=["method", "pictures"])
def test_every_option_is_kept_by_the_file_and_by_a_saved_workflow(client, comfy, options):
    """The workflow inside a saved picture, queued again, is the same training: the server has nothing to do anew."""
    assert set().union(*EVERY) == DEFAULTS.keys(), "an option is not tried"
    assert all(DEFAULTS[name] != value for name, value in options.items())
    before = set(comfy.folder("models/acfun").glob("*"))
    graph = {
        **base_graph(),
        "options": train_options(**options),
        "train": small_training(name="kept", options=["options", 0]),
        "save": node("SaveImage", images=["train", 1], filename_prefix="kept"),
    }
    [picture] = client.run(graph).images("save")
    [path] = set(comfy.folder("models/acfun").glob("*")) - before
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    kept = {**json.loads(metadata["options"]), **json.loads(metadata["training"])["settings"]}
    assert kept.items() >= options.items()
    saved = json.loads(picture.info["prompt"])
    assert saved["options"]["inputs"].items() >= options.items()
    assert {"options", "train"} <= set(client.run(saved).cached)


@pytest.mark.parametrize("kind", ["ACFunTrainOptions", "ACFunAdapterOptions"])
def test_every_option_is_a_value_of_its_own_in_an_editors_file(client, kind):
    """The editor saves widgets by their order: what it reads back is what was chosen."""
    chosen = {**EVERY[0], **EVERY[1], **FURTHER} if kind == "ACFunTrainOptions" else OTHER_USAGE
    info = client.object_info(kind)
    values = [chosen[name] for name, _ in widgets_of(info)]
    saved = {"id": 1, "type": kind, "title": kind, "inputs": [], "widgets_values": values}
    ui = json.loads(json.dumps({"nodes": [saved], "links": []}))
    assert queued_by_the_editor(ui, {kind: info})["1"]["inputs"] == chosen
    assert [name for name in chosen if name not in {*DEFAULTS, *USAGE}] == (
        list(FURTHER) if kind == "ACFunTrainOptions" else []
    )
    assert chosen.keys() >= (DEFAULTS if kind == "ACFunTrainOptions" else USAGE).keys()


FURTHER = {"keep_state": True, "checkpointing": "on", "start_embedding": "mine"}

OTHER_USAGE = {
    **{f"{part}_start": 0.1 + number / 100 for number, part in enumerate(("abstract", "encoder", "decoder"))},
    **{f"{part}_end": 0.9 + number / 100 for number, part in enumerate(("abstract", "encoder", "decoder"))},
    **{"blocks": "encoder", "guidance": "cond"},
}


def usage_graph(**usages: dict) -> dict:
    """One training, and for each usage an adapter applied with it and its portrait under that name."""
    graph = {**base_graph(), "train": small_training(name="usage"), "apply": apply_node(), "full": portrait("apply")}
    for name, usage in usages.items():
        graph |= {f"{name}_options": usage, f"{name}_apply": apply_node(), name: portrait(f"{name}_apply")}
        graph[f"{name}_apply"]["inputs"]["options"] = [f"{name}_options", 0]
    return graph


def test_windows_guidance_blocks_and_masks(client):
    nothing, everything = ({"value": value, "width": 32, "height": 32} for value in (0.0, 1.0))
    usages = {
        "early": adapter_options(decoder_end=0.5),
        "late": adapter_options(encoder_start=0.5, decoder_start=0.5),
        "word_late": adapter_options(abstract_start=0.5),
        "cond": adapter_options(guidance="cond"),
        "encoder": adapter_options(blocks="encoder"),
        "masked": adapter_options(mask=["nothing", 0]),
        "unmasked": adapter_options(mask=["everything", 0]),
    }
    graph = usage_graph(**usages) | {
        "nothing": node("SolidMask", **nothing),
        "everything": node("SolidMask", **everything),
        "word": apply_node(strengths=(1.0, 0.0, 0.0)),
        "word_only": portrait("word"),
    }
    found = differences(
        client,
        graph,
        **{f"{name}_change": ([name, 0], ["full", 0]) for name in usages},
        mask_of_nothing=(["masked", 0], ["word_only", 0]),
    )
    assert found.pop("unmasked_change") < 1e-3
    assert found.pop("mask_of_nothing") == 0.0
    assert all(change > 1e-4 for change in found.values()), found


def test_a_batch_of_masks_has_one_a_picture(client):
    """Each picture of a batch as it is drawn with its own mask for all; with options, and with a mix."""
    graph = {
        **base_graph(),
        "train": small_training(name="usage"),
        "nothing": node("SolidMask", value=0.0, width=32, height=32),
        "everything": node("SolidMask", value=1.0, width=32, height=32),
        "white": node("MaskToImage", mask=["everything", 0]),
        "black": node("MaskToImage", mask=["nothing", 0]),
        "pictures": node("ImageBatch", image1=["black", 0], image2=["white", 0]),
        "batch": node("ImageToMask", image=["pictures", 0], channel="red"),
        "three": node("RepeatImageBatch", image=["black", 0], amount=3),
        "three_masks": node("ImageToMask", image=["three", 0], channel="red"),
    }
    for name, mask in (("one", "batch"), ("without", "nothing"), ("with", "everything")):
        graph |= {
            f"{name}_options": adapter_options(mask=[mask, 0]),
            f"{name}_apply": apply_node(),
            name: portrait(f"{name}_apply", batch_size=2),
        }
        graph[f"{name}_apply"]["inputs"]["options"] = [f"{name}_options", 0]
    halves = {f"adapter_{number}": ["train", 0] for number in (1, 2)} | {f"weight_{number}": 0.5 for number in (1, 2)}
    masks = {f"mask_{number}": ["batch", 0] for number in (1, 2)}
    graph |= {
        "mix": node("ACFunMixAdapters", **halves, **masks),
        "mix_apply": apply_node(adapter=["mix", 0]),
        "mixed": portrait("mix_apply", batch_size=2),
    }
    for name in ("one", "without", "with", "mixed"):
        for index in (0, 1):
            graph[f"{name}_{index}"] = node("LatentFromBatch", samples=[name, 0], batch_index=index, length=1)
    pairs = {
        "first_is_without": (["one_0", 0], ["without_0", 0]),
        "second_is_with": (["one_1", 0], ["with_1", 0]),
        "mix_first": (["mixed_0", 0], ["without_0", 0]),
        "mix_second": (["mixed_1", 0], ["with_1", 0]),
        "differ": (["without_1", 0], ["with_1", 0]),
    }
    found = differences(client, graph, **pairs)
    assert found.pop("differ") > 1e-3
    assert all(difference < 1e-3 for difference in found.values()), found
    graph["one_options"]["inputs"]["mask"] = ["three_masks", 0]
    with pytest.raises(NodeError, match="batch of 3 for 2 pictures"):
        differences(client, graph, one=(["one", 0], ["with", 0]))


def test_a_mix_of_one_adapter_with_itself_is_that_adapter(client):
    graph = {
        **base_graph(),
        "train": small_training(name="usage"),
        "apply": apply_node(),
        "full": portrait("apply"),
        "other": small_training(name="other", seed=5),
        "same": node("ACFunMixAdapters", adapter_1=["train", 0], weight_1=0.5, adapter_2=["train", 0], weight_2=0.5),
        "both": node("ACFunMixAdapters", adapter_1=["train", 0], weight_1=0.5, adapter_2=["other", 0], weight_2=0.5),
        "apply_same": apply_node(adapter=["same", 0]),
        "apply_both": apply_node(adapter=["both", 0]),
        "same_portrait": portrait("apply_same"),
        "both_portrait": portrait("apply_both"),
    }
    found = differences(
        client, graph, same=(["same_portrait", 0], ["full", 0]), both=(["both_portrait", 0], ["full", 0])
    )
    assert found["same"] < 1e-3 < found["both"]


@pytest.mark.parametrize("first", [{"abstract_mode": "sequence"}, {}], ids=["sequence", "token"])
def test_applied_in_a_row_the_last_one_says_what_the_placeholder_means(client, first):
    """Also where the first adapter is of a sequence mode, whose CLIP is of another class."""
    graph = {
        **base_graph(),
        "options": train_options(**first),
        "train": small_training(name="usage"),
        "earlier": small_training(name="earlier", seed=6, options=["options", 0]),
        "apply_earlier": apply_node(adapter=["earlier", 0]),
        "apply": apply_node(model=["apply_earlier", 0]),
        "last": portrait("apply"),
        **stock_small(),
    }
    graph["apply"]["inputs"]["clip"] = ["apply_earlier", 1]
    graph["positive"] = node("CLIPTextEncode", clip=["apply", 1], text=PROMPT)
    graph["stock"]["inputs"]["model"] = ["apply", 0]
    assert differences(client, graph, same=(["stock", 0], ["last", 0])) == {"same": 0.0}


def test_a_mix_is_not_a_file(client):
    graph = {
        **base_graph(),
        "train": small_training(name="usage"),
        "mix": node("ACFunMixAdapters", adapter_1=["train", 0], weight_1=0.5, adapter_2=["train", 0], weight_2=0.5),
        "save": node("ACFunSaveAdapter", adapter=["mix", 0], name="mixed"),
    }
    with pytest.raises(NodeError, match="mix of 2 adapters cannot be saved"):
        client.run(graph)


def test_small_files_and_embeddings_draw_the_same(client, comfy):
    """A compact file bit for bit; the embedding is what S* means when the ResBlocks are off."""
    before = set(comfy.folder("models/embeddings").glob("*"))
    graph = {
        **base_graph(),
        "train": small_training(name="usage"),
        "apply": apply_node(),
        "full": portrait("apply"),
        "small": node("ACFunExportAdapter", adapter=["train", 0], kind="adapter", rank=0, compact=True, name="small"),
        "narrow": node("ACFunExportAdapter", adapter=["train", 0], kind="adapter", rank=2, compact=True, name="narrow"),
        "alone": node(
            "ACFunExportAdapter", adapter=["train", 0], kind="embedding", rank=0, compact=False, name="alone"
        ),
        "apply_small": apply_node(adapter=["small", 0]),
        "apply_narrow": apply_node(adapter=["narrow", 0]),
        "small_portrait": portrait("apply_small"),
        "narrow_portrait": portrait("apply_narrow"),
        "word": apply_node(strengths=(1.0, 0.0, 0.0)),
        "word_only": portrait("word"),
    }
    found = differences(
        client, graph, small=(["small_portrait", 0], ["full", 0]), narrow=(["narrow_portrait", 0], ["full", 0])
    )
    assert found["small"] == 0.0 and found["narrow"] > 0.0
    [path] = set(comfy.folder("models/embeddings").glob("*")) - before
    graph |= stock_small()
    graph["positive"] = node("CLIPTextEncode", clip=["base", 1], text=PROMPT.replace("S*", f"embedding:{path.stem}"))
    assert differences(client, graph, embedding=(["stock", 0], ["word_only", 0])) == {"embedding": 0.0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"style_mask": ["wrong", 0]}, "style mask has shape"),
        ({"face_mask": ["wrong", 0]}, "face mask has shape"),
    ],
)
def test_options_that_do_not_go_together(client, options, says):
    graph = {
        **base_graph(),
        "wrong": node("SolidMask", value=1.0, width=32, height=48),
        "options": train_options(**options),
        "train": small_training(name="bad", options=["options", 0]),
    }
    with pytest.raises(NodeError, match=says) as error:
        client.run(graph)
    assert error.value.exception_type.endswith("ACFunError")
