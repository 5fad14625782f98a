# The service in a container. Generated code runs in sandboxes inside it, so the container must be let make namespaces:
#
#   docker build -t toolmint .
#   docker run -p 8765:8765 -v toolmint:/data \
#     --security-opt seccomp=docs/seccomp-nested-sandbox.json \
#     --security-opt apparmor=unconfined \
#     --security-opt systempaths=unconfined \
#     toolmint
#
# Without them nothing generated runs: the service starts, says why, and `docker exec … toolmint doctor` names the missing flag.
# On a host that restricts user namespaces by AppArmor also: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
# The address is open inside the container; name the real host in TOOLMINT_PUBLIC_URL, or requests for it are refused.

FROM python:3.12-slim

RUN useradd --create-home --uid 10001 toolmint \
 && mkdir /data \
 && chown toolmint:toolmint /data

WORKDIR /srv/toolmint

COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

COPY . .
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e .

USER toolmint
ENV TOOLMINT_HOME=/data \
    TOOLMINT_TOOLS_DIR=/data/published \
    TOOLMINT_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8765

# /healthz answers while the web process lives; readiness, which also asks for worker, Redis and sandbox, is /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/healthz', timeout=2)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["toolmint"]
CMD ["up"]
