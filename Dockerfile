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
COPY server.py manage.py settings.py LICENSE deploy/healthcheck.py ./
COPY assetstore ./assetstore
COPY views ./views

# SERVER is set here because people mount the settings.py of the sample server, which says 'paste' without anybody
# having chosen it. The environment of the container decides otherwise; SERVER= (empty) leaves it to settings.py.
ENV BASE_DIR=/home/specify/attachments \
    SERVER=granian \
    PATH=/home/specify/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER specify
EXPOSE 8080
VOLUME /home/specify/attachments

# Whether the server responds, by http or https. /readyz says whether it can do its work, but a restart does not
# free a full disk.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "healthcheck.py"]

CMD ["python", "server.py"]
