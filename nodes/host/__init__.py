"""What reaches into ComfyUI's models, folders and text encoder; the nodes beside it use only what ComfyUI offers to nodes."""
