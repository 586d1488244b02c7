# shellcheck shell=bash
# What the scripts of bench/peers share. Source it; do not run it.
#
# A broker is a file NAME.sh beside this one that defines
#
#   needs     fails with the install command when a tool is missing
#   wanted    prints which version of it install would install
#   install   puts the broker below $HOME_DIR; not called again once it has succeeded
#   version   prints the broker's name and version
#   settings  prints what a reader of its figures must know, NAME=VALUE, one a line
#   serve     becomes the broker, in the foreground, on 127.0.0.1 (exec)
#   port      prints the port that opens when it is ready
#   target    prints the flags that point `leveret bench` at it, one a line
#
# and reads
#
#   PORT        the first of ten ports that it may use
#   MODE        os: a confirm means the page cache; group: it means the disk
#   HOME_DIR    where it is installed
#   DATA_DIR    its data, emptied before it starts and after it has stopped

set -euo pipefail

CACHE=${PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leveret-peers}
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ROOT=$(readlink -f "$HERE/../..")
: "${PORT:=24000}" "${MODE:=os}"

die() { echo "bench-peers: $*" >&2; exit 1; }

# need TOOL HOW: fails unless there is such a command.
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing. Install it: $2"; }

need_java() {
  need java 'apt-get install openjdk-17-jre-headless (17 or newer)'
  local v
  v=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  [ "${v:-0}" -ge 17 ] || die "java is version ${v:-unknown}, 17 or newer is needed. Install it: apt-get install openjdk-17-jre-headless"
}

need_maven() {
  need_java
  need mvn 'apt-get install maven'
}

# load NAME: defines the functions of that broker.
load() {
  [ -f "$HERE/$1.sh" ] || die "no broker is called $1; there are: kafka rabbitmq nats artemis leveret"
  HOME_DIR=$CACHE/$1 DATA_DIR=$CACHE/$1/data
  # shellcheck source=/dev/null
  . "$HERE/$1.sh"
}

# jars DIR GROUP:ARTIFACT:VERSION...: those artifacts and all that they need at run time.
jars() {
  local dir=$1 coordinate group artifact version
  shift
  mkdir -p "$dir"
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>leveret</groupId><artifactId>peer</artifactId><version>1</version><dependencies>'
    for coordinate; do
      IFS=: read -r group artifact version <<<"$coordinate"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
    done
    echo '</dependencies></project>'
  } >"$dir/pom.xml"
  mvn -q -B -f "$dir/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir"
}

# version_of DIR ARTIFACT: the version of a jar that is there.
version_of() {
  local jar
  for jar in "$1/$2"-[0-9]*.jar; do
    [ -e "$jar" ] || die "$2 is not in $1"
    jar=${jar##*/"$2"-}
    echo "${jar%.jar}"
    return
  done
}

# open_port PORT: does something listen there?
open_port() { (: 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
