"""ACFun: Abstract-Concrete Fusion Facial Stylization (NeurIPS 2024), independent of any host.

One style image and one face photo become an adapter for a frozen base of Stable Diffusion 1.x, 2.x or SDXL. Rooms, in an order
in which each may import only from those before it:

* ``errors``, ``whole_files``, ``options``, ``chance``, ``inference_tensors``, ``demo_base``, ``block_names``, ``config``,
  ``images``, ``masks``, ``strengths``, ``presets``: what everything stands on; every choice is declared once
* :mod:`~acfun_core.diffusion`     noise schedule and sampler, forwards and backwards
* :mod:`~acfun_core.unet`          where an adapter touches the UNet: blocks, hooks, windows
* :mod:`~acfun_core.transfer`      what a portrait takes from its photo and the style picture without a training
* :mod:`~acfun_core.host`          what a host hands over: the frozen base, through what the method needs of it
* :mod:`~acfun_core.method`        AFun (eq. 1-2), CFun (eq. 3), the adapter that holds both, several adapters at once
* :mod:`~acfun_core.training`      the loss (eq. 4), the loop, the copy guard, the state to go on from
* :mod:`~acfun_core.storage`       adapter files and exports
* :mod:`~acfun_core.faces`         faces found, cut out, put back, put together, compared
* :mod:`~acfun_core.backends`      the core on diffusers and transformers
* :mod:`~acfun_core.batch`         many styles and faces: the plan, what is done, the engines that do the rest
* :mod:`~acfun_core.command_line`  ``acfun train | sample | info | export | splice | batch``

Nothing in this package imports ComfyUI.
"""

__version__ = "0.1.0"
