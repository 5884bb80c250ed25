# Builds both images:
#   docker build --target manager       -t …/manager .
#   docker build --target trading-agent -t …/trading-agent .
# For other platforms add --platform linux/arm64 (docker buildx).
ARG GO_VERSION=1.26

FROM --platform=${BUILDPLATFORM:-linux/amd64} golang:${GO_VERSION} AS build
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY config/crd/ config/crd/
COPY controllers/ controllers/
COPY internal/ internal/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./cmd/manager ./cmd/trading-agent

FROM gcr.io/distroless/static-debian12:nonroot AS trading-agent
COPY --from=build /out/trading-agent /trading-agent
USER 65532:65532
ENTRYPOINT ["/trading-agent"]

FROM gcr.io/distroless/static-debian12:nonroot AS manager
COPY --from=build /out/manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
