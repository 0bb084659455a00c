#!/usr/bin/env bash
# Runs every fuzz test of the project for the time given (default 20s). go test takes one fuzz test at a time.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
time=${1:-20s}
for package in $(go list ./...); do
	for fuzz in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		printf '== %s %s\n' "$package" "$fuzz"
		go test -run '^$' -fuzz "^$fuzz\$" -fuzztime "$time" "$package"
	done
done
