# A static binary in an otherwise empty image.
#
#   docker build -t sngate .
#   docker run -p 1883:1883/udp -e SNGATE_BROKER_URL=tcp://broker.example:1883 sngate
#
# With the built-in broker, which listens on loopback unless told otherwise:
#   docker run -p 1883:1883/udp -p 1883:1883/tcp -e SNGATE_EMBEDDED_BROKER_ADDRESS=:1883 sngate
# With a configuration:
#   docker run -p 1883:1883/udp -v /path/to/sngate.toml:/etc/sngate/sngate.toml:ro sngate run -c /etc/sngate/sngate.toml
# Sessions and messages are kept in /var/lib/sngate/sngate.db. A volume with a name
# outlives the container: -v sngate:/var/lib/sngate. It has to be writable for user 65532.
# Metrics and health are on loopback unless told otherwise, which inside a
# container is out of reach: -e SNGATE_OPS_ADDRESS=:9883 -p 9883:9883/tcp

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/sngate ./cmd/sngate
RUN mkdir /out/state

FROM scratch
# For brokers behind TLS. Time zones are not needed: logs are in UTC here.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
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
