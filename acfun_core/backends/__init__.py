"""The core on diffusers and transformers, without ComfyUI.

* :mod:`acfun_core.backends.stable_diffusion` a base of Stable Diffusion 1.x, 2.x or SDXL: train on it, sample from it
* :mod:`acfun_core.backends.weights`          its parts from a diffusers folder or a single-file checkpoint
* :mod:`acfun_core.backends.prompt`           prompts with weights and S*, read as ComfyUI reads them
* :mod:`acfun_core.diffusion.sampling`         DDIM over the steps that ComfyUI's scheduler ``normal`` takes

diffusers and transformers are imported when a base is loaded, never before. Nothing is ever downloaded: every part is read
from a file that was named.
"""
