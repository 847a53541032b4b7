"""Renders thumbnails outside the web process.

The server delegates rendering to a few single-threaded worker processes (`pool`, `worker`). Each format has an ordered
list of engines (`engines`): libraries (`libvips`, `pillow`, `heif`, `pdfium`, `jpegxl`, `camera_raw`) and programs of
the operating system, which run through `sh` (`imagemagick`, `ghostscript`). Each attempt is a child process of the
worker, with limits (`isolation`). `sh` also forks, and a fork in a threaded server could copy a held lock and hang.
"""
