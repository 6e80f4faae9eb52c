# One file for every image, for docker and buildah alike:
#   docker build --target sidecar --build-arg VERSION=0.1.0 -t outrigger/sidecar:0.1.0 .
# The programs are static; `make binaries` builds them before.
ARG BINARIES=target/x86_64-unknown-linux-musl/release

FROM scratch AS operator
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-operator" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ${BINARIES}/outrigger-operator /outrigger-operator
USER 65532:65532
ENTRYPOINT ["/outrigger-operator"]
CMD ["run"]

FROM scratch AS sidecar
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-sidecar" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV OUTRIGGER_SIDECAR_VERSION="${VERSION}"
COPY ${BINARIES}/outrigger-sidecar /outrigger-sidecar
USER 65532:65532
ENTRYPOINT ["/outrigger-sidecar"]
CMD ["slot"]

FROM scratch AS checkout
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-example-checkout" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ${BINARIES}/checkout /checkout
USER 65532:65532
ENTRYPOINT ["/checkout"]

FROM scratch AS risk
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-example-risk" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ${BINARIES}/risk /risk
USER 65532:65532
ENTRYPOINT ["/risk"]

FROM scratch AS redact
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-example-redact" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV OUTRIGGER_SIDECAR_VERSION="${VERSION}"
COPY ${BINARIES}/redact /redact
USER 65532:65532
ENTRYPOINT ["/redact"]
CMD ["slot"]

FROM scratch AS tickets
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-example-tickets" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ${BINARIES}/tickets /tickets
USER 65532:65532
ENTRYPOINT ["/tickets"]

# The sidecar and the load of `make bench-swap`.
FROM scratch AS bench
ARG BINARIES
ARG VERSION=dev
LABEL org.opencontainers.image.title="outrigger-bench" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV OUTRIGGER_SIDECAR_VERSION="${VERSION}"
COPY ${BINARIES}/outrigger-bench /outrigger-bench
USER 65532:65532
ENTRYPOINT ["/outrigger-bench"]
CMD ["slot"]
