# sngate. The targets a newcomer needs are "make run", "make check" while working and
# "make test" before it is done; every step of "make test" is a target of its own, so a
# failing step has a name.

GO      ?= go
LDFLAGS ?= -s -w

# Where processor time goes, for the compiler: see "make profile".
PROFILE ?= cmd/sngate/cpu.pgo

# What "sngate version" tells. Asked of git rather than left to Go, which fails where git
# does not trust the owner of the folder, and finds nothing in a linked worktree.
COMMIT ?= $(shell test -e .git && git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null)

# Time per fuzz target. The session machine is where all input from the network
# ends up, so its targets get more.
FUZZTIME         ?= 10s
FUZZTIME_MACHINE ?= 20s

# Extra flags of the main test run, for example TESTFLAGS='-v -run Case64'.
TESTFLAGS   ?=
TESTTIMEOUT ?= 10m

# Kills of "make crash", and more of its flags.
N          ?= 1000
CRASHFLAGS ?=

# Rounds of "make explore": the session machine's random tests from new seeds, and fuzzing.
ROUNDS ?= 20

# How long "make torture" goes on, and more of its flags.
FOR          ?= 1h
TORTUREFLAGS ?=

# More flags of "make brokers", for example BROKERFLAGS='-broker=NATS -v', or -update to
# rewrite the table of docs/BROKERS.md.
BROKERFLAGS ?=

# More flags of "make bench" and "make sizing".
BENCHFLAGS ?=

# GOOS/GOARCH[/GOARM] that have to build. linux/arm/6 is the oldest Raspberry Pi.
PLATFORMS := linux/arm/6 linux/arm64 darwin/arm64 windows/amd64

.DEFAULT_GOAL := help
.PHONY: help go run build check test deps fmt-check vet cross fuzz footprint test-portable test-race crash torture explore brokers bench sizing profile microbench lint tidy shape rules staticcheck vulncheck pages licenses clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-15s %s\n", $$1, $$2 }'

go:
	@GO='$(GO)' sh test/go.sh

run: build ## build sngate and start it: gateway on UDP 1883, built-in broker on TCP 1883
	./bin/sngate

build: go ## build bin/sngate, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -pgo=$(PROFILE) -ldflags '$(LDFLAGS) -X sngate/internal/version.commit=$(COMMIT)' -o bin/sngate ./cmd/sngate

# Below test/ are the tests that run the whole program, with brokers, crashes and outages;
# they need mosquitto and take minutes.
check: go fmt-check vet ## the checks and tests that take less than two minutes and need nothing but Go
	$(GO) test -timeout $(TESTTIMEOUT) $(TESTFLAGS) $$($(GO) list ./... | grep -v '/test/')

# The recursive calls keep the order also under "make -j"; the main test run
# comes last, so that its summary is what one sees at the end.
test: go ## install what the tests need, then run every check and test; about 15 minutes on two cores
	@for step in deps lint cross footprint fuzz test-portable test-race; do \
		echo "==> make $$step"; \
		$(MAKE) --no-print-directory $$step || { echo "==> make $$step FAILED" >&2; exit 1; }; \
	done

deps: ## install mosquitto, its clients and a C compiler (for the race detector) by apt when missing
	@sh test/deps.sh

fmt-check: go
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:" >&2; echo "$$files" >&2; exit 1; fi

vet: go
	$(GO) vet ./...
	$(GO) vet -tags brokers ./test/brokers

cross: $(PLATFORMS:%=cross/%) ## compile for every supported platform

# "cross/linux/arm/6" -> words linux, arm, 6.
cross/%: go
	@echo 'build $*'
	@CGO_ENABLED=0 GOOS=$(word 1,$(subst /, ,$*)) GOARCH=$(word 2,$(subst /, ,$*)) GOARM=$(word 3,$(subst /, ,$*)) $(GO) build ./...

footprint: go ## allocation ceilings and one round of each benchmark, without the race detector
	$(GO) test -count=1 -timeout $(TESTTIMEOUT) -run 'Alloc|Footprint' -bench . -benchtime 1x ./...

fuzz: go ## run each fuzz target for FUZZTIME (10s), the session machine's for FUZZTIME_MACHINE (20s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' FUZZTIME_MACHINE='$(FUZZTIME_MACHINE)' sh test/fuzz.sh

