#!/usr/bin/env bash
# Installs the Debian packages that the tests use, and with arguments those packages besides. Says nothing when all are there.
set -euo pipefail

packages=(nginx-light curl wget rclone lftp chromium attr strace e2fsprogs mount util-linux "$@")

# The browser tests take a library from npm, which may have been installed by other means than Debian's.
# Debian 12 has Node.js 18; playwright-core 1.61 is the last that runs on it.
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)

missing=()
for p in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) || status=
	[[ $status == 'install ok installed' ]] || missing+=("$p")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

die() {
	printf 'deps: %s\n' "$*" >&2
	exit 1
}
command -v apt-get >/dev/null || die "this is no Debian; install by hand what these packages hold: ${missing[*]}"
[[ $(id -u) -eq 0 ]] || die "run as root: apt-get install ${missing[*]}"

# Two runs at once must not take each other's policy for the machine's own.
exec 9</run/lock
flock 9

# A freshly installed nginx would be started and take port 80; exit 101 tells the packages to leave their daemons alone.
policy=/usr/sbin/policy-rc.d
kept=
if [[ -e $policy || -L $policy ]]; then
	kept=$policy.zcache-kept
	mv -- "$policy" "$kept"
fi
restore() {
	rm -f -- "$policy"
	[[ -z $kept ]] || mv -- "$kept" "$policy"
}
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

log=$(mktemp)
# apt waits for dpkg's lock by itself, but not for that of the package lists.
updated=
for _ in {1..60}; do
	if apt-get -o DPkg::Lock::Timeout=300 update >"$log" 2>&1; then
		updated=yes
		break
	fi
	grep -q 'Could not get lock' "$log" || break
	sleep 5
done
if [[ -z $updated ]]; then
	cat -- "$log" >&2
	die "apt-get update did not succeed (above); are the package sources reachable?"
fi
printf 'deps: installing %s\n' "${missing[*]}"
if ! DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
	cat -- "$log" >&2
	die "these packages could not be installed (above): ${missing[*]}"
fi
rm -f -- "$log"
