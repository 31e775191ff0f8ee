"""Endless training pictures: photos, morphs of two sitters, drawn glasses, simulated media and real art."""