# How a shard waits on other systems, and several of them, as users meet it. The gateway's tests run
# in simulated event loops otherwise.
test-portable: go ## run the gateway's tests and all end-to-end tests with goroutines in place of the event loop
	@GO='$(GO)' SNGATE_TEST_EVENT_LOOP=off sh test/race.sh -race -count=1 -timeout $(TESTTIMEOUT) ./gateway
	SNGATE_GATEWAY_EVENT_LOOP=off SNGATE_GATEWAY_SHARDS=3 $(GO) test -count=1 -timeout $(TESTTIMEOUT) ./test/e2e

test-race: go ## run all tests with the race detector in random order
	@GO='$(GO)' sh test/race.sh -race -shuffle=on -timeout $(TESTTIMEOUT) $(TESTFLAGS) ./...

# A kill takes about a second at most; CRASHFLAGS='-crash.seed=7 -crash.what=gateway' repeats one kind.
crash: go ## kill the gateway and the broker N times (1000) under traffic and account for every message
	$(GO) test -count=1 -v -timeout $$((600 + $(N) * 3))s ./test/crash -run Kills -crash.kills=$(N) $(CRASHFLAGS)

# A world that fails is shown with the flags that repeat it: TORTUREFLAGS='-torture.seed=7 -torture.worlds=1'.
torture: go ## drive the gateway through random worlds with a strict broker for FOR (1h) and account for every message
	$(GO) test -count=1 -v -timeout 0 ./test/torture -torture.seed=0 -torture.for=$(FOR) $(TORTUREFLAGS)

# What "make test" does of this has fixed seeds and little time.
explore: go ## look for faults of the session machine from new seeds, ROUNDS (20) times a minute and a half
	@for round in $$(seq $(ROUNDS)); do \
		$(GO) test -count=1 ./gateway/session -run Invariants -seed 0 || exit 1; \
		$(GO) test -run '^$$' -fuzz '^FuzzSession$$' -fuzztime 60s -fuzzminimizetime 20x ./gateway/session || exit 1; \
	done

brokers: go ## try sngate with mosquitto, RabbitMQ, NATS, ejabberd, mochi and the built-in broker; installs what is missing
	@sh test/deps.sh brokers
	$(GO) test -tags brokers -count=1 -timeout 60m ./test/brokers $(BROKERFLAGS)

# One load alone: BENCHFLAGS='-yardstick.loads=storm -yardstick.rounds=1'; beside an older
# program: BENCHFLAGS=-yardstick.before=/path/to/sngate.
bench: go ## measure sngate beside a yardstick and rewrite docs/PERFORMANCE.md; half an hour on a quiet machine
	@sh test/deps.sh
	$(GO) test -count=1 -v -timeout 0 ./test/bench -run Yardstick -yardstick.what=performance -update $(BENCHFLAGS)

sizing: go ## measure the table of docs/SIZING.md and rewrite it; five minutes on a quiet machine
	@sh test/deps.sh
	$(GO) test -count=1 -v -timeout 0 ./test/bench -run Yardstick -yardstick.what=sizing -update $(BENCHFLAGS)

# What is shipped is compiled by this profile. Once in a while is often enough: what it does not
# know of any more is compiled as without it.
profile: go ## load sngate and rewrite the profile that it is compiled by; two minutes
	@sh test/deps.sh
	$(GO) test -count=1 -v -timeout 0 ./test/bench -run Yardstick -yardstick.what=profile -update

microbench: go ## run the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The steps of lint, the quick ones first. All but tidy and vulncheck work without the network.
lint: fmt-check vet tidy shape rules staticcheck vulncheck ## format, vet, go.mod, the project's own rules, staticcheck, known vulnerabilities

tidy: go
	$(GO) mod tidy -diff

shape: go ## count how the code is cut, against the ceilings in test/shape
	$(GO) run ./test/shape

rules: go
	$(GO) test ./test

# One version for everybody: go.mod pins it as a tool, as it does govulncheck. The first run
# takes minutes. What it does not report, and why, is in staticcheck.conf.
staticcheck: go
	$(GO) tool staticcheck -tags brokers ./...

# Fails on a known vulnerability in code that sngate calls. The list of them comes from the
# network; where that is away the step says so and passes, because a build without it is
# no worse than the build of the day before, and the next one with it will tell.
vulncheck: go
	@GO='$(GO)' sh test/vulncheck.sh

pages: go ## rewrite test/COVERAGE.md, and the tables of keys in docs/CONFIG.md
	$(GO) test ./test -run TestCoveragePageIsFresh -update
	$(GO) test ./conf -run TestTheKeyTablesAreFresh -update

licenses: go ## collect the licence texts that go with the binary in bin/licenses
	@rm -rf bin/licenses
	@GO='$(GO)' sh packaging/licenses.sh bin/licenses

clean: ## remove what was built
	rm -rf bin
