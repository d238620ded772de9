"""PNG, JPEG and BMP pictures, 16-bit PNG included."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim, take_alpha, upright
from jaxgan.errors import InputError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Pillow would hand other formats to other programs: EPS to Ghostscript, whatever the file's suffix.
_FORMATS = ("PNG", "JPEG", "BMP")
_ORIENTATION = 0x0112  # EXIF's tag
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Pillow's limit is one for the whole process: it is lifted by one thread at a time, while a header is read.
_PILLOW = threading.Lock()


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """Decodes a picture, turned upright as its EXIF orientation says.

    Raises:
      InputError: a volume was asked for, a colour space without a stated conversion, impossible sizes.
    """
    from PIL import ImageOps

    if spatial_rank == 3:
        raise InputError(f"{path}: is a flat picture, not a volume; use 'jaxgan prepare folder' for images")
    with path.open("rb") as stream:
        header = stream.read(26)
    with _open(path) as image:
        wide = header.startswith(_PNG_MAGIC) and header[24] == 16
        if image.mode == "P":
            bands, dtype = 4 if "transparency" in image.info else 3, np.dtype(np.uint8)
        else:
            bands = len(image.getbands())
            dtype = np.dtype(np.uint16 if wide else np.int32 if image.mode in ("I", "F") else np.uint8)
        check_claim(path, (image.height, image.width, bands), dtype)
        if header.startswith(_PNG_MAGIC) and header[24] == 16 and header[25] in (2, 4, 6):
            # Pillow would quietly cut 16-bit colour to 8 bits.
            import imagecodecs

            pixels, alpha = imagecodecs.png_decode(path.read_bytes()), header[25] in (4, 6)
            pixels = upright(pixels if pixels.ndim == 3 else pixels[..., None], image.getexif().get(_ORIENTATION, 1))
        else:
            image = ImageOps.exif_transpose(image)
            pixels, alpha = _to_array(path, image)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    composited = False
    if alpha:
        pixels, composited = take_alpha(pixels)
    return [Decoded(pixels, composited=composited)]


def _open(path: Path) -> ImageFile:
    """An opened picture, not yet decoded: bombs are refused by our own limit, with our own line, not by Pillow's."""
    from PIL import Image

    with _PILLOW:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _to_array(path: Path, image) -> tuple[np.ndarray, bool]:
    """The picture's values and whether its last channel is alpha."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "YCbCr":
        image = image.convert("RGB")
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), False
    if image.mode not in ("L", "LA", "RGB", "RGBA", "I", "F"):
        raise InputError(f"{path}: colour mode {image.mode} is not supported; save it as RGB or gray")
    return np.asarray(image), image.mode in ("LA", "RGBA")
