# Building the broker of a commit and of this tree, to compare them; sourced by the scripts that compare them.
# Needs GO and a directory in $work.

# One row for each hot path.
HOT_ROWS='^(amqp-12b|amqp-1k|amqp-12b-confirm|amqp-fanout10-12b|kafka-ingest-1k-p1-bounded|kafka-fetch-1k-p1)$'

build() { # build DIRECTORY OUTPUT [COMMAND]: the same bytes for the same sources, wherever they are
	(cd "$1" && CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath -o "$2" "./cmd/${3:-leveret}")
}

build_commit() { # build_commit COMMIT OUTPUT
	mkdir "$work/tree"
	git archive "$1" | tar -x -C "$work/tree"
	echo "building $(git log -1 --format='%h %s' "$1")" >&2
	build "$work/tree" "$2"
}

build_tree() { # build_tree OUTPUT: this tree as it is, and its load generator in $work/bench
	echo "building this tree" >&2
	build . "$1" && build . "$work/bench" leveret-bench
}
