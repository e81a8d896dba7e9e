# The two commands of the README, on a machine of their own:
#   docker build --tag lungseg .
#   docker run --shm-size 1g lungseg                 make book; with a GPU, add --gpus all
#   docker run --shm-size 1g lungseg make test
FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS tools
# a release of Debian holds one version of a package, and drops it with the next security update: there is none to pin
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 lungseg \
    && install --directory --owner=lungseg /home/lungseg/book
USER 1000

FROM tools
WORKDIR /home/lungseg/book
COPY --chown=1000 . .
RUN make setup && rm -rf /home/lungseg/.cache
CMD ["make", "book"]
