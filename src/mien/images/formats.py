"""Handles image files as bytes: tells which are photographs, and takes metadata out without decoding.

A JPEG or WebP holds its compressed pixels in segments of their own. Copying only those keeps every pixel and
leaves behind EXIF, XMP, IPTC, comments, thumbnails, and whatever follows the picture in the file.
"""

from __future__ import annotations

import re
import struct

# Pillow's names of the formats that are read. Documents (EPS, PDF, WMF) and video never are.
READABLE = (
    "JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "TGA", "SGI", "PCX", "QOI",
    "ICO", "CUR", "ICNS", "PSD", "SUN", "DDS",
)  # fmt: skip


def _suffixes(words: str) -> frozenset[str]:
    return frozenset("." + word for word in words.split())


PHOTO_SUFFIXES = _suffixes("""
    jpg jpeg jpe jfif mpo png apng webp tif tiff gif bmp dib ppm pgm pbm pnm pfm jp2 j2k j2c jpc jpf jpx
    avif avifs tga icb vda vst sgi bw rgb rgba pcx qoi ico cur icns psd ras dds
""")

# Suffixes of pictures that are not read. Such files are reported, since a face may be in them.
OTHER_IMAGE_SUFFIXES = _suffixes("""
    heic heif hif jxl jxr wdp hdp svg svgz eps ai xcf kra exr hdr fit fits fts wmf emf xbm xpm im pcd
    fli flc dcx blp djvu msp raw dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f 3fr iiq erf
    kdc dcr mrw rwl
""")

# Moving pictures: no face in them is changed, so that no sample or row may go out with one.
VIDEO_SUFFIXES = _suffixes("mp4 m4v mov avi mkv webm mpg mpeg m2ts mts wmv flv ogv 3gp 3g2 mjpg mjpeg")

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PIXEL_SEGMENTS = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, SOS}  # SOF, DHT, DAC, DQT, DNL, DRI, SOS
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_ICC_CHUNK = 65519  # 65535 less the length's 2 bytes and the 14 of "ICC_PROFILE\0", number, count


def printable(name: str) -> str:
    """Returns `name` as one line that any terminal or file takes: line breaks and undecodable bytes are escaped."""
    escaped = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in escaped)


_BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"8BPS", b"qoif", b"DDS |",
    b"\0\0\1\0", b"\0\0\2\0", b"icns", b"II+\0", b"MM\0+", b"\x01\xda", b"\x59\xa6\x6a\x95",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\x1a\x45\xdf\xa3", b"FLV\x01",
)  # fmt: skip


# Matches pictures, and files that may hold one, that are written as text, as in annotations of LabelMe and others: in
# base64 (with JSON's, HTML's and URLs' ways to write a slash), in hexadecimal digits, as Python shows bytes, as a list
# of numbers. The minimum lengths keep digests and a page's tracking pixels from matching. There is no lookbehind, since
# Arrow's expressions have none.
_SLASH = r"(?:\\?/|_|%2[fF]|\\u002[fF]|&#x2[fF];|&#47;)"
_BEGINS = r"(?:^|[^A-Za-z0-9+/_-]|\\[nrt]|%2[cC])"
_SHORT = rf"{_SLASH}9j{_SLASH}|SUkqA|TU0AK|Qk[0-3][\w+/\\-]{{5,9}}AAAA|AAAA[A-Za-z0-9+/]GZ0eX|H4sI|UEsDB" \
    rf"|AAAADGpQIC|AAAADEpYTC|{_SLASH}0{_SLASH}{_SLASH}UQ|OEJQU|cW9pZ"
