# The Web Asset Server on Debian. The attachments are in the volume /home/specify/attachments. User and group have the
# ID 999, as in Specify's sample image, so that its volumes can be used unchanged. Other users can run it, too (--user).
# --build-arg BASE_IMAGE=debian@sha256:… pins the base.
ARG BASE_IMAGE=debian:trixie-slim
FROM $BASE_IMAGE

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ghostscript imagemagick libheif-plugin-libde265 python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

RUN groupadd --gid 999 specify \
 && useradd --uid 999 --gid specify --create-home --home-dir /home/specify specify \
 && chmod 755 /home/specify \
 && install --directory --owner specify --group specify /home/specify/attachments

WORKDIR /home/specify/server
COPY requirements.lock ./
RUN python3 -m venv /home/specify/venv \
 && /home/specify/venv/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement requirements.lock \
 && /home/specify/venv/bin/pip uninstall --yes pip \
 && rm -rf /root/.cache
COPY server.py manage.py settings.py LICENSE deploy/healthcheck.py ./
COPY assetstore ./assetstore
COPY views ./views

# SERVER is set here because the settings.py of the sample server, which may be mounted, has 'paste' as its default.
# To change it, set SERVER in the environment of the container; if it is empty, the value in settings.py is used.
ENV BASE_DIR=/home/specify/attachments \
    SERVER=granian \
    PATH=/home/specify/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER specify
EXPOSE 8080
VOLUME /home/specify/attachments

# Checks whether the server responds, by HTTP or HTTPS. It does not use /readyz, because a restart does not help if,
# for example, the disk is full.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "healthcheck.py"]

CMD ["python", "server.py"]
