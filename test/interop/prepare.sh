# Sourced by run: fetches clients through the ordinary package clients, once.
#
# prepare TOOL returns 0 when everything for that tool is in $CACHE, else 1 with
# the reason, and what to do, in $REASON. What was fetched is remembered by the
# contents of the file that names it, so that a changed version is fetched again.

need() { # need COMMAND WHAT-TO-DO
  command -v "$1" >/dev/null 2>&1 || { REASON="$1 is missing; run: $2"; return 1; }
}

# once MARK FILE...: true when that was done already for these very files
once() {
  local mark=$1
  shift
  [ "$(cat "$CACHE/$mark.done" 2>/dev/null)" = "$(cat "$@" | cksum)" ]
}
did() {
  local mark=$1
  shift
  cat "$@" | cksum >"$CACHE/$mark.done"
}

# fetch WHAT CMD...: runs a package client, its output kept in the cache. Networks
# fail for a moment: it is tried three times.
fetch() {
  local what=$1 try
  shift
  for try in 1 2 3; do
    echo "fetching $what"
    "$@" >"$CACHE/$what.log" 2>&1 </dev/null && return
    [ "$try" = 3 ] || sleep "$((try * 3))"
  done
  REASON="cannot install $what ($*): $(tail -n 3 "$CACHE/$what.log" | tr '\n' ' ')"
  return 1
}

