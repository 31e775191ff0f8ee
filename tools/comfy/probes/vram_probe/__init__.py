"""Loads models in part, as --lowvram and --novram do on a GPU; beside --cpu, ComfyUI takes neither flag.

``ACFUN_TEST_LOADED_SHARE`` is the share of each model's weights that is loaded; the rest is cast layer by layer.
"""

import os

import comfy.model_management

NODE_CLASS_MAPPINGS = {}
SMALLEST = 0.1  # bytes; 0 would mean all


def load_in_part(share: float) -> None:
    stock = comfy.model_management.LoadedModel.model_load

    def model_load(self, lowvram_model_memory=0, force_patch_weights=False):
        more = share * self.model.model_size() - self.model.loaded_size()
        return stock(self, max(SMALLEST, more), force_patch_weights)

    comfy.model_management.LoadedModel.model_load = model_load


load_in_part(float(os.environ["ACFUN_TEST_LOADED_SHARE"]))
