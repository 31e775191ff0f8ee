"""Portraits compared with their training pictures, and the best of several."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui
from torch import Tensor

from ..acfun_core.config import COPY_LIMIT
from ..acfun_core.errors import ACFunError
from ..acfun_core.faces.detector import find_landmarks
from ..acfun_core.faces.identity import FaceEncoder
from ..acfun_core.faces.score import LikenessByCLIP, Score, copied_share, likeness_by_face, ranking
from ..acfun_core.images import check_batch, check_image
from ..acfun_core.options import check_range
from .faces import tell
from .host.files import FOLDER
from .host.model_files import DETECTORS, FACE_ENCODERS, NO_MODEL, fingerprint_of_model, list_models, model_path
from .host.pictures import seen_by
from .schema import schema
from .score_chart import MOST_ROWS, draw_scores

Scores = io.Custom("ACFUN_SCORES")


def _pictures_to_score() -> list[io.Input]:
    """The portraits, and what they were made from."""
    return [
        io.Image.Input("image", tooltip="One or more portraits of the same face in the same style."),
        io.Image.Input("style_image", tooltip="The style picture of the training."),
        io.Image.Input("face_image", tooltip="The photo of the training."),
        io.ClipVision.Input(
            "clip_vision", tooltip="CLIP vision, which measures the style. Good: the one of the training."
        ),
    ]


def _measures() -> list[io.Input]:
    """What measures the identity."""
    return [
        io.Combo.Input(
            "face_encoder",
            options=list_models(FACE_ENCODERS),
            tooltip=(
                f"What measures identity: an SFace file in models/{FOLDER} (face_recognition_sface_2021dec.onnx "
                "of OpenCV Zoo) compares faces. With none, CLIP vision compares whole pictures, which says "
                "little about who it is. Good: the file."
            ),
        ),
        io.Combo.Input(
            "detector",
            options=list_models(DETECTORS),
            tooltip=(
                f"A YuNet file in models/{FOLDER}, which finds the faces for the face encoder. With face_encoder "
                "none it is not used. Good: the file."
            ),
        ),
    ]


class ScoreACFunResult(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunScoreResult",
            display_name="Score ACFun Result",
            description=(
                "Says of each portrait how near it is to the person, how near to the style, and whether it only copies "
                "one of the two pictures or blends them. For comparing seeds and settings, not for comparing methods."
            ),
            search_aliases=["evaluate", "similarity", "metric", "identity score"],
            is_output_node=True,
            inputs=[*_pictures_to_score(), *_measures()],
            outputs=[
                Scores.Output(display_name="scores", tooltip="All numbers of all portraits, for Pick Best of N."),
                io.Float.Output(
                    display_name="identity",
                    tooltip=(
                        "From 0, no nearer to the photo than the style picture is, to 1, the photo itself; the mean of a "
                        "batch. It is no probability that it is the same person."
                    ),
                ),
                io.Float.Output(
                    display_name="style",
                    tooltip=(
                        "From 0, no nearer to the style picture than the photo is, to 1, the style picture itself; the "
                        "mean of a batch. It is no judgement of taste."
                    ),
                ),
                io.Float.Output(
                    display_name="copy",
                    tooltip=(
                        "Share of the picture that a blend of both pictures explains, the highest of a batch: 1 is a "
                        f"copy or a blend. Portraits that are framed alike share some of it; from {COPY_LIMIT} on it is a copy."
                    ),
                ),
                io.Image.Output(display_name="chart", tooltip="The numbers as bars, one row a portrait."),
                io.String.Output(display_name="notice", tooltip="The numbers as text, and what could not be measured."),
            ],
        )

    @classmethod
    def validate_inputs(cls, face_encoder, detector) -> bool:
        # ComfyUI would compare them with the lists letter by letter; model_path also knows the other separator of folders.
        return True

    @classmethod
    def fingerprint_inputs(cls, face_encoder="", detector="", **others):
        files = fingerprint_of_model(FACE_ENCODERS, face_encoder), fingerprint_of_model(DETECTORS, detector)
        return face_encoder, detector, *files

    @classmethod
    def execute(cls, image, style_image, face_image, clip_vision, face_encoder, detector) -> io.NodeOutput:
        portraits = check_batch(image, "image")
        style = check_image(style_image, "style image", contrast=True)
        face = check_image(face_image, "face image", contrast=True)
        likeness = LikenessByCLIP(partial(seen_by, clip_vision), portraits, style, face)
        if face_encoder == NO_MODEL:
            identities, notices = likeness.to_face(), ["Identity is by CLIP vision: whole pictures, not faces."]
        else:
            identify = identify_with(model_path(FACE_ENCODERS, face_encoder), model_path(DETECTORS, detector))
            on_portrait = progress_of(len(portraits))
            identities, notices = likeness_by_face(identify, portraits, style, face, on_portrait)
        copies = [copied_share(portrait, [style, face]) for portrait in portraits.split(1)]
        scores = [Score(*numbers) for numbers in zip(identities, likeness.to_style(), copies)]
        notice = "\n".join([*map(line_of, range(1, len(scores) + 1), scores), *notices])
        tell(notice)
        chart = draw_scores(scores[:MOST_ROWS])
        return io.NodeOutput(
            tuple(scores),
            sum(one.identity for one in scores) / len(scores),
            sum(one.style for one in scores) / len(scores),
            max(one.copy for one in scores),
            chart,
            notice,
            ui=ui.PreviewImage(chart, cls=cls),
        )


def identify_with(encoder: Path, detector: Path) -> Callable[[Tensor, str], Tensor]:
    """A face encoder that finds the face first, both from files."""
    encode = FaceEncoder(encoder)
    return lambda picture, role: encode(picture, find_landmarks(picture, detector, role)[0])


def progress_of(total: int) -> Callable[[], None]:
    """What is called after each of so many portraits: counts them for the editor, and ends a cancelled prompt."""
    bar = comfy.utils.ProgressBar(total)

    def on_portrait() -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(1)

    return on_portrait


def line_of(number: int, score: Score) -> str:
    copied = " (a copy or a blend)" if score.is_copy() else ""
    return f"Picture {number}: identity {score.identity:.2f}, style {score.style:.2f}, copy {score.copy:.2f}{copied}."


class PickBestOfN(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ACFunPickBest",
            display_name="Pick Best of N",
            description=(
                "Keeps the portraits that are nearest to the person and to the style at once. A copy or a blend of the "
                "two training pictures is never kept."
            ),
            search_aliases=["best of batch", "rank images", "select image"],
            is_output_node=True,
            inputs=[
                io.Image.Input("image", tooltip="The portraits that were scored."),
                Scores.Input("scores", tooltip="From Score ACFun Result, for the same portraits."),
                io.Int.Input("count", default=1, min=1, max=64, tooltip="How many to keep, the best first. Good: 1."),
                io.Float.Input(
                    "identity_weight",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="What counts: 0 the style alone, 1 the person alone. Good: 0.5.",
                ),
                io.Float.Input(
                    "copy_limit",
                    default=COPY_LIMIT,
                    min=0.5,
                    max=0.97,
                    step=0.01,
                    tooltip=(
                        "From this copied share on, a portrait is a copy and is left out; lower is stricter. Good: "
                        f"{COPY_LIMIT}."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(display_name="best", tooltip="The portraits kept, the best first."),
                io.Int.Output(
                    display_name="index",
                    tooltip="Place of the best in its batch, the first is 0. For Image From Batch or Latent From Batch.",
                ),
                io.String.Output(display_name="notice", tooltip="Which portraits were kept, and with which numbers."),
            ],
        )

    @classmethod
    def execute(cls, image, scores, count, identity_weight, copy_limit) -> io.NodeOutput:
        portraits = check_batch(image, "image")
        if len(portraits) != len(scores):
            raise ACFunError(
                f"There are {len(portraits)} pictures and scores of {len(scores)}.",
                "the pictures that were scored",
                "connect the same batch to Score ACFun Result and Pick Best of N",
            )
        check_choice(count, identity_weight, copy_limit)
        order = ranking(scores, identity_weight, copy_limit)
        if not order:
            raise ACFunError(
                f"All {len(scores)} pictures are copies or blends of the two training pictures.",
                f"at least one with a copied share below {copy_limit:g}",
                "train with fewer steps, draw other seeds, or raise copy_limit",
            )
        kept = order[:count]
        notice = "\n".join(line_of(at + 1, scores[at]) for at in kept)
        if len(order) < len(scores):
            notice += f"\n{len(scores) - len(order)} left out as copies or blends."
        tell(notice)
        best = portraits[kept]
        return io.NodeOutput(best, kept[0], notice, ui=ui.PreviewImage(best, cls=cls))


def check_choice(count: int, identity_weight: float, copy_limit: float) -> None:
    """Raise unless the widgets hold what the editor would let a user choose; a wire or the API may bring anything."""
    check_range("count", count, 1, 64)
    check_range("identity_weight", identity_weight, 0, 1)
    check_range("copy_limit", copy_limit, 0.5, 0.97)
