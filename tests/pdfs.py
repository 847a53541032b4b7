"""Builds encrypted PDFs."""

import hashlib
import struct

#: What completes a password to 32 bytes.
_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")

_IDENTITY, _PERMISSIONS, _KEY_LENGTH = bytes(16), struct.pack("<i", -4), 5


def encrypted(content: bytes, user: bytes, owner: bytes) -> bytes:
    """A page of 300 x 300 points, encrypted with RC4 and 40 bits for these passwords (ISO 32000-1, 7.6.3)."""
    entry = _rc4(_key(_padded(owner)), _padded(user))
    key = _key(_padded(user) + entry + _PERMISSIONS + _IDENTITY)
    number, generation = 4, 0
    object_key = hashlib.md5(key + struct.pack("<I", number)[:3] + struct.pack("<H", generation)).digest()
    hidden = _rc4(object_key[: _KEY_LENGTH + 5], content)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(hidden), hidden),
        b"<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (entry.hex().encode(), _rc4(key, _PADDING).hex().encode()),
    ]
    out, table = b"%PDF-1.4\n", b"0000000000 65535 f \n"
    for at, text in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj%s\nendobj\n" % (at, text)
    trailer = b"trailer<</Size 6/Root 1 0 R/Encrypt 5 0 R/ID[<%s><%s>]>>" % ((_IDENTITY.hex().encode(),) * 2)
    return out + b"xref\n0 6\n" + table + trailer + b"\nstartxref\n%d\n%%%%EOF\n" % len(out)


def _padded(password: bytes) -> bytes:
    return (password + _PADDING)[:32]


def _key(data: bytes) -> bytes:
    return hashlib.md5(data).digest()[:_KEY_LENGTH]


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    second = 0
    for first in range(256):
        second = (second + state[first] + key[first % len(key)]) % 256
        state[first], state[second] = state[second], state[first]
    out, first, second = bytearray(), 0, 0
    for byte in data:
        first = (first + 1) % 256
        second = (second + state[first]) % 256
        state[first], state[second] = state[second], state[first]
        out.append(byte ^ state[(state[first] + state[second]) % 256])
    return bytes(out)