prepare() {
  REASON=
  case $1 in
    python) prepare_python ;;
    slixmpp-examples) prepare_python && prepare_sdist slixmpp py/requirements.txt ;;
    frameworks) prepare_venv frameworks py/requirements-frameworks.txt ;;
    celery44) prepare_celery44 ;;
    kcat) prepare_python && prepare_debian kcat kcat ;;
    kafka-old) prepare_kafka_old ;;
    kafka-ng) prepare_venv kafka-ng py/requirements-ng.txt ;;
    platformatic) prepare_npm js-platformatic js/package-platformatic.json ;;
    kafka-node) prepare_npm js-kafka-old js/package-kafka-old.json ;;
    kafka-other) prepare_venv kafka-other py/requirements-other.txt ;;
    rust-kafka) prepare_rust rust-kafka rust ;;
    watermill-kafka) prepare_go_tests watermill-kafka ./pkg/kafka ;;
    flink) prepare_java flink java/flink/pom.xml java/flink/*.java java/src/Check.java ;;
    telegraf) prepare_python && prepare_go_program telegraf ./cmd/telegraf -tags custom,inputs.kafka_consumer,inputs.file,outputs.file,outputs.kafka,parsers.influx,serializers.influx ;;
    rsyslog) prepare_python && prepare_debian rsyslogd rsyslog rsyslog-kafka ;;
    burrow) prepare_python && prepare_debian Burrow burrow zookeeper ;;
    node) prepare_npm js js/package.json ;;
    node-frameworks) prepare_npm js-frameworks js/package-frameworks.json ;;
    java) prepare_java java java/pom.xml java/src/*.java ;;
    spring) prepare_java spring java/spring/pom.xml java/spring/*.java java/src/Check.java ;;
    perftest) prepare_java perftest java/perftest/pom.xml java/perftest/*.java java/src/Check.java ;;
    kafka-tools) prepare_java kafka-tools java/tools/pom.xml java/tools/*.java java/src/Check.java ;;
    kafka-streams) prepare_python && prepare_java kafka-tools java/tools/pom.xml java/tools/*.java java/src/Check.java ;;
    kafka-connect) prepare_python && need java "apt-get install openjdk-17-jre-headless" && prepare_jars kafka-connect java/connect/pom.xml ;;
    kafka-registry) prepare_venv registry py/requirements-registry.txt && prepare_apicurio 3.3.3 ;;
    go) prepare_go ;;
    balancers) prepare_python && prepare_go ;;
    balancers-all) prepare_python && prepare_go && prepare_npm js js/package.json && prepare_java java java/pom.xml java/src/*.java ;;
    amqp091-go-own) prepare_go_tests amqp091-go . -tags integration && prepare_python && prepare_go_examples ;;
    watermill) prepare_go_tests watermill-amqp ./pkg/amqp ;;
    php) prepare_python && prepare_debian php php-cli php-amqplib ;;
    ruby-stomp) prepare_debian ruby ruby ruby-stomp ;;
    chromium) prepare_npm js js/package.json && prepare_debian chromium chromium ;;
    spring-kafka) prepare_java spring-kafka java/springkafka/pom.xml java/springkafka/*.java java/src/Check.java ;;
    spring-relay) prepare_java spring-relay java/springstomp/pom.xml java/springstomp/*.java java/src/Check.java ;;
    smack) prepare_java smack java/smack/pom.xml java/smack/*.java java/src/Check.java ;;
    ruby) prepare_debian ruby ruby ruby-bunny ;;
    amqp-tools) prepare_python && prepare_debian amqp-publish amqp-tools ;;
    xmpp-tools) prepare_python && prepare_debian go-sendxmpp go-sendxmpp && prepare_debian profanity profanity ;;
    rust) prepare_python && need cargo "$INSTALL_CARGO" ;;
    lapin) prepare_lapin 4.12.3 ;;
    ffmpeg) prepare_ffmpeg ;;
    http) prepare_venv http py/requirements-http.txt ;;
    rabbitmqadmin) prepare_python && prepare_rabbitmqadmin 2.35.0 ;;
  esac
}

INSTALL_CARGO="apt-get install cargo (or see https://rustup.rs: lapin wants Rust 1.88)"

# What of lapin is compiled, and how: it takes minutes, and fewer without TLS and debug information.
LAPIN=(--locked --no-default-features --features tokio)
for test in ack_after_close channel_closed_by_broker conn_wrong_vhost connection connection_tasks publisher_confirms recovery_qos tokio; do
  LAPIN+=(--test "$test")
done

# prepare_lapin VERSION: the crate with its tests, compiled. Cargo fetches it for a package that wants it.
prepare_lapin() {
  once lapin - <<<"$1" && return
  need cargo "$INSTALL_CARGO" || return
  rm -rf "${CACHE:?}/lapin" "$CACHE/lapin-fetch" && mkdir -p "$CACHE/lapin-fetch/src" && touch "$CACHE/lapin-fetch/src/lib.rs"
  printf '[package]\nname = "fetch"\nversion = "0.0.0"\n[dependencies]\nlapin = "=%s"\n' "$1" >"$CACHE/lapin-fetch/Cargo.toml"
  fetch lapin cargo fetch --manifest-path "$CACHE/lapin-fetch/Cargo.toml" || return
  cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"lapin-$1" "$CACHE/lapin" || { REASON="lapin $1 is not where Cargo keeps sources"; return 1; }
  fetch lapin-tests env "CARGO_TARGET_DIR=$CACHE/lapin/target" CARGO_PROFILE_TEST_DEBUG=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
    cargo test --manifest-path "$CACHE/lapin/Cargo.toml" --no-run "${LAPIN[@]}" || return
  did lapin - <<<"$1"
}

# prepare_rust NAME FOLDER: a program of FOLDER, compiled
prepare_rust() {
  once "$1" "$2/Cargo.toml" "$2"/src/*.rs && return
  need cargo "apt-get install cargo (or see https://rustup.rs: rskafka wants Rust 1.85)" || return
  mkdir -p "$CACHE/$1" && cp -r "$2/." "$CACHE/$1"
  fetch "$1" env "CARGO_TARGET_DIR=$CACHE/$1" cargo build --quiet --manifest-path "$CACHE/$1/Cargo.toml" || return
  did "$1" "$2/Cargo.toml" "$2"/src/*.rs
}

# prepare_ffmpeg: any ffmpeg will do; and the example, compiled
prepare_ffmpeg() {
  command -v ffmpeg >/dev/null 2>&1 || prepare_debian ffmpeg ffmpeg || return
  need go "apt-get install golang-go (or see https://go.dev/doc/install)" || return
  fetch example-video sh -c "cd '$ROOT' && go build -o '$CACHE/bin/video' ./examples/video"
}

# prepare_rabbitmqadmin VERSION: compiled from its crate, without optimizing: it takes ten minutes as it is.
prepare_rabbitmqadmin() {
  once rabbitmqadmin - <<<"$1" && return
  need cargo "$INSTALL_CARGO" || return
  fetch rabbitmqadmin cargo install --locked --debug --quiet --root "$CACHE/rabbitmqadmin" "rabbitmqadmin@$1" || return
  did rabbitmqadmin - <<<"$1"
}

prepare_python() { prepare_venv py py/requirements.txt; }

prepare_celery44() {
  once celery44 py/requirements-celery44.txt && return
  old_python 8 9 7 10 || { REASON="Celery 4.4 needs a Python 3.7 to 3.10; run: pyenv install 3.8"; return 1; }
  prepare_venv celery44 py/requirements-celery44.txt "$PYTHON"
}

prepare_kafka_old() {
  once kafka-old py/requirements-old.txt && return
  old_python 7 6 || { REASON="confluent-kafka 0.11 needs a Python 3.6 or 3.7; run: pyenv install 3.7"; return 1; }
  prepare_venv kafka-old py/requirements-old.txt "$PYTHON"
}

# old_python MINOR...: sets PYTHON to the first of these Python 3 that is here, pyenv's among them
old_python() {
  local minor
  for minor; do
    for PYTHON in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
      "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    done
  done
  return 1
}

prepare_venv() { # prepare_venv NAME REQUIREMENTS [PYTHON]
  local name=$1 list=$2 python=${3:-python3}
  once "$name" "$list" && return
  need "$python" "apt-get install python3 python3-venv" || return
  rm -rf "${CACHE:?}/$name"
  [ "$name" != py ] || rm -rf "$CACHE/pyamqp" # which runs in it
  "$python" -m venv "$CACHE/$name" >"$CACHE/venv.log" 2>&1 || { REASON="python3 -m venv failed; run: apt-get install python3-venv"; return 1; }
  fetch "pip-$name" "$CACHE/$name/bin/python" -m pip install -q --disable-pip-version-check -r "$list" || return
  did "$name" "$list"
}

prepare_sdist() { # prepare_sdist PACKAGE LIST: its source archive, of the version that the list of packages names
  local name=$1 list=$2 src=$CACHE/$1-src
  once "$name-src" "$list" && return
  rm -rf "$src" && mkdir -p "$src"
  fetch "source-$name" "$CACHE/py/bin/python" -m pip download -q --disable-pip-version-check --no-deps --no-binary "$name" -d "$src" "$(grep "^$name==" "$list")" || return
  tar xzf "$src"/*.tar.gz -C "$src" --strip-components=1 || { REASON="the source archive of $name can't be read"; return 1; }
  did "$name-src" "$list"
}

prepare_debian() { # prepare_debian COMMAND PACKAGE...: Debian's packages, which bring that command
  local command=$1
  shift
  command -v "$command" >/dev/null 2>&1 && dpkg-query -W "$@" >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    fetch "$command" sh -c 'apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }' - "$@" || return
  fi
  need "$command" "apt-get install $*"
}

prepare_npm() { # prepare_npm NAME PACKAGES
  local name=$1 list=$2
  once "$name" "$list" && return
  need npm "apt-get install nodejs npm" || return
  mkdir -p "$CACHE/$name" && cp "$list" "$CACHE/$name/package.json"
  fetch "npm-$name" npm install --prefix "$CACHE/$name" --no-audit --no-fund --no-package-lock || return
  did "$name" "$list"
}

prepare_java() { # prepare_java NAME POM SOURCE...
  local name=$1 pom=$2
  shift 2
  prepare_jars "$name" "$pom" || return
  once "$name-classes" "$pom" "$@" && return
  need javac "apt-get install openjdk-17-jdk-headless" || return
  rm -rf "$CACHE/$name/classes"
  javac -parameters -cp "$CACHE/$name/jars/*" -d "$CACHE/$name/classes" "$@" >"$CACHE/javac.log" 2>&1 ||
    { REASON="javac: $(head -n 5 "$CACHE/javac.log" | tr '\n' ' ')"; return 1; }
  did "$name-classes" "$pom" "$@"
}

prepare_jars() { # prepare_jars NAME POM
  local name=$1 pom=$2
  once "$name-jars" "$pom" && return
  need mvn "apt-get install maven" || return
  rm -rf "${CACHE:?}/$name"
  fetch "maven-$name" mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$CACHE/$name/jars" || return
  did "$name-jars" "$pom"
}

# prepare_apicurio VERSION: Apicurio Registry as Maven Central has it, an archive of 158 MB.
prepare_apicurio() {
  once apicurio - <<<"$1" && return
  need mvn "apt-get install maven" || return
  rm -rf "${CACHE:?}/apicurio" "$CACHE/apicurio-fetch"
  fetch apicurio mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy "-Dartifact=io.apicurio:apicurio-registry-app:$1:tar.gz:all" "-DoutputDirectory=$CACHE/apicurio-fetch" || return
  mkdir -p "$CACHE/apicurio" && tar xzf "$CACHE"/apicurio-fetch/*.tar.gz -C "$CACHE/apicurio" || { REASON="the archive of Apicurio Registry can't be read"; return 1; }
  rm -rf "$CACHE/apicurio-fetch"
  did apicurio - <<<"$1"
}

prepare_go() {
  [ -n "${GO_BUILT:-}" ] && return
  need go "apt-get install golang-go (or see https://go.dev/doc/install)" || return
  mkdir -p "$CACHE/bin"
  fetch go-modules sh -c "cd go && go mod download" || return
  (cd go && go build -o "$CACHE/bin/" ./amqp091 ./machinery ./franz ./sarama ./saramaold ./kafkago ./balance ./stomp ./tls ./management) >"$CACHE/go.log" 2>&1 ||
    { REASON="go build: $(tail -n 5 "$CACHE/go.log" | tr '\n' ' ')"; return 1; }
  GO_BUILT=1
}

prepare_go_examples() {
  (cd "$CACHE/amqp091-go" && mkdir -p examples && GOWORK=off go build -o examples/ ./_examples/producer ./_examples/consumer ./_examples/pubsub ./_examples/client ./_examples/recovery) \
    >"$CACHE/go-examples.log" 2>&1 || { REASON="go build: $(tail -n 5 "$CACHE/go-examples.log" | tr '\n' ' ')"; return 1; }
}

# copy_module NAME: a copy of a module of go/own.txt in the cache: what the module proxy serves is read-only.
copy_module() {
  local name=$1 module dir
  module=$(awk -v name="$name" '$1 == name {print $2}' go/own.txt)
  need go "apt-get install golang-go (or see https://go.dev/doc/install)" || return
  fetch "go-$name" sh -c "cd / && go mod download -json $module" || return
  dir=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' "$CACHE/go-$name.log")
  chmod -R u+w "$CACHE/$name" 2>/dev/null
  rm -rf "${CACHE:?}/$name"
  cp -r "$dir" "$CACHE/$name" && chmod -R u+w "$CACHE/$name" || { REASON="cannot copy $module"; return 1; }
}

# prepare_go_program NAME PACKAGE [FLAG...]: builds a program of a module of go/own.txt.
prepare_go_program() {
  local name=$1 package=$2
  shift 2
  once "go-$name" go/own.txt - <<<"$package $*" && return
  copy_module "$name" || return
  fetch "go-$name-build" sh -c 'cd "$0" && GOWORK=off go build -o program "$@"' "$CACHE/$name" "$@" "$package" || return
  did "go-$name" go/own.txt - <<<"$package $*"
}

# prepare_go_tests NAME PACKAGE [FLAG...]: builds the tests that come with a module of go/own.txt.
prepare_go_tests() {
  local name=$1 package=$2 module
  shift 2
  module=$(awk -v name="$name" '$1 == name {print $2}' go/own.txt)
  once "go-$name" - <<<"$module $package $*" && return
  copy_module "$name" || return
  (cd "$CACHE/$name" && GOWORK=off go test -c -o own.test "$@" "$package") >"$CACHE/go-$name-build.log" 2>&1 ||
    { REASON="go test -c in $module: $(tail -n 5 "$CACHE/go-$name-build.log" | tr '\n' ' ')"; return 1; }
  did "go-$name" - <<<"$module $package $*"
}
