"""Reads one photograph: upright uint8 RGB, and all that is needed to store it the same way again.

A file that cannot be read whole and safely is refused with a `PhotoError` that says why: a run skips and lists it.
Pictures with several frames or pages are refused too, since the faces in the others would stay.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from mien.errors import PhotoError
from mien.images.formats import (
    READABLE,
    clean_icc,
    printable,
    strip_jpeg,
    strip_webp,
    webp_chunks,
    webp_is_lossless,
)
from mien.images.pixel_modes import take_apart
from mien.types import Encoding, Photo, Pixels

if TYPE_CHECKING:
    from PIL import JpegImagePlugin

_ORIENTATION = 0x0112
_DNG_VERSION = 0xC612
_MOVING = {"GIF": "an animated GIF", "PNG": "an animated PNG", "WEBP": "an animated WebP",
           "AVIF": "an animated AVIF", "TIFF": "a TIFF of several pages"}  # fmt: skip
_TIFF_LOSSLESS = {"tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"}
_TIFF_BILEVEL = {"group3", "group4"}
LARGEST = 2**30  # bytes of a photograph's file, and of those kept for writing it unchanged
_EMPTY = "the file is empty (0 bytes)"
_pillow_lock = threading.RLock()


def read_photo(path: Path, name: str, max_pixels: int = 200_000_000) -> Photo:
    """Reads the photograph at `path`.

    Color of more than 8 bits a channel is read as 8 bits, since Pillow gives no more; gray keeps all of its bits in
    `Photo.native`. Of an MPO (stereo pair, motion photo) the first picture is read.

    Args:
        path: the file; links are followed.
        name: what the photo is called in records and messages, relative to the source folder.
        max_pixels: the largest width times height; checked in the header, before anything is decoded.

    Returns:
        `pixels` [H, W, 3] uint8 RGB, EXIF orientation applied, contiguous.

    Raises:
        PhotoError: the file cannot be opened, is no photograph in a supported format, is damaged, cut short, too
            large, or holds several pictures. The message starts with `printable(name)` and a colon.
    """
    with _opened(path, name) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise _error(name, _EMPTY)
        return _read(file, name, max_pixels)


def read_photo_bytes(data: bytes, name: str, max_pixels: int = 200_000_000) -> Photo:
    """Reads a photograph from the bytes of its file, as `read_photo` does.

    Raises:
        PhotoError: as `read_photo`.
    """
    if not data:
        raise _error(name, _EMPTY)
    return _read(io.BytesIO(data), name, max_pixels)


def read_file(path: Path, name: str) -> bytes:
    """Returns the bytes of a photograph's file.

    Raises:
        PhotoError: the file cannot be read, is none, or is larger than `LARGEST`.
    """
    with _opened(path, name) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(LARGEST) if size <= LARGEST else b""
        except OSError as error:
            raise _error(name, f"the file cannot be read ({error.strerror})") from error
    if size > LARGEST:
        raise _error(name, f"{size:,} bytes are more than a photograph may have")
    return data


def decode_pixels(data: bytes, max_pixels: int = 200_000_000) -> Pixels:
    """Returns the upright pixels of an encoded photo, [H, W, 3] uint8 RGB, decoded as `read_photo` does.

    Raises:
        PhotoError: as `read_photo`.
    """
    return _read(io.BytesIO(data), "the encoded photo", max_pixels).pixels


def _read(file: IO[bytes], name: str, max_pixels: int) -> Photo:
    with _guarded(max_pixels), _identified(file, name, max_pixels) as image:
        _refuse_unfit(image, name)
        _decode(image, name)
        try:
            return _photo(image, file, name)
        except Exception as error:
            raise _error(name, f"the picture cannot be converted ({_brief(error)})") from error


def _error(name: str, reason: str, hint: str = "") -> PhotoError:
    return PhotoError(f"{printable(name)}: {reason}", hint=hint)


def _brief(error: BaseException) -> str:
    return printable(str(error).partition("\n")[0][:120]) or type(error).__name__


def _opened(path: Path, name: str) -> IO[bytes]:
    """Opens a file without ever blocking: pipes and devices are refused before and after opening."""
    try:
        _refuse_irregular(path.stat(), name)
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(number, "rb")
    except OSError as error:
        raise _error(name, _why_closed(error)) from error
    except ValueError as error:
        raise _error(name, f"no such file name is possible ({_brief(error)})") from error
    try:
        _refuse_irregular(os.fstat(number), name)
    except PhotoError:
        file.close()
        raise
    return file


def _refuse_irregular(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _error(name, "this is a folder, not a photograph")
    if not stat.S_ISREG(status.st_mode):
        raise _error(name, "this is a pipe or a device, not a file")


def _why_closed(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file does not exist, or is a link to one that does not"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if error.errno == errno.ELOOP:
        return "the link leads round in a circle"
    return f"the file cannot be opened ({error.strerror})"


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow from warning and logging, and other threads from using it, until the context ends.

    Pillow's settings, warnings and logs are those of the whole process, hence the lock: photos are decoded and encoded
    one at a time in a process.
    """
    log, handler = logging.getLogger("PIL"), logging.NullHandler()
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.addHandler(handler)  # without any handler, errors would go to the terminal
        try:
            yield
        finally:
            log.removeHandler(handler)


