"""The IIIF Image API 3.0 and 2.1: parts of pictures at any size, for viewers that zoom (https://iiif.io/api/image/3.0).

Pixels are processed only by the render workers (`assetstore.thumbnails.rendering`).
"""
