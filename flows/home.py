"""Where a deployed run finds the code: on the machine or in the image where it runs, not where it was deployed."""

import os
from pathlib import Path


def enter() -> dict[str, str]:
    """Make the folder of Evermodel's code the working directory: a deployment's pull step."""
    home = str(Path(__file__).parent.parent)
    os.chdir(home)
    return {"directory": home}
