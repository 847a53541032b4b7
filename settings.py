"""Settings of the Web Asset Server.

Edit settings.py, or set environment variables, which win: the name with the prefix ASSETSTORE_, such as
ASSETSTORE_PORT, or the name alone. If both are set, the one with the prefix wins. Names alone may collide with other
programs: a value that another program seems to have set, such as tcp://10.0.0.1:80 by Kubernetes, is ignored with a
warning. Write None, True and False as such.

A value that cannot be used stops the start, and the message says what was expected. At the start, the server prints
the settings in effect. A settings.py written for Specify's sample server works unchanged.
"""

# docs/settings.md is generated from this file by script/settings_doc.py: comments become descriptions.

# --- Access --------------------------------------------------------------------------------------

# The secret that Specify and this server share: Specify 6 preference attachment.key, Specify 7 setting
# ASSET_SERVER_KEY. Empty: the first start creates a key, saves it in BASE_DIR/.asset-server/key and prints it once.
# A list, newest first: all keys in it are valid, so that you can change the key without an outage. None: no token is
# checked, anybody can upload and delete. The environment variable ATTACHMENT_KEY_PREVIOUS adds an old key.
KEY = ""

# By how many seconds the time in a token may differ from the server's clock. The difference must be less than this.
# None: by any time.
TIME_TOLERANCE = 150

# Whether reading files and metadata requires a token too. Off, as in the sample server, because the Web Portal and
# shared links send no token.
REQUIRE_KEY_FOR_GET = False

# Whether files can be read under /static/ without a token. Some web pages depend on it.
ALLOW_STATIC_FILE_ACCESS = True

# Whether the status page for administrators is available at /status (docs/status.md). It asks for the key, and shows
# nothing without it.
STATUS_PAGE = True

# --- Address -------------------------------------------------------------------------------------

# The name of this machine as clients know it.
HOST = "localhost"

# The port on which the server listens.
PORT = 8080

# The name and port that clients are told, if they differ from HOST and PORT, as behind a proxy or in a container.
# With port 443, the addresses are https. None: HOST and PORT.
SERVER_NAME = None
SERVER_PORT = None

# The complete address that clients use, such as "https://assets.museum.org" or "https://museum.org/assets". It wins
# over SERVER_NAME and SERVER_PORT. None: the address consists of these two.
PUBLIC_URL = None

# The network address to listen on: "0.0.0.0" for all addresses of this machine, "127.0.0.1" for programs on this
# machine only, such as a proxy.
BIND_ADDRESS = "0.0.0.0"

# The proxies in front of this server, as addresses or networks: ["127.0.0.1"] for nginx on this machine. Only these
# addresses may set the client's address (X-Forwarded-For) and how long they have been receiving its request
# (X-Receiving-Seconds). In the environment: separated by commas.
TRUSTED_PROXIES = ()

# The internal location in nginx that maps to BASE_DIR, as in deploy/nginx.conf: "/protected-store". This server then
# checks requests, and nginx sends the files. None: this server sends the files itself.
ACCEL_REDIRECT = None

# The port for SERVER = "wsgiref". None: PORT.
DEVELOPMENT_PORT = None

# --- Folders -------------------------------------------------------------------------------------

# The folder of all attachments. A relative path is relative to the folder of this program.
BASE_DIR = "attachments"

# The folders of originals and thumbnails, inside BASE_DIR or inside each collection's folder.
ORIG_DIR = "originals"
THUMB_DIR = "thumbnails"

# None: all collections share one folder. This is right for most museums. Otherwise a folder below BASE_DIR for each
# collection, by the name that Specify sends:
#
#     COLLECTION_DIRS = {"KU Fish": "ichthyology", "KU Herps": "herpetology"}
#
# Missing folders are created. Requests for other collections get 404. `manage.py collections` adds collections without
# a restart (docs/administration.md#collections). In the environment: JSON.
#
# One folder per collection is a trap. A file is found only by the collection that stored it. Records that collections
# share, such as agents, taxa, localities or loans, show no attachments in the other collection. Unless your folders
# are separate already, leave this at None, or set WEB_ATTACHMENT_COLLECTION of Specify 7 to one name.
COLLECTION_DIRS = None

# --- Object storage ------------------------------------------------------------------------------

# The bucket for originals and thumbnails, and a prefix in it: "s3://bucket" or "s3://bucket/prefix"
# (docs/scaling.md). BASE_DIR then holds only the journal, the key and temporary files. COLLECTION_DIRS may name
# another bucket for a collection, "s3://other-bucket/prefix". None: everything is in BASE_DIR. Credentials come from
# the environment only, never from this file: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the role
# of the machine.
STORAGE_URL = None

# The address of the S3 service, such as "https://s3.museum.org", or an address for each bucket,
# {"bucket": "https://…"}. None: Amazon. In the environment: the text, or JSON for several buckets.
STORAGE_ENDPOINT = None

# The region of the buckets. Most services other than Amazon accept any.
STORAGE_REGION = "us-east-1"

