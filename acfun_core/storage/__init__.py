"""Adapters as files, whole or smaller, and S* as a textual-inversion file."""
