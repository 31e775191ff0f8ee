"""Learning an adapter from one pair of pictures."""
