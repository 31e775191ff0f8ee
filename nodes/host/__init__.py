"""Everything that touches ComfyUI's own classes, so that nodes and core do not have to."""
