#!/usr/bin/env bash
# A mirror's first, unchanged and changed run beside wget, lftp and rclone, over a relay that makes each request 5 ms late and counts it. Loopback only. Nothing here
# decides a test.
#
#   bench/mirror.sh [DELAY [WHO…]]       default 5ms and everybody: takes a quarter of an hour, most of it wget's and lftp's; needs nginx, curl, wget, lftp, rclone
#
# WHO: zcache4 zcache16 chain16 wget lftp4 lftp16 rclone4 rclone16. chain16 is a mirror of zcache16's mirror, so that one has to come before it.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
delay=${1:-5ms}
who=("${@:2}")
[ ${#who[@]} -gt 0 ] || who=(zcache4 zcache16 chain16 rclone16 rclone4 lftp16 lftp4 wget)
for tool in nginx curl wget lftp rclone; do
	command -v "$tool" >/dev/null || { echo "bench: $tool is missing" >&2; exit 1; }
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
CGO_ENABLED=0 go build -trimpath -o "$work/mirror" ./bench/mirror
CGO_ENABLED=0 go build -trimpath -o "$work/stampede" ./bench/stampede
read -r origin near far port4 port16 portc < <("$work/stampede" -ports 6)
"$work/mirror" -tree "$work/pristine"
cat >"$work/origin.conf" <<CONF
user root; worker_processes 2; pid $work/origin.pid; error_log $work/origin.err; daemon off;
events { worker_connections 4096; }
http { access_log off; sendfile on; autoindex on; autoindex_exact_size on; root $work/html; server { listen 127.0.0.1:$origin; } }
CONF
mkdir "$work/html"
nginx -c "$work/origin.conf" & pids+=($!)
"$work/mirror" -listen "127.0.0.1:$near" -to "http://127.0.0.1:$origin" -delay "$delay" & pids+=($!)
"$work/mirror" -listen "127.0.0.1:$far" -to "http://127.0.0.1:$port16/up" -delay "$delay" & pids+=($!)
for p in "$origin" "$near"; do
	for _ in {1..100}; do curl -so /dev/null "http://127.0.0.1:$p/" && break; sleep 0.1; done
done

server() { # server PORT UPSTREAM PARALLEL: starts a zcache over $work/root-PORT
	"$work/zcache" serve --listen "127.0.0.1:$1" --root "$work/root-$1" --log-level error --mode mirror --mirror-parallel "$3" --upstream "up=$2" & pids+=($!); serving=$!
	for _ in {1..100}; do curl -so /dev/null "http://127.0.0.1:$1/-/healthz" && break; sleep 0.1; done
}
walk() { "$work/zcache" walk --server "http://127.0.0.1:$1" --follow /up >/dev/null; }
once() { # once NAME: one run of it into $work/NAME
	local url="http://127.0.0.1:$near/" to="$work/$1" n
	mkdir -p "$to"
	case $1 in
	zcache4) walk "$port4" ;;
	zcache16) walk "$port16" ;;
	chain16) walk "$portc" ;;
	wget) (cd "$to" && wget -m -np -nH -q -e robots=off "$url") ;;
	lftp*) n=${1#lftp}; lftp -c "mirror --delete -P$n $url $to" ;;
	rclone*) n=${1#rclone}; rclone sync --config /dev/null --transfers "$n" --checkers $((2 * n)) --http-url "$url" :http: "$to" 2>/dev/null ;;
	esac
}
held() { # held NAME: where the files lie
	case $1 in
	zcache4) echo "$work/root-$port4/up" ;;
	zcache16) echo "$work/root-$port16/up" ;;
	chain16) echo "$work/root-$portc/up" ;;
	*) echo "$work/$1" ;;
	esac
}
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }

declare -A wall
printf '%-9s %-8s %8s %8s %9s  %s\n' who run 'wall s' 'CPU s' requests 'the same tree'
for name in "${who[@]}"; do
	if [ "$name" = chain16 ]; then walk "$port16" # so that the mirror before it knows the tree as it is now
	else rm -rf "$work/html/"* && cp -a "$work/pristine/." "$work/html/"; fi
	serving=0 relay=$near
	case $name in
	zcache4) server "$port4" "http://127.0.0.1:$near" 4 ;;
	zcache16) server "$port16" "http://127.0.0.1:$near" 16 ;;
	chain16) relay=$far; server "$portc" "http://127.0.0.1:$far" 16 ;;
	esac
	for run in first same changed; do
		if [ "$run" = changed ] && [ "$name" = chain16 ]; then
			rm -rf "$work/html/"* && cp -a "$work/pristine/." "$work/html/"
			walk "$port16"
		elif [ "$run" = changed ]; then "$work/mirror" -change "$work/html"; fi
		curl -s "http://127.0.0.1:$relay/count-and-reset" >/dev/null
		before=0
		[ "$serving" = 0 ] || before=$(ticks "$serving")
		TIMEFORMAT='%R %U %S'
		read -r real user sys < <({ time once "$name"; } 2>&1 | tail -n 1)
		after=0
		[ "$serving" = 0 ] || after=$(ticks "$serving")
		count=$(curl -s "http://127.0.0.1:$relay/count-and-reset")
		same=yes
		diff -rq -x '.zcache*' -x 'index.html*' -x robots.txt "$work/html" "$(held "$name")" >"$work/diff" 2>&1 || same="no: $(wc -l <"$work/diff") differ"
		cpu=$(awk -v u="$user" -v s="$sys" -v t=$((after - before)) 'BEGIN{printf "%.1f", u + s + t / 100}')
		wall[$name.$run]=$real
		printf '%-9s %-8s %8.2f %8s %9d  %s\n' "$name" "$run" "$real" "$cpu" "$count" "$same"
	done
	[ "$serving" = 0 ] || awk -v n="$name" '/VmHWM/{printf "%-9s peak RSS %d MiB\n", n, $2 / 1024}' "/proc/$serving/status"
done
[ -n "${wall[zcache16.first]:-}" ] || exit 0
echo "ratios of wall time: zcache16 / other (below 1: zcache is faster)"
for name in "${who[@]}"; do
	[ "$name" != zcache16 ] || continue
	for run in first same changed; do
		awk -v n="$name" -v r="$run" -v z="${wall[zcache16.$run]}" -v o="${wall[$name.$run]}" 'BEGIN{printf "  %-9s %-8s x%.2f\n", n, r, z / o}'
	done
done
