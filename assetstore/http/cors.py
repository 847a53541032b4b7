"""What pages of other origins may send and read (Fetch standard, "CORS protocol").

Pages of Specify 7 and of portals are on other origins. All of them may read everything that anyone may read. Cookies of
the viewer are of no use to them, because no response allows credentials. The status page is an exception: its addresses
accept no preflight request, so pages of other origins cannot send its header with the token.
"""

#: Headers of every response. Without the second, scripts see neither the server's time nor the ranges that viewers such
#: as pdf.js need.
EVERY_RESPONSE = (
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Expose-Headers",
        "Accept-Ranges, Content-Range, ETag, Link, Retry-After, X-Request-Id, X-Timestamp",
    ),
)

#: The headers that a page may send: ranges and conditions (pdf.js, video players), and those of upload scripts.
_ACCEPTED = (
    *("Cache-Control", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Range"),
    "X-Requested-With",
)

#: For how many seconds browsers may reuse a response; no browser does so for longer.
_MAX_AGE = 86_400


def preflight(*methods: str) -> dict[str, str]:
    """Returns the headers of the response to a preflight request, for a route with these methods."""
    return {
        "Allow": ", ".join((*methods, "OPTIONS")),
        "Access-Control-Allow-Methods": ", ".join((*methods, "OPTIONS")),
        "Access-Control-Allow-Headers": ", ".join(_ACCEPTED),
        "Access-Control-Max-Age": str(_MAX_AGE),
    }
