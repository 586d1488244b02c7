# shellcheck shell=bash
# ActiveMQ Artemis as it is released, from Maven, for its STOMP.
#
#   ARTEMIS_VERSION  its version
: "${ARTEMIS_VERSION:=2.44.0}"
ARTEMIS=$HOME_DIR/apache-artemis-$ARTEMIS_VERSION

needs() { need_maven; }

wanted() { echo "$ARTEMIS_VERSION"; }

install() {
  rm -rf "$ARTEMIS" # what an install that was cut short left
  mvn -q -B dependency:copy "-Dartifact=org.apache.activemq:apache-artemis:$ARTEMIS_VERSION:tar.gz:bin" "-DoutputDirectory=$HOME_DIR"
  tar -xzf "$ARTEMIS-bin.tar.gz" -C "$HOME_DIR"
  rm "$ARTEMIS-bin.tar.gz"
}

version() { echo "ActiveMQ Artemis $ARTEMIS_VERSION"; }

settings() {
  echo 'messages=persistent, /queue/ is an anycast address, heap of 2 GiB at most'
  case $MODE in
    os) echo 'journal=mapped files, no fsync (--no-fsync)' ;;
    *) echo 'journal=NIO, a flush before an answer, for all that came within a time that fits the disk (default)' ;;
  esac
}

port() { echo "$PORT"; }

target() { printf '%s\n' --stomp "127.0.0.1:$PORT"; }

# An instance is made anew each time, beside the data. A consumer's window is 10 KiB by default, less than it is
# asked for by prefetch-count on the others: here as much as that is of 16 KiB each.
serve() {
  local flags=(--no-fsync --no-autotune)
  [ "$MODE" = os ] || flags=(--nio)
  "$ARTEMIS/bin/artemis" create "$DATA_DIR/instance" --silent --no-web --host 127.0.0.1 --default-port "$PORT" \
    --no-amqp-acceptor --no-stomp-acceptor --no-mqtt-acceptor --no-hornetq-acceptor --require-login --user guest --password guest "${flags[@]}"
  sed -i "s|;protocols=CORE,[^;<]*|;protocols=STOMP;anycastPrefix=/queue/;stompConsumerWindowSize=$((16 << 20))|" "$DATA_DIR/instance/etc/broker.xml"
  exec "$DATA_DIR/instance/bin/artemis" run
}
