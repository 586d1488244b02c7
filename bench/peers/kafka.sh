# shellcheck shell=bash
# Apache Kafka, one node that is broker and controller, from Maven's artifacts.
#
#   KAFKA_VERSION  the broker's version
#   KAFKA_HEAP     its heap (1g, as its own start script has it)
#   KAFKA_CONF     further lines of server.properties, which win over what is there
: "${KAFKA_VERSION:=4.4.0}" "${KAFKA_HEAP:=1g}" "${KAFKA_CONF:=}"

needs() { need_maven; }

wanted() { echo "$KAFKA_VERSION"; }

install() { jars "$HOME_DIR/jars" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" org.slf4j:slf4j-simple:1.7.36; }

version() { echo "Apache Kafka $(version_of "$HOME_DIR/jars" kafka_2.13)"; }

settings() {
  echo 'nodes=1, replication 1'
  echo "heap=$KAFKA_HEAP"
  echo 'collector=G1, flags of the start script'
  case $MODE in
    os) echo 'flush=none before an answer (default)' ;;
    *) echo 'flush=log.flush.interval.messages=1: each append, before its answer' ;;
  esac
  echo "java=$(java -version 2>&1 | sed -n 's/.* version "\([^"]*\)".*/\1/p')"
}

port() { echo "$PORT"; }

target() { printf '%s\n' --kafka "127.0.0.1:$PORT"; }

serve() {
  local conf=$HOME_DIR/server.properties controller=127.0.0.1:$((PORT + 1))
  cat >"$conf" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
log.dirs=$DATA_DIR
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A topic that a row has deleted is not to be on the disk while a later row runs.
log.segment.delete.delay.ms=1000
$KAFKA_CONF
CONF
  [ "$MODE" = os ] || echo 'log.flush.interval.messages=1' >>"$conf"
  kafka_java kafka.tools.StorageTool format -c "$conf" -t "$(kafka_java kafka.tools.StorageTool random-uuid)"
  # The flags of Kafka's own start script.
  exec java -server "-Xms$KAFKA_HEAP" "-Xmx$KAFKA_HEAP" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
    -XX:+ExplicitGCInvokesConcurrent -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$HOME_DIR/jars/*" kafka.Kafka "$conf"
}

kafka_java() { java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$HOME_DIR/jars/*" "$@"; }
