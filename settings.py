"""Settings of the Web Asset Server.

Edit this file, or set environment variables, which take precedence. The server and manage.py read the first of these
files, and no other: the one that the environment variable ASSETSTORE_SETTINGS names, /etc/asset-server/settings.py,
/home/specify/settings.py in the container, and settings.py beside server.py. `manage.py doctor` says which one.

The environment variable of a setting is its name with the prefix ASSETSTORE_, such as ASSETSTORE_PORT, or its name
alone; if both are set, the one with the prefix takes precedence. A name alone may collide with a variable of another
program: a value that another program seems to have set, such as tcp://10.0.0.1:80 by Kubernetes, is ignored with a
warning. Write None, True and False as in Python.

A value that cannot be used stops the start, and the message says what was expected. With DEBUG or --verbose, the log
lists the settings in effect at the start. A settings.py written for Specify's sample server works unchanged. Most
museums need only the first group.
"""

# docs/settings.md is generated from this file by script/settings_doc.py: comments become descriptions.

# --- Essentials ----------------------------------------------------------------------------------

# The secret that Specify and this server share: preference attachment.key in Specify 6, setting ASSET_SERVER_KEY in
# Specify 7. If it is empty, the first start creates a key, saves it in BASE_DIR/.asset-server/key and prints it once.
# To change the key without an outage, use a list with the newest key first: all keys in it are valid. The environment
# variable ATTACHMENT_KEY_PREVIOUS also adds an old key. None: tokens are not checked, so anyone can upload and delete.
KEY = ""

# The host name of this machine as clients know it. The default works only for clients on this machine.
HOST = "localhost"

# The port on which the server listens. Ports below 1024 require extra rights (docs/install.md).
PORT = 8080

# The folder for all attachments. A relative path is relative to the folder of this program. If you set another folder
# than the default, create it first: the server does not start if it is missing, because its disk may not be mounted.
BASE_DIR = "attachments"

# The complete address that clients use, such as "https://assets.museum.org" or "https://museum.org/assets". Set it
# behind a proxy or in a container, where clients use another address than HOST and PORT. It is the address of the
# server itself, without web_asset_store.xml at the end. None: the address is made of SERVER_NAME and SERVER_PORT.
PUBLIC_URL = None

# The host name and port that clients are told if PUBLIC_URL is not set. With port 443, the address is https.
# None: HOST and PORT.
SERVER_NAME = None
SERVER_PORT = None

# --- Collections ---------------------------------------------------------------------------------

# None: all collections share one folder, which is right for most museums. Otherwise, a folder below BASE_DIR for each
# collection, by the collection name that Specify sends:
#
#     COLLECTION_DIRS = {"KU Fish": "ichthyology", "KU Herps": "herpetology"}
#
# Missing folders are created. Requests for other collections get 404. `manage.py collections` adds collections without
# a restart (docs/administration.md#collections). In the environment, write the mapping in JSON.
#
# Separate folders cause problems with shared records. A file is found only by the collection that stored it, so records
# that collections share, such as agents, taxa, localities or loans, show no attachments in the other collection. Unless
# your folders are separate already, leave this at None, or set WEB_ATTACHMENT_COLLECTION of Specify 7 to one name.
COLLECTION_DIRS = None

# The names of the folders for originals and thumbnails, in BASE_DIR or in the folder of each collection. Change them
# only if your existing folders have other names.
ORIG_DIR = "originals"
THUMB_DIR = "thumbnails"

# --- Security ------------------------------------------------------------------------------------

# How many seconds the time in a token may differ from the server's clock; the difference must be less than this. Raise
# it if uploads wait in a queue: the attachment import of the WorkBench makes the tokens of all files first, and then
# uploads six files at a time. 3600 is enough for thousands of files, and safe with https: a token is valid for one file
# name only. None: the time is not checked, so a token that someone has captured is valid forever.
TIME_TOLERANCE = 150

# Whether reading files and metadata also requires a token. It is off by default, as in the sample server, because the
# Web Portal and shared links send no token. Set it to True, and ALLOW_STATIC_FILE_ACCESS to False, if no one without
# the key may see attachments.
REQUIRE_KEY_FOR_GET = False

# Whether files can be read at /static/ without a token. It is on by default, as in the sample server, because some web
# pages depend on it.
ALLOW_STATIC_FILE_ACCESS = True

# Who may read which file without a token (docs/visibility.md). "specify": a file is public if its attachment is public
# in Specify and its specimen is not under embargo; also set SPECIFY_DATABASE. "file": a CSV table lists the public
# files; also set VISIBILITY_FILE. All other files require a token, at /static/ as well. None: all files are public,
# unless REQUIRE_KEY_FOR_GET is True.
VISIBILITY = None

