"""The pack in a real ComfyUI: it loads cleanly, and its nodes describe themselves in full."""

from __future__ import annotations

import pytest

from tools.comfy.install import COMFY_VERSION, brought_comfy, host_version

NODE_IDS = {
    "ACFunTrainStyle",
    "ACFunLoadAdapter",
    "ACFunApplyAdapter",
    "ACFunSaveAdapter",
    "ACFunSampler",
    "ACFunTextEncode",
    "ACFunLoadDemoBase",
    "ACFunExampleImage",
    "ACFunSpliceFaces",
    "ACFunSpliceFaceParts",
    "ACFunTrainOptions",
    "ACFunAdapterOptions",
    "ACFunMixAdapters",
    "ACFunExportAdapter",
    "ACFunFaceParts",
    "ACFunFindFace",
    "ACFunCropFace",
    "ACFunPasteFace",
    "ACFunScoreResult",
    "ACFunPickBest",
    "ACFunPhotoNoise",
}
PACK_MODULE = "custom_nodes.ComfyUI-ACFun"


@pytest.fixture(scope="module")
def pack_nodes(comfy) -> dict[str, dict]:
    """What the server tells about this pack's nodes."""
    with comfy.client() as client:
        everything = client.object_info()
    return {name: info for name, info in everything.items() if info["python_module"] == PACK_MODULE}


def test_the_host_is_the_version_we_name(comfy):
    with comfy.client() as client:
        running = client.system_stats()["system"]["comfyui_version"]
    assert running == ".".join(map(str, host_version()))
    if brought_comfy() is None:
        assert running == COMFY_VERSION


def test_the_log_has_no_import_error(comfy):
    # Other tests make nodes fail on purpose later on: only the start counts here.
    start, mark, _ = comfy.log().partition("Starting server")
    assert mark
    for trouble in ("IMPORT FAILED", "Cannot import", "Traceback"):
        assert trouble not in start


def test_all_nodes_are_there_in_our_category(pack_nodes):
    assert set(pack_nodes) >= NODE_IDS
    assert {info["category"].split("/")[0] for info in pack_nodes.values()} == {"ACFun"}


def test_every_node_has_a_name_and_a_description(pack_nodes):
    for name, info in pack_nodes.items():
        assert info["display_name"] and info["display_name"] != name, name
        assert info["description"], name


def test_every_input_and_output_has_a_tooltip(pack_nodes):
    missing = []
    for name, info in pack_nodes.items():
        for group in ("required", "optional"):
            for key, (_, *options) in info["input"].get(group, {}).items():
                if not (options and options[0].get("tooltip")):
                    missing.append(f"{name}.{key}")
        tooltips = info.get("output_tooltips") or []
        for index, output in enumerate(info["output_name"]):
            if index >= len(tooltips) or not tooltips[index]:
                missing.append(f"{name} -> {output}")
    assert not missing
