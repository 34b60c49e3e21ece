# The operator's image: one static program, Rancher's certificates can be checked, nothing else.
#
#   docker build --build-arg VERSION=v0.1.0 --build-arg COMMIT=$(git rev-parse --short HEAD) -t rancheros-operator .

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# Modules change less often than code: they are fetched once.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
ARG TARGETOS TARGETARCH
ARG VERSION=dev COMMIT=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/rancher/rancheros-operator/pkg/version.Version=$VERSION -X github.com/rancher/rancheros-operator/pkg/version.Commit=$COMMIT" \
    -o /out/rancheros-operator ./cmd/rancheros-operator

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/rancheros-operator /usr/bin/rancheros-operator
# Time zones are in the program. It writes no file, so a read-only root filesystem is enough.
USER 65532:65532
ENTRYPOINT ["/usr/bin/rancheros-operator"]
CMD ["run"]