@contextlib.contextmanager
def _guarded(max_pixels: int) -> Iterator[None]:
    """Makes Pillow respect `max_pixels`, refuse cut-off files and stay silent, until the context ends."""
    with quiet_pillow():
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _identified(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    Image.init()
    try:
        image = Image.open(file, formats=[kind for kind in READABLE if kind in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise _too_large(name, max_pixels) from error
    except UnidentifiedImageError as error:
        raise _error(name, _what_else(file)) from error
    except Exception as error:
        raise _error(name, f"the file's header is damaged or cut short ({_brief(error)})") from error
    if image.width * image.height > max_pixels:
        raise _too_large(name, max_pixels, image.size)
    return image


def _too_large(name: str, limit: int, size: tuple[int, int] | None = None) -> PhotoError:
    says = f"{size[0]} x {size[1]} pixels are" if size else "the picture claims to be"
    return _error(name, f"{says} more than the limit of {limit:,} pixels", hint="Scale the photo down first.")


def _what_else(file: IO[bytes]) -> str:
    """Says what an unreadable file is, for kinds that are common in folders of photographs."""
    file.seek(0)
    head = file.read(32)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return "HEIC is not supported: convert it to JPEG first"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return "JPEG XL is not supported: convert it to JPEG first"
    for magic, kind in ((b"%PDF", "PDF"), (b"%!PS", "PostScript"), (b"<svg", "SVG")):
        if head.startswith(magic):
            return f"{kind} is a drawing or a document, not a photograph"
    known = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
    damaged = head.startswith(known)
    return "the file's header is damaged or cut short" if damaged else "not an image in a supported format"


def _refuse_unfit(image: Image.Image, name: str) -> None:
    from PIL import TiffImagePlugin  # importing it registers it

    try:
        moving = image.format in _MOVING and bool(getattr(image, "is_animated", False))
    except Exception as error:
        raise _error(name, f"the file is damaged or cut short ({_brief(error)})") from error
    if moving:
        kind = _MOVING[image.format or ""]
        raise _error(name, f"{kind}: the faces in its other pictures would stay", hint="Save its pictures one by one.")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _DNG_VERSION in image.tag_v2:
        raise _error(name, "a camera's raw file (DNG)", hint="Develop it to JPEG or TIFF first.")


def _decode(image: Image.Image, name: str) -> None:
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise _error(name, "the picture is larger than its header says") from error
    except MemoryError as error:
        raise _error(name, "not enough memory for a picture of this size") from error
    except Exception as error:  # a damaged file can raise anything from its decoder
        raise _error(name, f"the file is damaged or cut short ({_brief(error)})") from error


def _photo(image: Image.Image, file: IO[bytes], name: str) -> Photo:
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    icc = clean_icc(image.info.get("icc_profile"))
    orientation = _orientation(image)
    verbatim, options = None, _options(image, kind, file)
    if orientation == 1 and kind in ("JPEG", "WEBP"):
        file.seek(0)
        verbatim = (strip_jpeg if kind == "JPEG" else strip_webp)(file.read(LARGEST), icc)
    planes = take_apart(image, orientation)
    encoding = Encoding(kind, planes.mode, options | planes.options, icc)
    return Photo(
        name, np.ascontiguousarray(planes.pixels), encoding, planes.alpha, planes.native, planes.palette,
        planes.scale, verbatim,
    )  # fmt: skip


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation 1..8; 1 if it is absent or senseless. Pillow turns TIFFs itself while decoding."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF may be damaged while the picture is good
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _options(image: Image.Image, kind: str, file: IO[bytes]) -> dict[str, Any]:
    """Returns keywords for Pillow's writer that give the same compression again."""
    from PIL import JpegImagePlugin

    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _jpeg_options(image)
    if kind == "WEBP":
        file.seek(0)
        if webp_is_lossless(webp_chunks(file.read(LARGEST))):
            return {"lossless": True, "exact": True}  # exact: colors under full transparency too
        return {"quality": 95, "alpha_quality": 100, "exact": True}  # the file does not tell its quality
    if kind == "AVIF":
        return {"quality": 95}
    if kind == "JPEG2000":
        file.seek(0)
        return {"no_jp2": file.read(4) == b"\xff\x4f\xff\x51"}
    if kind == "TIFF":
        return {"compression": _tiff_compression(image)}
    if kind == "TGA" and image.info.get("compression") == "tga_rle":
        return {"compression": "tga_rle"}
    return {}


def _tiff_compression(image: Image.Image) -> str | None:
    compression = image.info.get("compression", "raw")
    if compression == "raw":
        return None
    if compression in _TIFF_LOSSLESS or (compression in _TIFF_BILEVEL and image.mode == "1"):
        return str(compression)
    return "tiff_adobe_deflate"  # JPEG inside TIFF would lose a second time


def _jpeg_options(image: JpegImagePlugin.JpegImageFile) -> dict[str, Any]:
    """Returns tables by component, subsampling, scan order. Sampling that Pillow cannot write becomes 4:4:4."""
    from PIL import JpegImagePlugin

    tables = [list(image.quantization[component[3]]) for component in image.layer]
    options: dict[str, Any] = {"progressive": bool(image.info.get("progressive"))}
    if image.mode == "CMYK":
        tables = tables[:1]  # Pillow writes CMYK, not YCCK: no plane of it is chroma
    elif image.mode == "RGB":
        sampling = JpegImagePlugin.get_sampling(image)
        options["subsampling"] = sampling if sampling in (0, 1, 2) else 0
        letters = bytes(component[0] for component in image.layer) == b"RGB"
        untransformed = image.info.get("adobe_transform", 0 if letters else 1) == 0
        if untransformed and "jfif" not in image.info:  # libjpeg's own rule
            options |= {"keep_rgb": True, "subsampling": 0}
    while len(tables) > 1 and tables[-1] == tables[-2]:  # the writer repeats the last one
        tables.pop()
    return options | {"qtables": tables}
