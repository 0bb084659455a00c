#!/usr/bin/env bash
# Runs the public HTTP cache test suite (github.com/http-tests/cache-tests) through a fresh zcache and prints what it did not pass. Fails below
# what the project promises.
#
#   CACHE_TESTS=<checkout, after npm install in it> scripts/conformance.sh ZCACHE [RESULTS.json]
set -euo pipefail

zcache=$(realpath -- "${1:?name the zcache binary}")
results=$(realpath -m -- "${2:-bin/conformance.json}")
if [[ -z ${CACHE_TESTS:-} || ! -f ${CACHE_TESTS:-}/test-engine/cli.mjs ]]; then
	echo "conformance: set CACHE_TESTS to a checkout of http-tests/cache-tests in which npm install was run" >&2
	exit 1
fi
command -v node >/dev/null || { echo "conformance: node is needed to run the suite" >&2; exit 1; }
unset HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy

work=$(mktemp -d) pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

free_port() {
	node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}
origin_port=$(free_port) port=$(free_port)
# By itself the suite's origin listens on every interface.
cat >"$work/loopback.cjs" <<'JS'
const { Server } = require('net')
const { listen } = Server.prototype
Server.prototype.listen = function (port, ...more) {
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...more.filter(m => typeof m === 'function'))
}
JS

await() { # await URL PID LOG: until something answers there
	for _ in {1..120}; do
		! curl -s -o /dev/null --max-time 2 "$1" || return 0
		kill -0 "$2" 2>/dev/null || break
		sleep 0.25
	done
	echo "conformance: nothing answers at $1:" >&2
	cat -- "$3" >&2
	exit 1
}

cd -- "$CACHE_TESTS"
npm_config_protocol=http npm_config_port=$origin_port npm_config_pidfile=$work/origin.pid \
	node --require "$work/loopback.cjs" test-engine/server/server.mjs >"$work/origin.log" 2>&1 &
pids+=($!)
await "http://127.0.0.1:$origin_port/" "$!" "$work/origin.log"
(cd "$work" && exec "$zcache" serve --root "$work/root" --listen "127.0.0.1:$port" --upstream "http://127.0.0.1:$origin_port") >"$work/zcache.log" 2>&1 &
pids+=($!)
await "http://127.0.0.1:$port/-/healthz" "$!" "$work/zcache.log"

mkdir -p -- "$(dirname -- "$results")"
npm_config_base=http://127.0.0.1:$port npm_config_id='' npm_package_config_id='' \
	timeout 540 node --no-warnings test-engine/cli.mjs >"$results"

# The verdicts are the suite's own, which knows what depends on what.
cat >"$work/score.mjs" <<'JS'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
const [checkout, file] = process.argv.slice(2)
const part = name => import(pathToFileURL(`${checkout}/${name}`).href)
const suites = (await part('tests/index.mjs')).default
const { determineTestResult, resultTypes } = await part('test-engine/lib/results.mjs')
const results = JSON.parse(readFileSync(file, 'utf8'))
const need = { required: 157, optimal: 98 }
const tests = suites.flatMap(s => s.tests).filter(t => !t.browser_only)
for (const [kind, least] of Object.entries(need)) {
  const ours = tests.filter(t => (t.kind ?? 'required') === kind)
  const failed = ours.filter(t => determineTestResult(suites, t.id, results) !== resultTypes.pass)
  const passed = ours.length - failed.length
  console.log(`${kind}: ${passed} of ${ours.length} (at least ${least})`)
  for (const t of failed) console.log(`  ${t.id}: ${JSON.stringify(results[t.id])}`)
  if (passed < least) process.exitCode = 1
}
JS
node "$work/score.mjs" "$PWD" "$results"
