"""The description of a page for viewers: info.json (Image API 3.0, section 5; 2.1, section 5)."""

from typing import Any

from assetstore.iiif import levels

PROTOCOL = "http://iiif.io/api/image"

#: Version -> the context of JSON-LD, and the document of its compliance level.
CONTEXTS = {version: f"{PROTOCOL}/{version}/context.json" for version in (2, 3)}
PROFILES = {version: f"{PROTOCOL}/{version}/level2.json" for version in (2, 3)}

#: Features beyond level 2.
_FEATURES_3 = ["canonicalLinkHeader", "mirroring", "profileLinkHeader"]
_FEATURES_2 = ["canonicalLinkHeader", "mirroring", "profileLinkHeader", "regionSquare"]


def info(version: int, address: str, width: int, height: int) -> dict[str, Any]:
    """Returns the description of a page.

    Parameters:
        version: of the Image API, 2 or 3.
        address: of the page, without a slash at the end.
        width, height: of the page in pixels, upright.
    """
    common = {
        "@context": CONTEXTS[version],
        "protocol": PROTOCOL,
        "width": width,
        "height": height,
        "sizes": [{"width": across, "height": down} for across, down in levels.sizes(width, height)],
        "tiles": [
            {"width": levels.TILE, "height": levels.TILE, "scaleFactors": levels.scale_factors(width, height)},
        ],
    }
    limits = {"maxWidth": levels.MAX_SIDE, "maxHeight": levels.MAX_SIDE, "maxArea": levels.MAX_AREA}
    if version == 2:
        more = {"formats": ["webp"], "qualities": ["bitonal", "color", "gray"], "supports": _FEATURES_2, **limits}
        return {**common, "@id": address, "profile": [PROFILES[version], more]}
    return {
        **common,
        **limits,
        "id": address,
        "type": "ImageService3",
        "profile": "level2",
        "preferredFormats": ["jpg"],
        "extraFormats": ["webp"],
        "extraQualities": ["bitonal", "color", "gray"],
        "extraFeatures": _FEATURES_3,
    }
