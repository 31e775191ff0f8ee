"""What a training imports, for the process that :mod:`tools.kill` forks its trainings from."""

from __future__ import annotations

import acfun_core.command_line  # noqa: F401
from acfun_core.backends.libraries import imported

for library, names in {
    "diffusers": ("AutoencoderTiny", "UNet2DConditionModel"),
    "transformers": ("CLIPTextModelWithProjection", "CLIPTokenizer", "CLIPVisionModelWithProjection"),
}.items():
    for name in names:
        imported(library, name)
