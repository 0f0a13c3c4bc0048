"""Whether transformers' video processors can open a file: since torchvision 0.26 they cannot without torchcodec."""

from __future__ import annotations

import importlib.util


def can_open_videos() -> bool:
    """Tell whether a video processor of transformers can decode a file here.

    It takes torchcodec, or the decoder that torchvision had until 0.26. Where it cannot, a pipeline does without
    one: then transformers reads the frames with PyAV and gives them to the model's image processor, as it does
    where torchvision is not installed.
    """
    from transformers.utils import import_utils

    # Releases before it took what is installed.
    is_usable = getattr(import_utils, "is_torchcodec_usable", None)
    if is_usable(decode="video") if is_usable is not None else import_utils.is_torchcodec_available():
        return True
    if importlib.util.find_spec("torchvision") is None:
        return False
    import torchvision

    return hasattr(torchvision.io, "read_video")
