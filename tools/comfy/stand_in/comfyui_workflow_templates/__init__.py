"""Stands for ComfyUI's package of its own workflow templates, which the server looks for and this project does not use."""
