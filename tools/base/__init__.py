"""Training pipeline of the small embedded text-to-portrait base."""