# Where the bucket's name goes in addresses: "path", or "virtual" for the host name. None: "virtual" at Amazon, "path"
# elsewhere.
STORAGE_ADDRESSING = None

# How many bytes below BASE_DIR one process may use for files on their way to or from the bucket: uploads whose names
# come after the file, and originals whose thumbnails are being rendered.
STORAGE_SPOOL_BYTES = 10_000_000_000

# Redirect browsers to the bucket for originals, by a signed address that is valid for this many seconds, so that the
# bytes do not pass through this server. Browsers must be able to reach the bucket (docs/scaling.md). None: all bytes
# pass through this server.
STORAGE_REDIRECT_SECONDS = None

# --- Uploads and protection of files -------------------------------------------------------------

# The largest file that may be uploaded, in bytes. None: as large as the disk can hold.
MAX_UPLOAD_BYTES = None

# Free space to reserve on disk, in bytes. Uploads that would use it get 507, while reading and deleting go on.
# None: 1 % of the disk, at most 5 GB. 0: uploads may fill the disk.
RESERVED_BYTES = None

# How many bytes of unfinished uploads each process may store before it knows their tokens: Specify 7 sends the file
# first. One client address may use half of it, so set this to twice the largest such upload, or more.
UNVERIFIED_UPLOAD_BYTES = 20_000_000_000

# For how many days deleted and replaced files stay in the trash (docs/recovery.md#trash). 0: nothing is put into the
# trash, deleted files are gone, and what is in the trash stays there until `manage.py trash purge`.
TRASH_DAYS = 30

# How many bytes the trash of all collections may hold together. Above that, the oldest files are purged early.
# None: no limit.
TRASH_BYTES = None

# The server reads each original again at least once in this many days, and compares it with its checksum
# (docs/recovery.md#checksums). 0: only `manage.py verify` does so.
VERIFY_DAYS = 0

# --- Thumbnails ----------------------------------------------------------------------------------

# The media types that get thumbnails (docs/thumbnails.md).
CAN_THUMBNAIL = {
    "application/pdf",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jp2",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/vnd.adobe.photoshop",
    "image/webp",
    # RAW of cameras
    "image/x-adobe-dng",
    "image/x-canon-cr2",
    "image/x-canon-cr3",
    "image/x-fuji-raf",
    "image/x-nikon-nef",
    "image/x-olympus-orf",
    "image/x-panasonic-rw2",
    "image/x-pentax-pef",
    "image/x-sony-arw",
}

# The largest thumbnail in pixels. Requests for a larger one get this size.
MAX_THUMBNAIL_SIZE = 4000

# How many different sizes of thumbnails are cached in each collection. Thumbnails of further sizes are rendered for
# each request, so that nobody can fill the disk by requesting one size after the other.
KEPT_THUMBNAIL_SIZES = 32

# How many thumbnails each process renders at the same time. None: all processes together one per processor core.
RENDER_WORKERS = None

# How many requests may wait for thumbnails. Further ones get 503 with the advice to try again. Each waiting request
# holds one of THREADS, so this must be less than THREADS.
RENDER_QUEUE = 128

# After how many seconds rendering of one thumbnail is cancelled.
RENDER_SECONDS = 60

# How much memory rendering of one thumbnail may take, in megabytes; no temporary file is longer than a quarter of it.
# 1024 is enough for 260 megapixels. JPEG and TIFF are read in parts, so they may be eight times as large. There are no
# thumbnails of larger pictures.
RENDER_MEMORY = 1024

# --- Web server ----------------------------------------------------------------------------------

# The web server: "paste" has one process and works everywhere; "granian" is for production, with HTTPS and several
# processes. The image, docker-compose.yml and the systemd unit set "granian" in the environment. Also possible:
# "wsgiref" for development, or another adapter of Bottle that you install. docs/serving.md compares them.
SERVER = "paste"

# How many processes serve requests, at most one per core. More than 1 requires Granian, which is then used. All
# together behave like one server. Each takes about 60 MB.
PROCESSES = 1

# How many requests each process serves at the same time. A slow upload or download holds one thread
# (docs/serving.md#who-may-hold-a-thread).
THREADS = 256

# After how many seconds of silence from a client its connection is closed. The head of a request must arrive within
# 20 seconds.
SOCKET_TIMEOUT = 60

# Granian only: the memory of a process, in MiB, above which it is replaced by a new one. None: no limit.
WORKER_MEMORY = None

# Granian only: certificate (with its intermediate certificates) and private key (without a password) for HTTPS, as PEM
# files (docs/serving.md#https-without-a-proxy). SIGHUP loads new ones. None: plain HTTP.
TLS_CERTIFICATE = None
TLS_KEY = None

# --- Log and metrics -----------------------------------------------------------------------------

# More lines in the log. Responses never contain more than the sentence of the error.
DEBUG = False

# The format of the log: "plain" for people, "json" for programs, one object per line.
LOG_FORMAT = "plain"

# The address and port at which Prometheus reads metrics, such as "127.0.0.1:9101". Everybody who can reach it can read
# them. None: no metrics.
METRICS_ADDRESS = None
