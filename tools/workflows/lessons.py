"""What else an adapter can do: follow words, mix with another, act on parts of a face, work on frames."""

from __future__ import annotations

import dataclasses
import json

from acfun_core.faces.crop import CLOSE_UP
from acfun_core.presets import PRESETS

from .graph import Graph, Node
from .node_types import NodeTypes
from .parts import (
    BLUE,
    BROWN,
    FACE,
    FACE_2_SEED,
    FACE_BOX,
    GREEN,
    GREY,
    SIDE,
    STYLE,
    apply,
    beside_both,
    by_preset,
    close_up,
    decode,
    draw,
    example,
    load_base,
    note,
    plain_sampler,
    sampler,
    save,
    style_transfer,
    train,
    train_style,
)

DESCRIPTION = "a photo of a woman in S* style"
SECOND_STYLE = "style_pop.png"
DRAWN = "an oil painting of a woman"
EDITS = {
    "Smiling": "an oil painting of a smiling woman",
    "Serious": "an oil painting of a serious woman",
    "Glasses": "an oil painting of a woman with glasses",
    "Old": "an oil painting of an old woman",
    "Young": "an oil painting of a young woman",
    "Man": "an oil painting of a man",
    "Woodcut": "a woodcut print of a woman",
    "Charcoal": "a charcoal drawing of a woman",
}
GROUP = {
    "face_london_woman.jpg": "a woodcut print of a woman",
    "face_astronaut.png": "a woodcut print of a woman",
    "face_london_man.jpg": "a woodcut print of a man",
}
"""The people of the photo from left to right, and the words for each."""
ON_THE_PHOTO = {**dataclasses.asdict(PRESETS["instant"].transfer), "background": 0.0}
"""What goes back into a photo keeps the photo's ground around the head, not the style picture's."""
SIDE_BY_SIDE = {"direction": "right", "match_image_size": True, "spacing_width": 0, "spacing_color": "white"}
BOX_IN_FRAMES = {"box_x": 69, "box_y": 47, "box_width": 262, "box_height": 325}
"""Around the face in the film's frames, so large that the cut is the whole frame."""
SERIOUS, OTHER_FACE = "face_london_man.jpg", "face_london_woman.jpg"
PRINT_OF_A_MAN = "a woodcut print of a man"
FEW_STEPS = 20
"""At more, the swaps of the preset leave less of a smile."""
OFF = {"abstract_strength": 0.0, "encoder_strength": 0.0, "decoder_strength": 0.0}
COLUMN = 420  # pixels from one column to the next
BATCH = 6  # portraits to choose from
LIVE = {"steps": 4, "sampler_name": "dpmpp_2m", "scheduler": "sgm_uniform"}
"""A live preview, from the noise of the full drawing in a tenth of its steps. Of those tried, this sampler comes nearest."""


def _begin(name: str, types: NodeTypes, text: str, height: int = 360) -> tuple[Graph, Node]:
    """A graph with its note, of this height, and the base."""
    graph = Graph(name, types)
    graph.column(x=0, width=380)
    graph.note("Start here", note(text), height=height)
    with graph.group("Base", GREY):
        graph.column(x=0, width=380, y=height + 130)
        base = load_base(graph)
    return graph, base


def _face_and_style(graph: Graph) -> tuple[Node, Node]:
    with graph.group("1  Face and style", BLUE):
        graph.column(x=440, width=300)
        return example(graph, "Face", FACE), example(graph, "Style", STYLE)


def _picture(graph: Graph, base: Node, latent: Node, title: str, prefix: str) -> None:
    save(graph, decode(graph, base, latent, f"Decode {title}"), title, f"acfun/{prefix}")


def text_edits(types: NodeTypes) -> Graph:
    """One photo, one style picture, many prompts: words decide what is made of both."""
    graph, base = _begin("text_edits", types, "text_edits")
    face, style = _face_and_style(graph)
    with graph.group("2  Cut the photo around the face", GREEN):
        graph.column(x=800, width=380)
        cut = close_up(graph, face["image"])

    def drawn(prompt: str, title: str) -> Node:
        return by_preset(graph, "follow_text", base, base, cut, style, prompt, title)

    with graph.group("3  Draw", BROWN):
        graph.column(x=1240, width=380)
        _picture(graph, base, drawn(DRAWN, "Sampler"), "Result", "plain_words")
    for number, (title, prompt) in enumerate(EDITS.items(), 1):
        with graph.group(title, BLUE):
            graph.column(x=1240 + number * COLUMN, width=380)
            edited = drawn(prompt, f"Sampler {title}")
            _picture(graph, base, edited, title, f"edit_{title.lower()}")
    return graph


