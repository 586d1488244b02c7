# Leveret. A bare `make` prints what there is to make.

GO      ?= go
BIN     := bin/leveret
BENCH   := bin/leveret-bench
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Rounds of the kill -9 loop, and the seed of its choices (empty: a new one, printed).
ROUNDS ?= 200
SEED   ?=
# Rounds of each campaign of `make torture`.
TORTURE ?= 20
# Time for each fuzz target.
FUZZTIME ?= 10s
# Extra arguments of `make run` and `make bench`.
ARGS ?=
# Not empty, as in CI: a test that fails runs once more alone, and both are shown. Nothing is run again after a data
# race, a panic, or more than three failures.
AGAIN ?=
# The folder of report programs for `make reports`.
REPORTS ?= ../shared/reports
# The commit that `make bench-compare` compares with (empty: HEAD).
BASE ?=
# A log file or a directory of them for `make demo`; empty: generated lines.
LOGS ?=
# A picture or a directory of them for `make demo-images`; empty: generated ones.
PICTURES ?=
# A directory of videos for `make demo-video`; empty: generated ones.
VIDEOS ?=

# The packages in which goroutines meet.
RACE := ./auth ./access ./internal/netx ./internal/tlsconf ./metrics ./server ./consumer ./exchange ./segment ./log ./store/... ./broker ./amqp ./kafka/... ./stomp/... ./xmpp/... ./management ./web ./internal/websocket ./internal/spool ./test/cross

STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM := $(GO) run gotest.tools/gotestsum@v1.13.0 --format pkgname --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-abort-on-data-race

# $(call gotest,FLAGS,PACKAGES)
gotest = $(if $(AGAIN),$(GOTESTSUM) --packages='$(2)' -- $(1),$(GO) test $(1) $(2))

.DEFAULT_GOAL := help
.PHONY: help run build test check lint race cross fmt interop interop-more reports diff-rabbitmq diff-kafka crash torture weight fuzz bench bench-curves bench-compare bench-guard bench-peers demo demo-images demo-campaign demo-video release clean need-go need-cc

help: ## print this list
	@echo "Leveret $(VERSION). Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "A newcomer needs two: make run, make test."

run: build ## build and start the broker (ARGS="--sync os" adds flags)
	./$(BIN) serve $(ARGS)

build: need-go ## build bin/leveret, the broker, and bin/leveret-bench, which measures brokers
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: build ## all unit tests; needs nothing but Go
	$(GO) vet ./...
	$(call gotest,,./...)

check: lint race ## what a change must pass: format, vet, staticcheck, the tree's rules, race tests
	$(GO) test ./...

lint: need-go ## gofmt, go vet, staticcheck and the rules in internal/lint
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted, run 'make fmt':"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test ./internal/lint

race: need-go need-cc ## race tests of the packages in which goroutines meet
	@# Allocation budgets are held by make test: the detector allocates by itself and empties pools.
	CGO_ENABLED=1 $(call gotest,-race -short -skip '[Aa]lloca' -timeout 10m,$(RACE))

cross: need-go ## vet for macOS and Windows what is built and tested on Linux
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...

fmt: ## format every Go file
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

interop: build ## clients that others wrote, against the built binary (ARGS=--again and others of test/interop/run)
	test/interop/run $(ARGS)

interop-more: build ## the same, those that take too long for every run
	test/interop/run --more $(ARGS)

reports: build ## situations from bug reports, as programs that others keep (REPORTS=folder)
	test/reports/run '$(REPORTS)'

diff-rabbitmq: build ## the same conversations with RabbitMQ, which it installs, and with this broker (as root)
	test/diff/run rabbitmq --live

diff-kafka: build ## the same conversations with Kafka, which it installs, and with this broker (Java 17, Maven)
	test/diff/run kafka --live

crash: build ## kill -9 loop under confirmed load (ROUNDS=200, SEED=)
	$(GO) build -o bin/crash ./test/crash
	./bin/crash --broker $(BIN) --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

torture: crash ## kill -9, damage, full and failing disks, hostile clients (TORTURE=20 rounds each, SEED=, ONLY=campaign)
	$(GO) build -o bin/torture ./test/torture
	./bin/torture --broker $(BIN) --rounds $(TORTURE) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(SEGMENT),--segment $(SEGMENT))

weight: build ## what a million delayed, dead, acked out of order, stuck, or compacted messages weigh (N=1000000, ONLY=delayed,dead,acks,straggler,keys, SEGMENT=64MiB, MEMORY=64MiB, SHARE=25)
	$(GO) build -o bin/weight ./test/weight
	./bin/weight --broker $(BIN) $(if $(N),-n $(N)) $(if $(ONLY),--only $(ONLY)) $(if $(SEGMENT),--segment $(SEGMENT)) $(if $(MEMORY),--memory $(MEMORY)) $(if $(SHARE),--share $(SHARE))

fuzz: need-go ## run every fuzz target for a short while (FUZZTIME=10s)
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' test/fuzz

bench: build ## measure this broker (ARGS goes to leveret-bench)
	./$(BENCH) $(ARGS)

bench-curves: build ## how costs grow with backlog, queues, bindings, connections, size, consumers
	./$(BENCH) --curves $(ARGS)

bench-compare: need-go ## CPU a message of this tree against a commit, with confidence intervals (BASE=rev)
	GO='$(GO)' $(if $(BASE),BASE='$(BASE)') bench/compare-commits

bench-guard: need-go ## fail if a message costs clearly more CPU than in the commit before (BASE=rev ALLOW=1.25)
	GO='$(GO)' bench/guard

bench-peers: build ## the same load on Kafka, RabbitMQ, NATS and this broker (PEERS= ONLY= RUNS= TIME= MODE= OUT=)
	bench/peers/run

demo: build ## the main job: ship logs in, route, work, replay, report (LOGS=file or directory)
	$(GO) run ./examples/weblogs --broker $(BIN) $(if $(LOGS),--logs '$(LOGS)') $(ARGS)

demo-images: build ## image resizing: a web page takes pictures, workers make small ones first (PICTURES=file or directory)
	$(GO) run ./examples/images --broker $(BIN) $(if $(PICTURES),--pictures '$(PICTURES)') $(ARGS)

demo-campaign: build ## an e-mail campaign: 10,000 mails, scheduled, retried, expired, redriven, and an account of each
	$(GO) run ./examples/campaign --broker $(BIN) $(ARGS)

demo-video: build ## video processing by ffmpeg: workers are killed and frozen, each video is done once (VIDEOS=directory)
	$(GO) run ./examples/video --broker $(BIN) $(if $(VIDEOS),--videos '$(VIDEOS)') $(ARGS)

release: need-go ## programs and packages for every system into dist/, with checksums, the same for everybody (VERSION=)
	GO='$(GO)' VERSION='$(VERSION)' packaging/release

clean: ## remove what was built, not the data
	rm -rf bin dist

need-go:
	@command -v $(GO) >/dev/null 2>&1 || { echo "Go is missing. Install it: https://go.dev/doc/install (or: apt-get install golang-go; version $$(awk '$$1=="go"{print $$2}' go.mod) or newer)"; exit 1; }

need-cc:
	@command -v $${CC:-cc} >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || { echo "The race detector needs a C compiler. Install one: apt-get install gcc libc6-dev"; exit 1; }
