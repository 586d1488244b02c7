# shellcheck shell=bash
# nats-server with JetStream, built by go install.
#
#   NATS_VERSION  its version
: "${NATS_VERSION:=v2.15.2}"

needs() { need go 'https://go.dev/doc/install'; }

wanted() { echo "$NATS_VERSION"; }

install() { GOBIN=$HOME_DIR/bin go install "github.com/nats-io/nats-server/v2@$NATS_VERSION"; }

version() { "$HOME_DIR/bin/nats-server" --version | sed 's/^nats-server: v/NATS Server /'; }

settings() {
  echo 'storage=JetStream, file, 1 replica'
  case $MODE in
    os) echo 'flush=sync_interval 2m (default): none before an answer' ;;
    *) echo 'flush=sync_interval always: each message, before its answer' ;;
  esac
}

port() { echo "$PORT"; }

target() { printf '%s\n' --nats "127.0.0.1:$PORT"; }

serve() {
  cat >"$HOME_DIR/nats.conf" <<CONF
listen: "127.0.0.1:$PORT"
max_payload: 8MB
jetstream {
  store_dir: "$DATA_DIR"
  max_file_store: 60GB
  $([ "$MODE" = os ] || echo 'sync_interval: always')
}
CONF
  exec "$HOME_DIR/bin/nats-server" -c "$HOME_DIR/nats.conf"
}
