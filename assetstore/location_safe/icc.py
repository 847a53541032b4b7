"""Colour profiles with only the tags that the ICC specification (ICC.1:2022, 9.2) defines.

Profiles of displays may contain serial numbers, in private tags and in the dictionary `meta`.
"""

import struct

_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_MOST_TAGS = 200

_PROFILE_ID = slice(84, 100)

#: The tags that a copy keeps. Not `targ`, the measured values and their description, and not `meta`.
_KEPT = frozenset(
    b"A2B0 A2B1 A2B2 A2B3 A2M0 B2A0 B2A1 B2A2 B2A3 B2D0 B2D1 B2D2 B2D3 D2B0 D2B1 D2B2 D2B3 M2A0 M2B0 M2B1 M2B2 M2B3"
    b" aabg aagg aarg bTRC bXYZ bfd  bkpt c2sp chad chrm cicp ciis clot clro cprt csnm desc dmdd dmnd gTRC gXYZ gamt"
    b" kTRC lumi meas ncl2 ncol pre0 pre1 pre2 rTRC rXYZ rig0 rig2 s2cp scrd scrn svcn tech view vued wtpt".split(b" ")
)
_KEPT_PADDED = frozenset(name.ljust(4) for name in _KEPT if name)


def clean(profile: bytes) -> bytes | None:
    """Returns a profile of the same length in which all other tags are zeros; None if it is no profile."""
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        return None
    [count] = struct.unpack_from(">I", profile, _HEADER_BYTES)
    table_end = _HEADER_BYTES + 4 + count * _ENTRY_BYTES
    if count > _MOST_TAGS or table_end > len(profile):
        return None
    entries = [struct.unpack_from(">4sII", profile, _HEADER_BYTES + 4 + at * _ENTRY_BYTES) for at in range(count)]
    kept = [entry for entry in entries if entry[0] in _KEPT_PADDED]
    if any(start < table_end or start + length > len(profile) for _, start, length in kept):
        return None
    result = bytearray(len(profile))
    result[:_HEADER_BYTES] = profile[:_HEADER_BYTES]
    result[100:_HEADER_BYTES] = bytes(28)  # reserved
    if len(kept) < len(entries):
        result[_PROFILE_ID] = bytes(16)  # the checksum of the original profile; zeros: none
    struct.pack_into(">I", result, _HEADER_BYTES, len(kept))
    for at, entry in enumerate(kept):
        struct.pack_into(">4sII", result, _HEADER_BYTES + 4 + at * _ENTRY_BYTES, *entry)
        result[entry[1] : entry[1] + entry[2]] = profile[entry[1] : entry[1] + entry[2]]
    return bytes(result)
