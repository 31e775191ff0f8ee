"""The stages of the training, and the loop and the supply of pictures that they share."""
