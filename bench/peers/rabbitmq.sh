# shellcheck shell=bash
# RabbitMQ in a small Debian of its own (debootstrap, chroot), so that it and its Erlang are
# of one known release whatever this machine runs. Needs root.
#
#   RABBITMQ_SUITE  the Debian release (trixie: RabbitMQ 4.0)
#   RABBITMQ_PLUGINS  to be enabled (rabbitmq_stomp)
#   DEBIAN_MIRROR   where from; the archive of this machine's apt when not given
: "${RABBITMQ_SUITE:=trixie}" "${RABBITMQ_PLUGINS:=rabbitmq_stomp}" "${DEBIAN_MIRROR:=}"
RABBITMQ_ROOT=$HOME_DIR/$RABBITMQ_SUITE
RABBITMQ_HOME=/var/lib/peer # as seen inside
DATA_DIR=$RABBITMQ_ROOT$RABBITMQ_HOME

needs() {
  [ "$(id -u)" = 0 ] || die 'rabbitmq needs root for its chroot. Run it so: sudo -E make bench-peers, or leave it out: PEERS="kafka nats"'
  need debootstrap 'apt-get install debootstrap'
  need unshare 'apt-get install util-linux'
}

wanted() { echo "$RABBITMQ_SUITE"; }

install() {
  local mirror=$DEBIAN_MIRROR
  # shellcheck disable=SC2016 # apt's own variable
  [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !found++')
  [ -n "$mirror" ] || die 'apt knows no Debian archive; give one: DEBIAN_MIRROR=...'
  rm -rf "$RABBITMQ_ROOT" # what an install that was cut short left
  debootstrap --variant=minbase "$RABBITMQ_SUITE" "$RABBITMQ_ROOT" "$mirror"
  # Nothing that the packages bring may start by itself.
  printf '#!/bin/sh\nexit 101\n' >"$RABBITMQ_ROOT/usr/sbin/policy-rc.d"
  chmod +x "$RABBITMQ_ROOT/usr/sbin/policy-rc.d"
  grep -qs localhost "$RABBITMQ_ROOT/etc/hosts" || echo '127.0.0.1 localhost' >"$RABBITMQ_ROOT/etc/hosts"
  inside 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server'
}

# inside COMMAND: becomes that command inside, which alone sees the mounts that it needs.
inside() {
  # shellcheck disable=SC2016 # the inner shell's
  unshare -m bash -c 'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && { cp /etc/resolv.conf "$0/etc/resolv.conf" || true; }
    exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -c "$1"' "$RABBITMQ_ROOT" "$1"
}

# shellcheck disable=SC2016 # dpkg's own variable
package() { chroot "$RABBITMQ_ROOT" dpkg-query -W -f '${Version}' "$1"; }

version() { echo "RabbitMQ $(package rabbitmq-server)"; }

settings() {
  echo "nodes=1, plugins=${RABBITMQ_PLUGINS:-none}"
  echo 'messages=persistent'
  case $MODE in
    os) echo 'queues=durable, classic: no flush before a confirm (default)' ;;
    *) echo 'queues=quorum, one member: a flush before a confirm, for all that waited' ;;
  esac
  echo "erlang=$(package erlang-base)"
}

port() { echo "$PORT"; }

target() {
  printf '%s\n' --amqp "127.0.0.1:$PORT"
  case " $RABBITMQ_PLUGINS " in *' rabbitmq_stomp '*) printf '%s\n' --stomp "127.0.0.1:$((PORT + 3))" ;; esac
}

serve() {
  cat >"$DATA_DIR/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$PORT
log.console.level = warning
$(case " $RABBITMQ_PLUGINS " in *' rabbitmq_stomp '*) echo "stomp.listeners.tcp.1 = 127.0.0.1:$((PORT + 3))" ;; esac)
$([ "$MODE" = os ] || echo 'default_queue_type = quorum')
CONF
  echo "[${RABBITMQ_PLUGINS// /,}]." >"$DATA_DIR/enabled_plugins"
  local epmd=$((PORT + 1)) distribution=$((PORT + 2))
  # The port mapper in the foreground: one that Erlang starts by itself would outlive it.
  inside "
    export HOME=$RABBITMQ_HOME RABBITMQ_NODENAME=peer@localhost RABBITMQ_MNESIA_BASE=$RABBITMQ_HOME RABBITMQ_LOG_BASE=$RABBITMQ_HOME/log
    export RABBITMQ_CONFIG_FILE=$RABBITMQ_HOME/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$RABBITMQ_HOME/enabled_plugins RABBITMQ_LOGS=-
    export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_DIST_PORT=$distribution ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    ulimit -n 20000
    epmd &
    exec /usr/lib/rabbitmq/bin/rabbitmq-server"
}