def two_styles(types: NodeTypes) -> Graph:
    """Two adapters of one face, mixed by weight."""
    graph, base = _begin("two_styles", types, "two_styles")
    with graph.group("1  A face and two styles", BLUE):
        graph.column(x=440, width=300)
        face = example(graph, "Face", FACE)
        style, second = example(graph, "Style", STYLE), example(graph, "Style 2", SECOND_STYLE)
    with graph.group("2  Train two adapters", GREEN):
        graph.column(x=800, width=420)
        trained = train(graph, base, style, face["image"], DESCRIPTION, "two_styles_first")
        other = train(graph, base, second, face["image"], DESCRIPTION, "two_styles_second", title="Train 2")
    with graph.group("3  Mix", BROWN):
        graph.column(x=1280, width=380)
        mixed = graph.add(
            "ACFunMixAdapters",
            "Mix",
            adapter_1=trained["adapter"],
            weight_1=0.5,
            adapter_2=other["adapter"],
            weight_2=0.5,
        )
        drawn = draw(graph, base, mixed, DESCRIPTION)
        graph.column(x=1700, width=380)
        _picture(graph, base, drawn, "Result", "two_styles")
    for number, (source, title) in enumerate(((trained, "First alone"), (other, "Second alone"))):
        with graph.group(title, GREY):
            graph.column(x=2120 + number * COLUMN, width=380)
            alone = apply(graph, base, source["adapter"], f"Apply {title}")
            _picture(graph, base, sampler(graph, alone, DESCRIPTION, f"Sampler {title}"), title, f"style_{number + 1}")
    return graph


def face_parts(types: NodeTypes) -> Graph:
    """The style strong on hair and background, weak on eyes and mouth."""
    graph, base = _begin("face_parts", types, "face_parts", height=470)
    face, style = _face_and_style(graph)
    with graph.group("2  Train", GREEN):
        graph.column(x=800, width=420)
        trained = train(graph, base, style, face["image"], DESCRIPTION, "face_parts")
    with graph.group("3  Where the style acts", BLUE):
        graph.column(x=1280, width=380)
        found = graph.add("ACFunFindFace", "Find face", room=True, image=face["image"], **FACE_BOX)
        weights = {"eyes": 0.4, "nose": 0.7, "mouth": 0.4, "skin": 1.0, "hair": 1.4, "background": 1.6}
        parts = graph.add(
            "ACFunFaceParts",
            "Parts",
            room=True,
            image=face["image"],
            landmarks=found["landmarks"],
            regions=json.dumps(weights),
        )
        options = graph.add("ACFunAdapterOptions", "Options", mask=parts["mask"])
    with graph.group("4  Draw", BROWN):
        graph.column(x=1700, width=380)
        applied = apply(graph, base, trained["adapter"], options=options["options"])
        _picture(graph, base, sampler(graph, applied, DESCRIPTION), "Result", "face_parts")
    with graph.group("The same everywhere", GREY):
        graph.column(x=2120, width=380)
        even = apply(graph, base, trained["adapter"], "Apply evenly")
        _picture(graph, base, sampler(graph, even, DESCRIPTION, "Sampler evenly"), "Even", "face_parts_even")
    with graph.group("While you move the sliders", BLUE):
        graph.column(x=1280, width=380, y=1570)
        drawn = sampler(graph, applied, DESCRIPTION, "Live sampler", **LIVE)
        portrait = decode(graph, base, drawn, "Decode live preview")
        graph.column(x=1700, width=380, y=1570)
        graph.add("PreviewImage", "Live preview", room=True, images=portrait)
    return graph