_LONG = r"iVBORw0KGgo|R0lGODdh|R0lGODlh|UklGR[\w+/\\-]{6,12}XRUJQ|k05VTVBZ|JVBERi0"
_BASE64 = rf"(?:{_BEGINS}(?:{_SHORT})|{_LONG})[\w+/\\%&#;\r\n-]{{160}}"
_DIGITS = r"(?:(?:^|[^0-9A-Za-z]|\\x|0x)[fF]{2}[dD]8[fF]{2}|89504[eE]470[dD]0[aA]1[aA]0[aA])[0-9a-fA-F]{160}"
_SPACED = r"[fF]{2}[ :][dD]8[ :][fF]{2}(?:[ :][0-9a-fA-F]{2}){80}"
_SHOWN = r"\\+x(?:ff\\+xd8\\+xff|89PNG)(?:[^\\]{0,8}\\+[x0-9a-z]){20}"
_NUMBERS = r"(?:255, ?216, ?255|-1, ?-40, ?-1|137, ?80, ?78, ?71)(?:, ?-?[0-9]{1,3}){100}"
# As in tables of faces and lists in JSON; landmarks are fewer numbers, and outlines have larger ones among them.
_LEVEL = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PIXELS = rf"(?:^|[^0-9 ,\[\]])[ ,\[\]]*(?:{_LEVEL}[ ,\[\]]+){{1000}}"
WRITTEN_PICTURE = "|".join((_BASE64, _DIGITS, _SPACED, _SHOWN, _NUMBERS, _PIXELS))
WRITTEN_LENGTH = 9000  # characters that are enough for a match
_WRITTEN_PICTURE = re.compile(WRITTEN_PICTURE.encode())


def writes_picture(text: bytes) -> bool:
    """Tells whether a picture, or a file that may hold one, is written in a text."""
    return _WRITTEN_PICTURE.search(text) is not None


def shows_picture(head: bytes) -> bool:
    """Tells whether a file with these first bytes (32 are enough) is a picture or a film, whatever its name says."""
    riff = head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI ")
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    boxes = head[4:8] == b"ftyp" and head[8:11] not in (b"M4A", b"M4B")  # HEIC, AVIF and films, but not sound
    return head.startswith(_BEGINNINGS) or riff or bitmap or boxes


def is_text(head: bytes) -> bool:
    """Tells whether a file with these first bytes is text and no plain PPM, SVG, PostScript or PDF."""
    if head[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6") or b"<svg" in head or head.startswith((b"%!PS", b"%PDF")):
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a letter may be cut off at the end
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter >= " " or letter in "\t\n\r\f" for letter in text)


_PACKED = (
    b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\3\4", b"\x93NUMPY", b"\x89HDF",
    b"\x80\4\x95", b"\x80\5\x95", b"%PDF", b"%!PS", b"<svg",
)  # fmt: skip


def is_packed(head: bytes) -> bool:
    """Tells whether a file with these first bytes (10 are enough) is compressed, or of arrays or pages."""
    return head.startswith(_PACKED) or (head[:3] == b"BZh" and head[4:10] == b"1AY&SY")


def suffix_of(head: bytes) -> str:
    """Returns the usual suffix, with its dot, of a picture with these first bytes; ".bin" for all other files."""
    for beginning, suffix in ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"II*\0", ".tiff"),
                              (b"MM\0*", ".tiff"), (b"BM", ".bmp"), (b"RIFF", ".webp")):
        if head.startswith(beginning):
            return suffix
    return ".avif" if head[4:12] == b"ftypavif" else ".jp2" if head[4:8] == b"jP  " else ".bin"


def clean_icc(profile: object) -> bytes | None:
    """Returns `profile` cut to the size its header gives, or None if it is no ICC profile (ICC.1:2022, 7.2)."""
    if not isinstance(profile, bytes) or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    size = int.from_bytes(profile[:4], "big")
    return profile[:size] if 128 <= size <= len(profile) else None


