# The Web Asset Server on Debian. Attachments live in the volume /home/specify/attachments, with the
# user and group 999 that Specify's sample image has, so that its volumes work as they are.
FROM debian:trixie-slim

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ghostscript imagemagick libheif-plugin-libde265 python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

RUN groupadd --gid 999 specify \
 && useradd --uid 999 --gid specify --create-home --home-dir /home/specify specify \
 && install --directory --owner specify --group specify /home/specify/attachments

WORKDIR /home/specify/server
COPY requirements.txt ./
RUN python3 -m venv /home/specify/venv \
 && /home/specify/venv/bin/pip install --no-cache-dir --no-compile --requirement requirements.txt \
 && /home/specify/venv/bin/pip uninstall --yes pip \
 && rm -rf /root/.cache
COPY server.py answers.py status.py manage.py settings.py LICENSE ./
COPY assetstore ./assetstore
COPY views ./views

ENV BASE_DIR=/home/specify/attachments \
    PATH=/home/specify/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER specify
EXPOSE 8080
VOLUME /home/specify/attachments

# Whether the server lives; /readyz would say whether it can do its work, but no restart makes room on a disk.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/healthz' % (os.environ.get('PORT') or 8080), timeout=4)"]

CMD ["python", "server.py"]
