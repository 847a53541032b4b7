"""Settings of the Web Asset Server.

Edit the values here, or set an environment variable of the same name, which wins. A value that
cannot be used stops the start and says what was expected. The start prints what is in force.
A settings.py written for Specify's sample server works unchanged.
"""

# --- Who may do what -----------------------------------------------------------------------------

# The secret that Specify and this server share: Specify 6 preference attachment.key, Specify 7
# ASSET_SERVER_KEY. Empty: the first start makes one, keeps it inside BASE_DIR and prints it once.
# A list, newest first, while you change the key: all of them are accepted.
# None: nothing is checked, anybody can upload and delete. Environment: ATTACHMENT_KEY, and
# ATTACHMENT_KEY_PREVIOUS for the old one.
KEY = ""

# By how many seconds the clock in a token may differ from the server's. None: by any time.
TIME_TOLERANCE = 150

# Whether reading files and metadata needs a token, too. Off, as in the sample server, because the
# Web Portal and shared links send none.
REQUIRE_KEY_FOR_GET = False

# Whether files can be read under /static/ without a token, which some web pages use.
ALLOW_STATIC_FILE_ACCESS = True

# Whether there is the administrator's page at /status. It asks for the key, and shows nothing without it.
STATUS_PAGE = True

# --- Where clients find the server ---------------------------------------------------------------

# The name of this machine as clients know it.
HOST = "localhost"

# The port on which the server listens.
PORT = 8080

# What the server tells clients about its address. None: HOST and PORT. They differ behind a proxy
# or in a container.
SERVER_NAME = None
SERVER_PORT = None

# The whole address that clients use, when there is more to it, e.g. "https://assets.museum.org" or
# "https://museum.org/assets". Wins over SERVER_NAME and SERVER_PORT. None: made of these.
PUBLIC_URL = None

# The network address to listen on: "0.0.0.0" is every one of this machine, "127.0.0.1" only
# programs on this machine, such as a proxy.
BIND_ADDRESS = "0.0.0.0"

# The proxies in front of this server, as addresses or networks: ["127.0.0.1"] for nginx on this
# machine. They alone are believed what they say of the client: its address (X-Forwarded-For) and for
# how long they have been receiving its request (X-Receiving-Seconds).
TRUSTED_PROXIES = ()

# The address in nginx behind which it finds BASE_DIR, as in deploy/nginx.conf: "/protected-store". This
# server then checks requests, and nginx sends the files. None: this server sends them itself.
ACCEL_REDIRECT = None

# The port for SERVER = "wsgiref". None: PORT.
DEVELOPMENT_PORT = None

# --- Where the files are -------------------------------------------------------------------------

# The folder of all attachments. If it is relative, it is below the folder of this program.
BASE_DIR = "attachments"

# The folders inside it, or inside each collection's folder.
ORIG_DIR = "originals"
THUMB_DIR = "thumbnails"

# None: all collections share one folder, and nothing else is needed. Otherwise a folder below
# BASE_DIR for each collection, by the name that Specify sends:
#     COLLECTION_DIRS = {"KU Fish": "ichthyology", "KU Herps": "herpetology"}
# Requests for other collections then get 404. Environment: the same in JSON.
COLLECTION_DIRS = None

# --- Files in object storage instead (docs/scaling.md) --------------------------------------------

# The bucket, and a prefix in it, that holds originals and thumbnails: "s3://bucket" or
# "s3://bucket/prefix". BASE_DIR then holds only the journal, the key and files for a moment.
# COLLECTION_DIRS may name a bucket of its own for a collection, "s3://other-bucket/prefix".
# None: everything is in BASE_DIR. Keys are never written here, but into the environment, as
# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
STORAGE_URL = None

# The address of the service, "https://s3.museum.org", or of each bucket's, {"bucket": "https://…"}.
# None: Amazon. Environment: also AWS_ENDPOINT_URL.
STORAGE_ENDPOINT = None

# The region of the buckets. Most services other than Amazon take any. Environment: also AWS_REGION.
STORAGE_REGION = "us-east-1"

