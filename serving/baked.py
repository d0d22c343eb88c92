"""The popular items that a deployment brings along, read once at the start."""

import logging
from pathlib import Path

from contracts.baked import Baked, baked_name, decode_baked
from contracts.errors import ContractError
from contracts.settings import Settings

__all__ = ["FOLDER", "load_baked"]

_log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "baked"
"""Where they are unless the settings say otherwise: beside this file, so that they travel in the package."""


def load_baked(settings: Settings, shop: str) -> Baked | None:
    """The popular items of a shop; ``None``, and a warning, where there are none or they cannot be read."""
    file = Path(settings.serving.baked_folder or FOLDER) / baked_name(shop)
    try:
        return decode_baked(file.read_bytes())
    except FileNotFoundError:
        _log.info("%s is not there: the last rung of the ladder is empty; make it with python -m serving.bake", file)
    except (OSError, ContractError) as exc:
        _log.warning("%s was not taken over: %s", file, exc)
    return None
