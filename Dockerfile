# The operator's image: one static program, Rancher's certificates can be checked, machines can be booted, nothing else.
#
#   docker build --build-arg VERSION=v0.1.0 --build-arg COMMIT=$(git rev-parse --short HEAD) -t rancheros-operator .

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# Modules change less often than code: they are fetched once.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
COPY chart chart
COPY scripts/build-release.sh scripts/
ARG TARGETARCH
ARG VERSION=dev COMMIT=unknown
# The same script, and so the same bytes, as the program that is released beside the image.
RUN mkdir /out && ARCHITECTURES=$TARGETARCH PROGRAMS=rancheros-operator scripts/build-release.sh /out "$VERSION" "$COMMIT" && \
    mv "/out/rancheros-operator_linux_$TARGETARCH" /out/rancheros-operator

# What `rancheros-operator netboot` hands to machines that are to boot. Their architecture is not that of the image, and it is
# data here: one stage does for all. iPXE is GPL-2+; its copyright file goes with it.
FROM --platform=$BUILDPLATFORM debian:stable-slim AS ipxe
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ipxe && mkdir -p /out/usr/lib/ipxe /out/usr/share/doc/ipxe && \
    cp /usr/lib/ipxe/undionly.kpxe /usr/lib/ipxe/snponly.efi /out/usr/lib/ipxe/ && cp /usr/share/doc/ipxe/copyright /out/usr/share/doc/ipxe/

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=ipxe /out/ /
COPY --from=build /out/rancheros-operator /usr/bin/rancheros-operator
# Time zones are in the program. It writes no file, so a read-only root filesystem is enough.
USER 65532:65532
ENTRYPOINT ["/usr/bin/rancheros-operator"]
CMD ["run"]