def strip_jpeg(data: bytes, icc: bytes | None = None) -> bytes | None:
    """Returns the same JPEG with nothing but its pixels' segments and the color profile `icc`.

    APP0 is rewritten without its thumbnail and its density; APP14 (Adobe's color transform) stays; every other APP
    segment, the comments and everything after the first end-of-image marker go. Returns None for a file that does not
    parse strictly, which the caller then encodes anew. Layout: ITU-T T.81, annex B.
    """
    if data[:2] != b"\xff\xd8":
        return None
    head, body, frames, at = bytearray(), bytearray(), 0, 2
    while True:
        marker, at = _marker(data, at)
        if marker == EOI:
            whole = frames == 1 and SOS in _markers(bytes(body))
            return b"\xff\xd8" + head + _icc_segments(icc) + body + b"\xff\xd9" if whole else None
        length = int.from_bytes(data[at : at + 2], "big")
        payload = data[at + 2 : at + length]
        if marker < 0xC0 or 0xD0 <= marker <= SOI or length < 2 or len(payload) != length - 2:
            return None
        at += length
        frames += marker in _FRAMES
        head += _application(marker, payload)
        if marker in _PIXEL_SEGMENTS:
            body += _segment(marker, payload)
        if marker == SOS:
            end = _SCAN_END.search(data, at)
            if end is None:
                return None
            body += data[at : end.start()]
            at = end.start()


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """Returns the marker at `at` and where its segment starts; 0 for the marker if there is none."""
    if data[at : at + 1] != b"\xff":
        return 0, at
    while data[at : at + 1] == b"\xff":
        at += 1
    return (data[at], at + 1) if at < len(data) else (0, at)


def _markers(body: bytes) -> set[int]:
    """Returns the markers of a list of segments up to and including the first SOS."""
    found, at = set(), 0
    while at + 4 <= len(body) and SOS not in found:
        found.add(body[at + 1])
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return found


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _application(marker: int, payload: bytes) -> bytes:
    if marker == 0xE0 and payload[:5] == b"JFIF\0" and len(payload) >= 14:
        return _segment(marker, payload[:7] + b"\0\0\1\0\1\0\0")  # no unit, 1:1, no thumbnail
    if marker == 0xEE and payload[:5] == b"Adobe" and len(payload) >= 12:
        return _segment(marker, payload[:12])
    return b""


def _icc_segments(icc: bytes | None) -> bytes:
    chunks = [icc[i : i + _ICC_CHUNK] for i in range(0, len(icc), _ICC_CHUNK)] if icc else []
    if len(chunks) > 255:
        return b""
    return b"".join(
        _segment(0xE2, b"ICC_PROFILE\0" + bytes([i, len(chunks)]) + chunk)
        for i, chunk in enumerate(chunks, 1)
    )


def webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns the chunks (four letters, payload) of a WebP file; none if it does not parse. Layout: RFC 9649, 2."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return []
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    chunks, at = [], 12
    while at + 8 <= end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        payload = data[at + 8 : at + 8 + size]
        if len(payload) != size:
            return []
        chunks.append((data[at : at + 4], payload))
        at += 8 + size + size % 2
    return chunks


def webp_is_lossless(chunks: list[tuple[bytes, bytes]]) -> bool:
    """Tells whether the picture is stored without loss (VP8L), in the simple or the extended container."""
    return any(kind == b"VP8L" for kind, _ in chunks)


def strip_webp(data: bytes, icc: bytes | None = None) -> bytes | None:
    """Returns the same WebP with nothing but its picture, its alpha plane and the color profile `icc`.

    Returns None for an animation or a file that does not parse.
    """
    chunks = webp_chunks(data)
    kinds = [kind for kind, _ in chunks]
    if b"ANIM" in kinds or b"ANMF" in kinds or kinds.count(b"VP8 ") + kinds.count(b"VP8L") != 1:
        return None
    kept = []
    for kind, payload in chunks:
        if kind == b"VP8X" and len(payload) == 10:
            flags = payload[0] & 0x10 | (0x20 if icc else 0)  # alpha as it was; no EXIF, no XMP
            kept.append((kind, bytes([flags]) + bytes(3) + payload[4:]))
            kept += [(b"ICCP", icc)] if icc else []
        elif kind in (b"VP8 ", b"VP8L", b"ALPH"):
            kept.append((kind, payload))
    if icc and b"VP8X" not in kinds:
        return None
    body = b"".join(k + struct.pack("<I", len(p)) + p + bytes(len(p) % 2) for k, p in kept)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