def smile_slider(types: NodeTypes) -> Graph:
    """A smile learned from two descriptions, as a strength beside a style."""
    graph, base = _begin("smile_slider", types, "smile_slider")
    with graph.group("1  A face, another to learn on, and a style", BLUE):
        graph.column(x=440, width=300)
        face, other = example(graph, "Face", SERIOUS), example(graph, "Other face", OTHER_FACE)
        style = example(graph, "Style", STYLE)
    with graph.group("2  Learn a smile", GREEN):
        graph.column(x=800, width=380)
        photos = graph.add("ImageBatch", "Photos", image1=face["image"], image2=other["image"])
        trained = graph.add(
            "ACFunTrainSlider",
            "Train",
            room=True,
            **{name: base[name] for name in ("model", "clip", "vae")},
            photos=photos["image"],
            more="a photo of a smiling person",
            less="a photo of a serious person",
            push=10.0,
            resolution=SIDE,
            name="smile",
        )
    far = {"encoder_strength": 2.0, "decoder_strength": 2.0}
    drawn = ("Result", "", far), ("Half as far", " half", {})
    for number, (title, suffix, strengths) in enumerate((*drawn, ("Without", " without", OFF))):
        with graph.group(title, BROWN):
            graph.column(x=1240 + number * COLUMN, width=380)
            applied = apply(graph, base, trained["adapter"], f"Apply{suffix}", **strengths)
            sampler_of = {"title": f"Sampler{suffix}", "adapter": applied["adapter"], "steps": FEW_STEPS}
            portrait = by_preset(graph, "instant", applied, base, face["image"], style, PRINT_OF_A_MAN, **sampler_of)
            _picture(graph, base, portrait, title, f"smile{suffix.replace(' ', '_')}")
    return graph


def video_frames(types: NodeTypes) -> Graph:
    """Frames of a film, each drawn from the noise that it comes from itself, and put back: calm, and without a training."""
    graph, base = _begin("video_frames", types, "video_frames", height=560)
    face, style = _face_and_style(graph)
    with graph.group("2  Frames", BLUE):
        graph.column(x=800, width=340)
        frames = _frames(graph, face)
    with graph.group("3  Cut the faces, some at a time", GREEN):
        graph.column(x=1200, width=380)
        found = graph.add("ACFunFindFace", "Find faces", room=True, image=frames["image"], **BOX_IN_FRAMES)
        cut = graph.add(
            "ACFunCropFace",
            "Cut",
            room=True,
            image=frames["image"],
            landmarks=found["landmarks"],
            size=SIDE,
            eye_distance=CLOSE_UP,
        )
        some = graph.add("RebatchImages", "Some at a time", images=cut["face"], batch_size=4)
    with graph.group("4  Draw each from its own noise", BROWN):
        graph.column(x=1640, width=380)
        calm = {**dataclasses.asdict(PRESETS["instant"].transfer), "calm": 0.5}
        options = graph.add("ACFunTransferOptions", "Calm", **calm)
        patched = style_transfer(graph, base, some["image"], style, options=options["options"])
        latent = beside_both(graph, base, patched, "a woodcut print of a woman")
        drawn = graph.add("RebatchImages", "Together", images=decode(graph, base, latent, "Decode"), batch_size=4096)
    with graph.group("5  Put them back", BROWN):
        graph.column(x=2060, width=380)
        whole = graph.add(
            "ACFunPasteFace", "Paste", image=frames["image"], face=drawn["image"], crop=cut["crop"], feather=0.02
        )
        save(graph, whole["image"], "Result", "acfun/frame")
        graph.add(
            "SaveAnimatedWEBP",
            "Animation",
            room=True,
            images=whole["image"],
            filename_prefix="acfun/frames",
            fps=6.0,
            lossless=False,
            quality=90,
            method="default",
        )
    return graph


def group_photo(types: NodeTypes) -> Graph:
    """Every face of a photo of several people, each with its own strength and words, drawn and put back."""
    graph, base = _begin("group_photo", types, "group_photo", height=470)
    with graph.group("1  The photo and the style", BLUE):
        graph.column(x=440, width=300)
        people = [
            graph.add("ACFunExampleImage", f"Person {number}", picture=name) for number, name in enumerate(GROUP, 1)
        ]
        photo = people[0]["image"]
        for number, person in enumerate(people[1:], 2):
            both = {"image1": photo, "image2": person["image"]}
            photo = graph.add("ImageStitch", f"People 1-{number}", **both, **SIDE_BY_SIDE)["image"]
        graph.add("PreviewImage", "Photo", room=True, images=photo)
        style = example(graph, "Style", STYLE)
    with graph.group("2  Find every face", GREEN):
        graph.column(x=800, width=380)
        found = graph.add("ACFunFindFace", "Find faces", room=True, image=photo, order="left to right", face_number=0)
        cut = graph.add(
            "ACFunCropFace",
            "Cut",
            room=True,
            image=photo,
            landmarks=found["landmarks"],
            size=SIDE,
            eye_distance=CLOSE_UP,
        )
        each = graph.add(
            "ACFunEachFace",
            "Each face",
            room=True,
            face=cut["face"],
            strengths="1, 0.6, 1",
            texts="\n".join(GROUP.values()),
        )
    with graph.group("3  Draw one after the other", BROWN):
        graph.column(x=1240, width=380)
        options = graph.add("ACFunTransferOptions", "Ground of the photo", **ON_THE_PHOTO)
        changes = {"strength": each["strength"], "options": options["options"]}
        patched = style_transfer(graph, base, each["face"], style, **changes)
        latent = beside_both(graph, base, patched, each["text"])
        drawn = graph.add("RebatchImages", "Together", images=decode(graph, base, latent, "Decode"), batch_size=64)
    with graph.group("4  Put them back", BLUE):
        graph.column(x=1660, width=380)
        whole = graph.add("ACFunPasteFace", "Paste", image=photo, face=drawn["image"], crop=cut["crop"], feather=0.3)
        save(graph, whole["image"], "Result", "acfun/group")
    return graph


