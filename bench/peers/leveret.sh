# shellcheck shell=bash
# This tree's Leveret, bin/leveret, started and asked as the others are.
LEVERET=$ROOT/bin/leveret

needs() { [ -x "$LEVERET" ] || die "$LEVERET is missing. Build it: make build"; }

wanted() { echo this; }

install() { :; }

version() { echo "Leveret $("$LEVERET" version | awk '{ print $2; exit }')"; }

settings() { echo "flags=--sync $MODE, defaults otherwise"; }

port() { echo $((PORT + 2)); }

# The protocols of the peers that it is compared with.
target() {
  printf '%s\n' --metrics "127.0.0.1:$((PORT + 2))"
  case " $PEERS " in *' kafka '*) printf '%s\n' --kafka "127.0.0.1:$((PORT + 1))" ;; esac
  case " $PEERS " in *' rabbitmq '* | *' nats '*) printf '%s\n' --amqp "127.0.0.1:$PORT" ;; esac
  case " $PEERS " in *' rabbitmq '* | *' artemis '*) printf '%s\n' --stomp "127.0.0.1:$((PORT + 3))" ;; esac
}

serve() {
  exec "$LEVERET" serve --data-dir "$DATA_DIR" --sync "$MODE" \
    --amqp-addr "127.0.0.1:$PORT" --kafka-addr "127.0.0.1:$((PORT + 1))" --stomp-addr "127.0.0.1:$((PORT + 3))" --stomp-ws-addr off --xmpp-addr off --http-addr off --metrics-addr "127.0.0.1:$((PORT + 2))"
}
