# A static binary, and the licences of what is in it, in an otherwise empty image. Builds
# with docker (BuildKit or not), podman and buildah:
#
#   docker build -t sngate --build-arg COMMIT=$(git rev-parse HEAD) .
#
# A podman or buildah that does not know short names of images needs the full one of the
# first stage: --from REGISTRY/library/golang:1.26-bookworm. Then:
#   docker run -p 1883:1883/udp -e SNGATE_BROKER_URL=tcp://broker.example:1883 sngate
#
# With the built-in broker, which listens on loopback unless told otherwise:
#   docker run -p 1883:1883/udp -p 1883:1883/tcp -e SNGATE_EMBEDDED_BROKER_ADDRESS=:1883 sngate
# With a configuration:
#   docker run -p 1883:1883/udp -v /path/to/sngate.toml:/etc/sngate/sngate.toml:ro sngate -c /etc/sngate/sngate.toml
# Sessions and messages are kept in /var/lib/sngate/sngate.db. A volume with a name
# outlives the container: -v sngate:/var/lib/sngate. It has to be writable for user 65532.
# Metrics and health are on loopback unless told otherwise, which inside a
# container is out of reach: -e SNGATE_OPS_ADDRESS=:9883 -p 9883:9883/tcp

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN sh packaging/licenses.sh /out/licenses
RUN mkdir /out/state
# Told by "sngate version". There is no .git here to ask.
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -pgo=cmd/sngate/cpu.pgo -ldflags "-s -w -X sngate/internal/version.commit=$COMMIT" -o /out/sngate ./cmd/sngate

FROM scratch
# For brokers behind TLS. Time zones are not needed: logs are in UTC here.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/licenses /usr/share/licenses
COPY --from=build /out/sngate /sngate
# The working directory is where sngate.db is made, and where sngate.toml is looked for.
COPY --from=build --chown=65532:65532 /out/state /var/lib/sngate
WORKDIR /var/lib/sngate
VOLUME /var/lib/sngate
# A number, not a name: the image has no /etc/passwd, and Kubernetes can check
# "runAsNonRoot" only where the user is a number.
USER 65532:65532
EXPOSE 1883/udp 1883/tcp 9883/tcp
ENTRYPOINT ["/sngate"]