# The maximum delay, in seconds, until a change in Specify or in the table takes effect, if reading the changes takes no
# longer than a third of it (docs/visibility.md#how-fast-a-change-takes-effect).
VISIBILITY_SECONDS = 60

# The path of the table for VISIBILITY = "file": a CSV file with the columns store_name, public (yes or no) and
# embargo_until (a date such as 2027-03-01, or empty). It is read again when it changes.
VISIBILITY_FILE = None

# The address of Specify's database, MySQL or MariaDB, for an account that may only read:
# "mysql://reader@dbhost:3306/specify" (docs/visibility.md#database-account). It is also the default of `manage.py
# reconcile`. The password is never here: it comes from the environment variable SPECIFY_DATABASE_PASSWORD, or from the
# file whose path is SPECIFY_DATABASE_PASSWORD_FILE, such as a secret of Docker.
SPECIFY_DATABASE = None
SPECIFY_DATABASE_PASSWORD_FILE = None

# Only with VISIBILITY: whether requests without a token get location-safe copies of pictures instead of the originals:
# without GPS, serial numbers of cameras and everything else that may say where a picture was taken, but with credit and
# licence (docs/location-safe.md). Camera RAW, video, and pictures of which no such copy can be made require a token.
LOCATION_SAFE = False

# Whether the status page for administrators is available at /status (docs/status.md). It asks for the key, and shows
# nothing without it.
STATUS_PAGE = True

# The proxies in front of this server, as addresses or networks: ["127.0.0.1"] for nginx on this machine. Only these
# addresses may set the client's address (X-Forwarded-For) and how long the proxy has been receiving the request
# (X-Receiving-Seconds). If the proxy is not listed, all clients behind it count as one. In the environment, separate
# addresses by commas.
TRUSTED_PROXIES = ()

# The largest file that may be uploaded, in bytes; larger ones get 413. Set it to reject files that do not belong here,
# such as long videos. None: any file for which there is space.
MAX_UPLOAD_BYTES = None

# Free space to reserve on disk, in bytes. Uploads that would use it get 507; reading and deleting continue. Raise it if
# other programs write to the same disk. None: 1 % of the disk, at most 5 GB. 0: uploads may fill the disk.
RESERVED_BYTES = None

# --- Thumbnails ----------------------------------------------------------------------------------

# The media types that get thumbnails (docs/thumbnails.md). Remove a type if you do not want thumbnails of it.
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
    "image/svg+xml",
    "image/tiff",
    "image/vnd.adobe.photoshop",
    "image/webp",
    # Camera RAW
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

# Sizes in pixels of which thumbnails are rendered in the background after each upload, such as [123, 200]: at most 8.
# They have the lowest priority, so uploads and requested thumbnails do not wait for them. Specify 7 requests 123 by
# default. Without this setting, thumbnails are rendered when they are first requested. If you remove a size, the server
# deletes its thumbnails in the background after the next start. For originals that exist already, run `manage.py
# thumbnails warm`. As an environment variable: 123,200
PREVIEW_SIZES = []

# How much memory rendering of one thumbnail may take, in megabytes; no temporary file is longer than a quarter of it.
# 1024 is enough for 260 megapixels. JPEG and TIFF are read in parts, so they may be eight times as large. Larger
# images get no thumbnail: raise this for panoramas and scans of whole drawers. Rendering is cancelled after 60
# seconds, or proportionally later if this is more than 1024. One thumbnail per processor core is rendered at a time, or
# fewer if the machine, container or service has too little memory for that.
RENDER_MEMORY = 1024

# How many bytes the pyramids of all collections may take together (docs/iiif.md). A pyramid is a copy of a large image
# in several sizes, with which viewers can zoom; it takes about a tenth to a third of an uncompressed image. The least
# recently used pyramids are removed first. None: 5 % of the disk, at most 20 GB. 0: only small images can be zoomed.
PYRAMID_BYTES = None

# The pyramids of uploads of at least this many bytes are made in the background, so that the first person who zooms
# does not wait. None: pyramids are made when someone zooms.
PYRAMID_UPLOAD_BYTES = 50_000_000

# --- Viewer --------------------------------------------------------------------------------------

# Whether browsers show the viewer (docs/viewer.md) when someone opens an original in a tab and the browser cannot
# display it, such as TIFF, HEIC, JPEG 2000 or camera RAW. Images in pages, downloads and other programs are not
# affected. False: browsers download the file, and there is no viewer at /view.
VIEWER = True

# JPEG and PNG files with more megapixels than this open in the viewer, too. Browsers draw them, but slowly, and only
# after they have downloaded the whole file. None: they always open as they are.
VIEWER_MEGAPIXELS = 50

# --- Trash and verification ----------------------------------------------------------------------

