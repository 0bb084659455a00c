#!/usr/bin/env bash
# Hits, misses, the stampede and a flood beside nginx proxy_cache in the same run, as ratios. Loopback only, bounded in count and time. Nothing here decides a test.
#
#   bench/run.sh [ROUNDS]        default 3; needs nginx, wrk and curl (apt-get install nginx-light wrk curl)
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
rounds=${1:-3}
for tool in nginx wrk curl; do
	command -v "$tool" >/dev/null || { echo "bench: $tool is missing; install nginx-light, wrk and curl" >&2; exit 1; }
done
unset HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy
work=$(mktemp -d) pids=()
cleanup() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
	rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
CGO_ENABLED=0 go build -trimpath -o "$work/zcache" ./cmd/zcache
CGO_ENABLED=0 go build -trimpath -o "$work/stampede" ./bench/stampede
CGO_ENABLED=0 go build -trimpath -o "$work/flood" ./bench/flood
read -r origin slow cache zport < <("$work/stampede" -ports 4)

mkdir -p "$work/html/many" "$work/cache"
head -c 1024 /dev/urandom >"$work/html/1k"
head -c 102400 /dev/urandom >"$work/html/100k"
head -c 10485760 /dev/urandom >"$work/html/10m"
head -c 209715200 /dev/urandom >"$work/html/200m"
for i in $(seq 1000); do head -c 102400 /dev/urandom >"$work/html/many/$i"; done
cat >"$work/origin.conf" <<CONF
user root; worker_processes 2; pid $work/origin.pid; error_log $work/origin.err; daemon off;
events { worker_connections 4096; }
http { access_log off; sendfile on; open_file_cache max=10000; add_header Cache-Control max-age=86400; root $work/html;
server { listen 127.0.0.1:$origin; }
server { listen 127.0.0.1:$slow; limit_rate 40m; } }
CONF
cat >"$work/cache.conf" <<CONF
user root; worker_processes 2; pid $work/cache.pid; error_log $work/cache.err; daemon off; worker_rlimit_nofile 10000;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush off; open_file_cache max=10000; keepalive_requests 1000000000;
proxy_cache_path $work/cache levels=1:2 keys_zone=c:50m max_size=8g use_temp_path=off;
upstream o { server 127.0.0.1:$origin; keepalive 64; } upstream s { server 127.0.0.1:$slow; keepalive 64; }
proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache c; proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s; proxy_cache_valid 200 1d; proxy_cache_valid 404 15s; client_header_timeout 10s;
server { listen 127.0.0.1:$cache reuseport backlog=4096; location / { proxy_pass http://o; } location /slow/ { proxy_pass http://s/; } } }
CONF
nginx -c "$work/origin.conf" & pids+=($!)
nginx -c "$work/cache.conf" & pids+=($!); ngx=$!
"$work/zcache" serve --listen "127.0.0.1:$zport" --root "$work/root" --log-level warn --upstream "http://127.0.0.1:$origin" --upstream "slow=http://127.0.0.1:$slow" & pids+=($!); zc=$!
for p in "$origin" "$slow" "$cache" "$zport"; do
	for _ in {1..100}; do curl -so /dev/null "http://127.0.0.1:$p/1k" && break; sleep 0.1; done
done

ticks() { # user + system of a process and its children, in clock ticks
	local t=0 p
	for p in "$1" $(pgrep -P "$1" || true); do t=$((t + $(awk '{print $14 + $15}' "/proc/$p/stat"))); done
	echo "$t"
}
hit() { # hit PID URL CONNECTIONS: requests a second and microseconds of CPU a request
	local before after rate total
	before=$(ticks "$1")
	read -r total rate < <(wrk -t2 -c"$3" -d2s "$2" | awk '/requests in/{n=$1} /Requests\/sec/{print n, $2}')
	after=$(ticks "$1")
	awk -v r="$rate" -v c=$(((after - before) * 10000)) -v n="$total" 'BEGIN{printf "%.0f %.1f\n", r, c / n}'
}
echo "hits: requests/s and CPU us a request; ratios are zcache / nginx"
for spec in 1k:64 1k:600 100k:64 10m:16; do
	f=${spec%:*} c=${spec#*:}
	curl -so /dev/null "http://127.0.0.1:$cache/$f"; curl -so /dev/null "http://127.0.0.1:$zport/$f"
	for ((r = 1; r <= rounds; r++)); do
		read -r n nc < <(hit "$ngx" "http://127.0.0.1:$cache/$f" "$c")
		read -r z zcpu < <(hit "$zc" "http://127.0.0.1:$zport/$f" "$c")
		awk -v s="$spec" -v n="$n" -v nc="$nc" -v z="$z" -v zc="$zcpu" 'BEGIN{printf "  %-8s nginx %8d %6.1f   zcache %8d %6.1f   x%.2f c%.2f\n", s, n, nc, z, zc, z / n, zc / nc}'
	done
done
echo "misses: 1,000 files of 100 KiB, 8 at a time, seconds"
for who in nginx:$cache zcache:$zport; do
	start=$(date +%s.%N)
	seq 1000 | sed "s|^|url=http://127.0.0.1:${who#*:}/many/|" | sed 'a output=/dev/null' | curl -s --parallel --parallel-max 8 -K - >/dev/null
	awk -v w="${who%:*}" -v a="$start" -v b="$(date +%s.%N)" 'BEGIN{printf "  %-7s %.2f\n", w, b - a}'
done
echo "stampede: 600 clients on one cold file of 200 MiB, upstream at 40 MiB/s"
"$work/stampede" -clients 600 -url "http://127.0.0.1:$cache/slow/200m" -name nginx -pid "$ngx"
"$work/stampede" -clients 600 -url "http://127.0.0.1:$zport/slow/200m" -name zcache -pid "$zc"
echo "flood: 20 ordinary clients while others ask for 20,000 names that are nowhere and hold 1,000 connections whose heads never end"
"$work/flood" -rounds "$rounds" -addr "127.0.0.1:$cache" -path /1k -nowhere /nowhere/ -name nginx -pid "$ngx"
"$work/flood" -rounds "$rounds" -addr "127.0.0.1:$zport" -path /1k -nowhere /nowhere/ -name zcache -pid "$zc"
