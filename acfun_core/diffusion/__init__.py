"""The noise schedule of a base, and the sampler over it: forwards to a picture, backwards to its noise."""
