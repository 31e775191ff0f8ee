"""Measurements of pictures, shared by reports and benchmarks. Not needed by users."""
