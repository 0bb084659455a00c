# The commands of the project; AGENTS.md says when to use which.
GO         ?= go
PKG        ?= ./...
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS     = -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 20s
# The module version of the release that calls itself 2026.2.2.
STATICCHECK_VERSION = 0.8.2

export CGO_ENABLED = 0

.PHONY: build test check fmt vet staticcheck race fuzz-short conformance bench deps clean

build: ## one static binary, bin/zcache
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/zcache ./cmd/zcache

deps: ## the real components that tests talk to
	@scripts/deps.sh

# The test cache does not see what the e2e tests build, so they are always run.
test: deps ## every test, the binary against real components included
	$(GO) test -timeout 20m $$($(GO) list $(PKG) | grep -v /e2e$$)
	$(GO) test -count=1 -timeout 20m ./e2e

check: fmt vet staticcheck race ## the gate before a commit; floors are a test of cmd/zcache

fmt:
	@files=$$(gofmt -l .); [ -z "$$files" ] || { printf 'gofmt would change:\n%s\n' "$$files" >&2; exit 1; }

vet:
	$(GO) vet $(PKG)

staticcheck: bin/staticcheck-$(STATICCHECK_VERSION)
	bin/staticcheck-$(STATICCHECK_VERSION) $(PKG)

bin/staticcheck-$(STATICCHECK_VERSION):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin $(GO) install honnef.co/go/tools/cmd/staticcheck@v$(STATICCHECK_VERSION)
	mv bin/staticcheck $@

# The tests of the binary run it without the detector, so a second round of them would tell nothing new.
race: ## every package under the race detector; needs a C compiler
	@scripts/deps.sh gcc libc6-dev
	CGO_ENABLED=1 $(GO) test -race -timeout 15m $$($(GO) list $(PKG) | grep -v /e2e$$)

fuzz-short: ## every fuzz test for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

conformance: build ## the public HTTP cache test suite; CACHE_TESTS names a checkout of it
	@scripts/conformance.sh bin/zcache

bench: ## hits, misses, the stampede and a flood beside nginx, as ratios; never part of the tests; bench/mirror.sh is the mirror beside wget, lftp and rclone
	@bench/run.sh

clean:
	rm -rf bin
