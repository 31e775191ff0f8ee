"""All stages in order: `python -m tools.base --data FOLDER [--run FOLDER] [--workers 2]`.

Each stage continues from its checkpoint; a stage that has used up its minutes ends at once.
"""

import subprocess
import sys

STAGES = (
    "data",
    "tokenizer",
    "train_autoencoder",
    "train_encoders",
    "spread_words",
    "train_unet",
    "train_decoder",
    "train_image_encoder",
    "export",
    "report",
)

if __name__ == "__main__":
    for stage in STAGES:
        subprocess.run([sys.executable, "-m", f"tools.base.{stage}", *sys.argv[1:]], check=True)
