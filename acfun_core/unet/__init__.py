"""Where an adapter touches a UNet: its ResBlocks by name, hooks on them, and when and where they act."""
