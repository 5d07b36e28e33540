# The base image: Debian with the packages of base.toml. SOURCE is a pulled debian:*-slim or a root that mmdebstrap made;
# the latter already has them, so nothing is fetched then.
ARG SOURCE
FROM ${SOURCE}
ARG PACKAGES
RUN set -eu; \
    missing=""; \
    for p in ${PACKAGES}; do \
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "^install ok installed" || missing="$missing $p"; \
    done; \
    if [ -n "$missing" ]; then \
        export DEBIAN_FRONTEND=noninteractive; \
        apt-get update -qq; \
        apt-get install -y -qq --no-install-recommends $missing; \
        apt-get clean; \
        rm -rf /var/lib/apt/lists/*; \
    fi
