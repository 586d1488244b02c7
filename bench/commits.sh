# Building the broker of a commit and of this tree, to compare them; sourced by the scripts that compare them.
# Needs GO and a directory in $work.
#
#   LAYOUTS  in how many orders of its functions each broker is linked (default 8)

# One row for each hot path.
HOT_ROWS='^(amqp-12b|amqp-1k|amqp-12b-confirm|amqp-fanout10-12b|kafka-ingest-1k-p1-bounded|kafka-fetch-1k-p1)$'

build() { # build DIRECTORY OUTPUT [COMMAND [LAYOUT]]: the same bytes for the same sources, wherever they are
	(cd "$1" && CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath ${4:+-ldflags=-randlayout="$4"} -o "$2" "./cmd/${3:-leveret}")
}

# Where the linker puts a function decides a few percent of its speed, and a change anywhere in the tree moves them
# all: one build against one compares their luck. So a broker is linked in several orders, and its runs take these
# in turn.
build_broker() { # build_broker DIRECTORY OUTPUT
	for ((layout = 1; layout <= ${LAYOUTS:=8}; layout++)); do
		build "$1" "$2.$layout" leveret "$layout"
	done
	cat >"$2" <<-LAUNCHER
		#!/bin/sh
		n=\$(cat "$2.turn" 2>/dev/null || echo 0)
		echo \$((n + 1)) >"$2.turn"
		exec "$2.\$((n % $LAYOUTS + 1))" "\$@"
	LAUNCHER
	chmod +x "$2"
}

build_commit() { # build_commit COMMIT OUTPUT
	mkdir "$work/tree"
	git archive "$1" | tar -x -C "$work/tree"
	echo "building $(git log -1 --format='%h %s' "$1")" >&2
	build_broker "$work/tree" "$2"
}

build_tree() { # build_tree OUTPUT: this tree as it is, and its load generator in $work/bench
	echo "building this tree" >&2
	build_broker . "$1" && build . "$work/bench" leveret-bench
}