# For how many days deleted and replaced files stay in the trash (docs/recovery.md#trash). 0: files are deleted
# immediately, and files that are already in the trash stay there until `manage.py trash purge`.
TRASH_DAYS = 30

# How many bytes the trash of all collections may hold together. Above that, the oldest files are purged early. Set it
# if the disk is small. None: no limit.
TRASH_BYTES = None

# The server reads each original again at least once in this many days, and compares it with its checksum
# (docs/recovery.md#checksums). It is off by default because it reads all files; 90 is a good start. 0: files are
# verified only by `manage.py verify`.
VERIFY_DAYS = 0

# --- Web server ----------------------------------------------------------------------------------

# The web server: "paste" has one process and works everywhere; "granian" is for production, with HTTPS and several
# processes. The image and docker-compose.yml set "granian" in the environment, and deploy/settings.py for systemd.
# You can also use another adapter of Bottle that you install, or "wsgiref!" for development, which serves one request
# at a time. Without the exclamation mark, as in files for the sample server, Paste is used. docs/serving.md compares
# them.
SERVER = "paste"

# The network address to listen on: "0.0.0.0" for all addresses of this machine, "127.0.0.1" if only programs on this
# machine may connect, such as a proxy.
BIND_ADDRESS = "0.0.0.0"

# How many processes serve requests. Raise it, to one per processor core at most, if one process keeps a core busy;
# each takes 40 to 90 MB. More than 1 requires Granian, which is then used. All together behave like one server.
PROCESSES = 1

# How many requests each process serves at the same time. A slow upload or download holds one thread, and half of the
# threads may wait for thumbnails (docs/serving.md#thread-limits). Raise it if users are often asked to try again.
THREADS = 256

# Granian only: a process that uses more memory than this, in MiB, is replaced by a new one. It is a safety net that you
# should not need; do not set it below 200. None: no limit.
WORKER_MEMORY = None

# Granian only: the certificate (followed by its intermediate certificates) and the private key (without a password) for
# HTTPS, as PEM files (docs/serving.md#https-without-a-proxy). SIGHUP loads new ones. None: plain HTTP.
TLS_CERTIFICATE = None
TLS_KEY = None

# The internal location in nginx that maps to BASE_DIR, as in deploy/nginx.conf: "/protected-store". This server then
# checks requests, and nginx sends the files. None: this server sends the files itself.
ACCEL_REDIRECT = None

# --- Object storage ------------------------------------------------------------------------------

# The bucket for originals and thumbnails, with or without a prefix: "s3://bucket" or "s3://bucket/prefix"
# (docs/scaling.md). BASE_DIR then holds only the journal, the key and temporary files. COLLECTION_DIRS may name
# another bucket for a collection, "s3://other-bucket/prefix". Credentials come from the environment only, never from
# this file: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the role of the machine. None: files are
# stored in BASE_DIR.
STORAGE_URL = None

# The address of the S3 service, such as "https://s3.museum.org", or a mapping with an address for each bucket,
# {"bucket": "https://…"}. If the service requires the bucket's name in the host name, write `{bucket}` there:
# "https://{bucket}.s3.museum.org". In the environment, write the address, or the mapping in JSON. None: Amazon.
STORAGE_ENDPOINT = None

# The region of the buckets. Amazon requires the right one; most other services accept any.
# A mapping has a region for each bucket, {"bucket": "eu-central-1"}.
STORAGE_REGION = "us-east-1"

# Buckets with an access key of their own, and the prefix of the environment variables with that key: with
# {"herps-files": "HERPS"}, the server reads HERPS_AWS_ACCESS_KEY_ID, HERPS_AWS_SECRET_ACCESS_KEY and, for a temporary
# key, HERPS_AWS_SESSION_TOKEN. In the environment, write the mapping in JSON. None: one key for all buckets.
STORAGE_CREDENTIALS = None

# Redirects browsers to the bucket for originals, so that the bytes do not pass through this server: the number of
# seconds for which the signed address is valid. Browsers must be able to reach the bucket (docs/scaling.md).
# None: all bytes pass through this server.
STORAGE_REDIRECT_SECONDS = None

# --- Monitoring ----------------------------------------------------------------------------------

# The format of the log: "plain" for people; "json" with one object per line, for programs that collect logs.
LOG_FORMAT = "plain"

# The IP address and port at which Prometheus reads metrics, such as "127.0.0.1:9101". Anyone who can reach it can read
# them. None: no metrics.
METRICS_ADDRESS = None

# --- Development ---------------------------------------------------------------------------------

# Whether the log has more detail of this program, not of its libraries. Responses never do: they contain only a
# sentence about the error.
DEBUG = False

# The port for SERVER = "wsgiref!". The sample server has the same setting. None: PORT.
DEVELOPMENT_PORT = None