def _frames(graph: Graph, face: Node) -> Node:
    """Four cuts of one photo, each a little to the right of the one before: a camera that moves."""

    def cut(number: int) -> Node:
        size = {"width": 376, "height": 376}
        return graph.add("ImageCrop", f"Frame {number}", image=face["image"], **size, x=44 + 8 * (number - 1), y=58)

    frames = cut(1)
    for number in (2, 3, 4):
        further = cut(number)
        frames = graph.add("ImageBatch", f"Frames 1-{number}", image1=frames["image"], image2=further["image"])
    return frames


def any_photo(types: NodeTypes) -> Graph:
    """One adapter of the style alone, and portraits of two people who were not in its training."""
    graph, base = _begin("any_photo", types, "any_photo", height=400)
    face, style = _face_and_style(graph)
    with graph.group("2  Train on the style alone", GREEN):
        graph.column(x=800, width=420)
        trained = train_style(graph, base, style, "any_photo")
        applied = apply(graph, base, trained["adapter"])
    with graph.group("3  Cut the photo around the face", BLUE):
        graph.column(x=1280, width=380)
        cut = close_up(graph, face["image"])
    prompt = PRESETS["keep_person"].prompt
    with graph.group("4  Draw", BROWN):
        graph.column(x=1700, width=380)
        drawn = by_preset(graph, "keep_person", applied, base, cut, style, prompt)
        _picture(graph, base, drawn, "Result", "any_photo")
    with graph.group("Somebody else", GREY):
        graph.column(x=2120, width=380)
        drawn = plain_sampler(graph, base, "a photo of a man", "of somebody else", FACE_2_SEED)
        other = decode(graph, base, drawn, "Somebody else")
        graph.add("PreviewImage", "Somebody else preview", room=True, images=other)
        graph.column(x=2540, width=380)
        again = by_preset(graph, "keep_person", applied, base, other, style, prompt, "Sampler somebody else")
        _picture(graph, base, again, "Result somebody else", "any_photo_other")
    return graph


def best_of_n(types: NodeTypes) -> Graph:
    """A batch of portraits, the numbers of each, and the best of them."""
    graph, base = _begin("best_of_n", types, "best_of_n")
    face, style = _face_and_style(graph)
    with graph.group("2  Train", GREEN):
        graph.column(x=800, width=420)
        trained = train(graph, base, style, face["image"], DESCRIPTION, "best_of_n")
    with graph.group("3  Draw several", BROWN):
        graph.column(x=1280, width=380)
        applied = apply(graph, base, trained["adapter"])
        drawn = sampler(graph, applied, DESCRIPTION, batch_size=BATCH)
        portraits = decode(graph, base, drawn, "Decode")
        graph.add("PreviewImage", "All", room=True, images=portraits)
    with graph.group("4  Score and pick", BLUE):
        graph.column(x=1700, width=400)
        scored = graph.add(
            "ACFunScoreResult",
            "Score",
            room=True,
            image=portraits,
            style_image=style["image"],
            face_image=face["image"],
            clip_vision=base["clip_vision"],
        )
        best = graph.add("ACFunPickBest", "Best", room=True, image=portraits, scores=scored["scores"])
    with graph.group("5  Keep", BROWN):
        graph.column(x=2160, width=380)
        save(graph, best["best"], "Result", "acfun/best")
        save(graph, scored["chart"], "Chart", "acfun/scores")
    return graph
