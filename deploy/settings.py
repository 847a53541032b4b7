"""Settings of the Web Asset Server under systemd: copy to /etc/asset-server/settings.py, and see docs/install.md.

The server and manage.py read this file, and no other. Add the settings that you need; docs/settings.md has all of them.
"""

# The folder of the attachments. If you change it, also change ReadWritePaths in the unit: docs/operations.md.
BASE_DIR = "/var/lib/web-asset-server"

# The web server for production: docs/serving.md.
SERVER = "granian"