# Whether a bucket's name goes into the "path" of an address or, "virtual", into the host name.
# None: virtual at Amazon, path elsewhere.
STORAGE_ADDRESSING = None

# How many bytes of the disk below BASE_DIR one process may use for files on their way: uploads
# that come before their names, and originals whose thumbnails are being made.
STORAGE_SPOOL_BYTES = 10_000_000_000

# For how many seconds an address in the bucket is valid to which browsers are sent for originals, so that the
# bytes do not go through this server. None: they do. Needs a bucket that browsers can reach. See docs/scaling.md.
STORAGE_REDIRECT_SECONDS = None

# --- Uploads, and what protects the files --------------------------------------------------------

# The largest file that may be uploaded, in bytes. None: as large as the disk can hold.
MAX_UPLOAD_BYTES = None

# Free space to reserve on disk, in bytes: uploads that would use it are refused, while reading and
# deleting go on. None: 1 % of the disk, at most 5 GB. 0: uploads may fill the disk.
RESERVED_BYTES = None

# How many bytes of unfinished uploads each process may store before it knows their tokens: Specify 7 sends
# the file first. One client address may use half of it, so this is also twice the largest such upload.
UNVERIFIED_UPLOAD_BYTES = 20_000_000_000

# For how many days a deleted or replaced file stays in the trash, from where `manage.py trash restore`
# brings it back. 0: no trash, what is deleted is gone.
TRASH_DAYS = 30

# How many bytes the trash of all collections may hold together; above that the oldest files leave it
# early. None: any number.
TRASH_BYTES = None

# Within how many days each original is read again and compared with its checksum. 0: never by itself,
# only by `manage.py verify`.
VERIFY_DAYS = 0

# --- Thumbnails ----------------------------------------------------------------------------------

# The types that get thumbnails.
CAN_THUMBNAIL = {
    "application/pdf",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
}

# The largest thumbnail in pixels; whoever asks for more gets this size.
MAX_THUMBNAIL_SIZE = 4000

# Of how many different sizes thumbnails are kept in each collection. Further sizes are made anew each
# time, so that nobody can fill the disk by asking for one size after the other.
KEPT_THUMBNAIL_SIZES = 32

# How many pictures each process makes at the same time. None: all together one per processor core.
RENDER_WORKERS = None

# How many requests may wait for thumbnails; further ones get 503 and the advice to try again. Each
# holds one of THREADS, so keep this well below.
RENDER_QUEUE = 128

# After how many seconds the work on one picture is given up.
RENDER_SECONDS = 60

# How much memory one picture may take, in megabytes; as much again may go to temporary files.
# ImageMagick needs 8 bytes for each pixel, so 1024 is enough for 260 megapixels. Larger pictures get
# no thumbnail.
RENDER_MEMORY = 1024

# --- The web server ------------------------------------------------------------------------------

# "paste": one process, works everywhere. "granian": for production, with HTTPS and several processes; the
# default of the container and the systemd unit. Or any other adapter of Bottle that you install, such as
# "wsgiref". docs/serving.md compares them.
SERVER = "paste"

# How many processes serve, for machines with several cores and many readers: at most one per core. More
# than 1 requires Granian, which is then used. Each takes about 60 MB.
PROCESSES = 1

# How many requests each process serves at the same time. A slow upload or download holds one thread each.
THREADS = 256

# How many seconds a client may be silent before the connection is closed.
SOCKET_TIMEOUT = 60

# With Granian: the memory of a process, in MiB, above which another one takes its place. None: any.
WORKER_MEMORY = None

# With Granian: certificate (with intermediate certificates) and private key for HTTPS, as PEM files. SIGHUP
# loads new ones. None: plain HTTP.
TLS_CERTIFICATE = None
TLS_KEY = None

# More lines in the log. Answers never contain more than the error's sentence.
DEBUG = False

# How the log is written: "plain" for people, "json" for programs, an object per line.
LOG_FORMAT = "plain"

# Where Prometheus gets its figures, as address and port, e.g. "127.0.0.1:9101"; whoever reaches it can
# read them. None: nowhere.
METRICS_ADDRESS = None
