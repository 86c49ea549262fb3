# What CI runs, by name. `make` alone does what a change needs before it is committed.
.PHONY: all test race lint build fuzz mutants soak ticks bench bench-full bench-parts bench-against ceilings examples dashboard tidy

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
MODULES  := . ./cron ./examples ./integration ./stage/s3store ./benchmarks

all: lint test

test: ## the README's own command
	go test work

# In one bubble of synctest two threads of Go at once can crash the race detector (go.dev/issue/78156): where tests have
# bubbles there is one. Under the detector the scheduler shuffles what runs next all the same.
race:
	@one= many=; for dir in $$(go list -f '{{.Dir}}' work); do \
		if grep -qsE 'synctest|InBubble' $$dir/*_test.go; then one="$$one $$dir"; else many="$$many $$dir"; fi; \
	done; \
	go test -race -cpu 1 -timeout 30m $$one && go test -race -timeout 30m $$many

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	@for m in $(MODULES); do (cd $$m && GOWORK=off go vet ./...) || exit 1; done
	@for m in . ./cron ./examples ./integration ./stage/s3store; do (cd $$m && $(GOLANGCI) run ./...) || exit 1; done

build: ## the platforms that hosts run on
	GOOS=linux GOARCH=arm64 go build ./... ./cron/... ./examples/... ./stage/s3store/...
	GOOS=darwin GOARCH=arm64 go build ./... ./cron/... ./examples/... ./stage/s3store/...
	GOOS=windows GOARCH=amd64 go build ./... ./cron/... ./examples/... ./stage/s3store/...
	cd benchmarks && GOWORK=off go vet ./...

# Runs a target, not seconds: a deadline may fail a target that found nothing (go.dev/issue/75804, mended in Go 1.27).
FUZZRUNS ?= 500000
fuzz: ## every fuzz target of every package, one after the other
	@for p in $$(go list -f '{{.Dir}}' work); do \
		for f in $$(cd $$p && grep -hoE '^func Fuzz[A-Za-z0-9]+' *_test.go 2>/dev/null | cut -c6-); do \
			echo "$$f in $$p"; \
			(cd $$p && go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZRUNS)x -fuzzminimizetime 10x .) || exit 1; \
		done; done

mutants: ## breaks the library on purpose: each time a test must notice
	bash .ci/mutants

soak: ## the fault tests at full size, and the table of docs/reliability.md; what it runs is said in the script
	bash .ci/soak

ticks: ## 20 replicas of one schedule over 10,000 ticks with kills: each tick is enqueued once
	go test -count=1 -timeout 10m -run '^TestEachTickIsEnqueuedOnceWhoeverIsKilled$$' ./redisqueue -ticks 10000

bench: ## this library beside its peers, the main scenarios; nothing else should run meanwhile
	cd benchmarks && GOWORK=off go run .

bench-full: ## all scenarios and systems, into benchmarks/RESULTS.md and its figure
	cd benchmarks && GOWORK=off go run . -full -out results.json -format none
	cd benchmarks && GOWORK=off go run . -report results.json > RESULTS.md
	cd benchmarks && GOWORK=off go run ./plot results.json > throughput.svg

bench-parts: ## what has no peer: statuses saved in SQL, viewers, telling them
	cd benchmarks && GOWORK=off go test -run '^$$' -bench SQLSave -benchtime 100000x .
	cd integration && go test -run '^$$' -bench SSEViewers -benchtime 200x .
	go test -run '^$$' -bench Notify ./redisnotify

bench-against: ## a drain at 100 by this tree and by the commit REF in turn; more is said in the script
	bash .ci/bench-against "$(REF)"

ceilings: ## allocations and Redis commands a job, which must not rise; and the tests of the measurements
	cd benchmarks && GOWORK=off go test ./...
	cd benchmarks && GOWORK=off go run . -ceilings

examples: ## all of them, end to end
	bash .ci/examples

dashboard: ## the picture of Grafana's dashboard in docs, from a run of some five minutes on a real Prometheus
	DASHBOARD=$(CURDIR)/docs/dashboard.svg WORKER_REQUIRE_SERVERS=1 go test -count=1 -run EveryQuery ./examples/observability

tidy:
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy) || exit 1; done
