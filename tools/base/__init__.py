"""Training pipeline of the small embedded text-to-portrait base."""

from tools.comfy.launcher import define_torchvision_operators

# diffusers imports torchvision where it is installed, and that fails beside a torch build it was not made for.
define_torchvision_operators()
