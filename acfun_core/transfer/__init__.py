"""Style transfer without training: a portrait drawn beside its photo and the style picture, from which it takes features."""
