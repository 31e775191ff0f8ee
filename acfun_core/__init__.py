"""ACFun: Abstract-Concrete Fusion Facial Stylization (NeurIPS 2024), independent of any host.

One style image and one face photo become an adapter for a frozen Stable Diffusion 1.x or SDXL base:

* :mod:`acfun_core.afun`       abstract side: cross-attention from a face description to the style image (eq. 1-2)
* :mod:`acfun_core.cfun`       concrete side: an affine map on the standard deviation in the UNet's ResBlocks (eq. 3)
* :mod:`acfun_core.alignment`  the Face and Style Imagery Alignment loss (eq. 4); its other readings in
  :mod:`acfun_core.targets`
* :mod:`acfun_core.training`   the optimisation of both on one pair of images, watched by :mod:`acfun_core.guard`
* :mod:`acfun_core.adapter`    what is learned; how it is stored in :mod:`acfun_core.adapter_file`, and made smaller in
  :mod:`acfun_core.export`
* :mod:`acfun_core.injection`  how it gets into a UNet for the length of one call
* :mod:`acfun_core.strengths`  how much of it is used, when and where (:mod:`acfun_core.windows`), and several at once
  (:mod:`acfun_core.mixing`)
* :mod:`acfun_core.photo_noise`  where a portrait starts if not from chance: the photo's own noise, and a style's palette
* :mod:`acfun_core.config`     every choice, declared once by :mod:`acfun_core.options`

Nothing in this package imports ComfyUI.
"""

__version__ = "0.1.0"
