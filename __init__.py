"""ACFun for ComfyUI: one style image, one photo, a portrait that is still the person."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
