"""Draws the example style pictures: a parametric head model and several simulated media."""
