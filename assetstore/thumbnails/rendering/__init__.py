"""Renders thumbnails outside the web process.

`sh` forks, and a fork in a threaded server can copy a held lock and hang forever. So the server only talks to a few
single-threaded worker processes (`pool`), which run ImageMagick and Ghostscript through `sh` (`worker`, `tools`).
Each format is rendered in the shortest way (`imagemagick`, `ghostscript`, `heif`).
"""
