"""The training panel in the browser: its state, its events and routes, and the pictures in it."""
