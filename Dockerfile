# Two stages: the locked Python environment is made where the tools are, and only it goes into the image.

# docs/hardening.md says how to pin it
ARG BASE=debian:trixie-slim
FROM ${BASE} AS environment
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
# script/up puts the authorities there that this machine's user trusts besides, such as a company's
COPY LICENSE ca.pe[m] ./
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && { [ ! -e ca.pem ] || cat ca.pem >>/etc/ssl/certs/ca-certificates.crt; } \
 && rm -rf /var/lib/apt/lists/*
COPY locks/uv.txt locks/runtime.txt locks/emulator.txt ./
# EMULATOR=0: an image for LOCALSTACK_HOST and TARGET=aws only, without the embedded emulator
ARG EMULATOR=1
# The environment's python is the system's, which the second stage has at the same place. The emulator pins its own
# botocore, so it has its own environment.
RUN python3 -m venv /build/tools \
 && tools/bin/pip install --no-cache-dir --require-hashes --requirement uv.txt \
 && install() { tools/bin/uv venv --python /usr/bin/python3 "$1" \
     && tools/bin/uv pip sync --no-cache --require-hashes --python "$1/bin/python" "$2"; } \
 && install /opt/venv runtime.txt \
 && { [ "$EMULATOR" = 0 ] || install /opt/venv/emulator emulator.txt; }
# Half of what the packages bring is never used here, or has been compiled then. It is looked for in the code, which so
# comes before.
COPY appliance appliance
COPY cli cli
COPY common common
COPY dashboard/*.py dashboard/
COPY entrypoint entrypoint
COPY journal journal
COPY lambda lambda
COPY producer producer
RUN for each in /opt/venv /opt/venv/emulator; do \
      [ ! -e "$each" ] || "$each/bin/python" appliance/slim.py "$each"/lib/python3*/site-packages \
        appliance cli common dashboard entrypoint journal lambda producer; \
    done

# What the dashboard's page takes from npm: files for the browser; node stays in this stage. Without the package registry
# the page shows tables instead of charts, which is no reason to have no image.
COPY locks/node.txt ./
COPY dashboard/package.json dashboard/package-lock.json dashboard/.npmrc dashboard/vendor.sh dashboard/
RUN mkdir -p dashboard/static/vendor \
 && { { tools/bin/uv venv --quiet --python /usr/bin/python3 node \
     && tools/bin/uv pip install --no-cache --require-hashes --python node/bin/python --requirement node.txt \
     && PATH=/build/node/bin:$PATH dashboard/vendor.sh; } \
   || echo "WARNING: the chart library was not fetched; build again with --no-cache to have charts" >&2; }

FROM ${BASE}
LABEL org.opencontainers.image.title="kinesis-lambda-logging" \
      org.opencontainers.image.description="A web server's access log as hourly JSON objects in S3, through Kinesis and Lambda, every line exactly once" \
      org.opencontainers.image.licenses="MIT"
# 33 MB: nginx, a small Python, and setpriv for nginx's port.
# Docker lets every user listen on port 80. Where the system does not (podman, the host's network), setpriv may give nginx
# the right to; as it has no right in effect itself, it can be executed where there is none to give.
# Of what comes with them, Python's tests, its help and its prompt go, and the programs of iproute2, which an init script of
# nginx's package wants. Debian compiles a part of the standard library only: the rest would be at each start.
COPY appliance/slim.py /tmp/
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libcap2-bin nginx python3-minimal libpython3-stdlib \
 && setcap cap_net_bind_service=+p /usr/bin/setpriv \
 && rm -rf /usr/lib/python3.*/test /usr/lib/python3.*/pydoc_data /usr/lib/python3.*/turtle.py \
      /usr/lib/python3.*/unittest /usr/lib/python3.*/_pyrepl /usr/lib/python3.*/lib-dynload/_test* \
 && dpkg --listfiles iproute2 >/tmp/programs \
 && { xargs -d '\n' -a /tmp/programs rm -f 2>/dev/null || true; } \
 && for each in /usr/lib/python3.*; do python3 /tmp/slim.py "$each"; done \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc /usr/share/man /usr/share/locale \
 && useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin appliance \
 && install --directory --owner appliance --group root --mode 770 /data
# 31 MB: the locked packages of the appliance, and those of the emulator
COPY --from=environment /opt/venv /opt/venv
# what UPSTREAM=https:// is believed by; the package would bring openssl's programs as well
COPY --from=environment /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
WORKDIR /app
# 1 MB: the appliance itself
COPY supervisord.conf LICENSE pyproject.toml ./
COPY nginx nginx
COPY lambda lambda
COPY common common
COPY journal journal
COPY appliance appliance
COPY cli cli
COPY emulator emulator
COPY entrypoint entrypoint
COPY producer producer
COPY dashboard dashboard
# 0.2 MB: the charts of the dashboard
COPY --from=environment /build/dashboard/static/vendor dashboard/static/vendor
ENV PATH=/app/cli/bin:/opt/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=65536 \
    DATA_DIR=/data
# 2 MB: the same again, compiled, and with its modes, whatever those of the checkout were
RUN chmod -R a-x,u=rwX,go=rX . \
 && chmod 755 appliance/healthy appliance/tagged cli/bin/* nginx/start \
 && for each in appliance cli common dashboard emulator entrypoint journal producer; do \
      python appliance/slim.py "$each"; \
    done
USER 10001:10001
VOLUME /data
EXPOSE 80 4566 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["/app/appliance/healthy"]
CMD ["python", "-m", "appliance"]
