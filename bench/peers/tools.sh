# shellcheck shell=bash
# The peers' own load generators, from Maven: Kafka's performance tools and RabbitMQ's
# PerfTest. Programs for `leveret bench --tools`, not a broker.
#
#   KAFKA_TOOLS_VERSION, PERFTEST_VERSION
: "${KAFKA_TOOLS_VERSION:=4.3.1}" "${PERFTEST_VERSION:=2.22.1}"

needs() { need_maven; }

wanted() { echo "$KAFKA_TOOLS_VERSION $PERFTEST_VERSION"; }

install() {
  jars "$HOME_DIR/kafka" "org.apache.kafka:kafka-tools:$KAFKA_TOOLS_VERSION" org.slf4j:slf4j-simple:1.7.36
  jars "$HOME_DIR/perftest" "com.rabbitmq:perf-test:$PERFTEST_VERSION"
}

version() {
  echo "kafka-tools $(version_of "$HOME_DIR/kafka" kafka-tools), PerfTest $(version_of "$HOME_DIR/perftest" perf-test)"
}
