"""Renders thumbnails outside the web process.

The server only talks to a few single-threaded worker processes (`pool`, `worker`). For each format there is an ordered
list of engines (`engines`): libraries (`libvips`, `pillow`, `heif`, `pdfium`, `jpegxl`, `camera_raw`) and programs of
the operating system, which run through `sh` (`imagemagick`, `ghostscript`). Each attempt is a child process of the
worker, with limits (`isolation`); `sh` forks, too, and a fork in a threaded server could copy a held lock and hang.
"""
