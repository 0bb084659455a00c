#!/usr/bin/env bash
# Installs the Debian packages that the tests use, and with arguments those packages besides. Says nothing when all are there.
# The three FTP servers exclude each other as packages, so they are unpacked side by side below $ZCACHE_FTPD; only their libraries are installed.
set -euo pipefail

packages=(nginx-light apache2-bin lighttpd curl wget git ca-certificates rclone lftp chromium attr strace e2fsprogs mount util-linux "$@")

# The browser tests take a library from npm, which may have been installed by other means than Debian's.
# Debian 12 has Node.js 18; playwright-core 1.61 is the last that runs on it.
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)

missing=()
want() {
	local p status
	for p; do
		status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) || status=
		[[ $status == *'install ok installed'* ]] || missing+=("$p")
	done
}
want "${packages[@]}"
ftpd=${ZCACHE_FTPD:-/var/cache/zcache-tests/ftpd}
unpack=
for s in vsftpd proftpd pure-ftpd; do
	[[ -x $ftpd/$s/usr/sbin/$s ]] || unpack=yes
done
[[ ${#missing[@]} -gt 0 || $unpack ]] || exit 0

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
if [[ $unpack ]]; then
	ftp_packages=(vsftpd proftpd-core proftpd-mod-crypto pure-ftpd)
	mapfile -t libraries < <(apt-cache depends "${ftp_packages[@]}" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u)
	want "${libraries[@]}"
fi
if [[ ${#missing[@]} -gt 0 ]]; then
	printf 'deps: installing %s\n' "${missing[*]}"
	if ! DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
		cat -- "$log" >&2
		die "these packages could not be installed (above): ${missing[*]}"
	fi
fi
if [[ $unpack ]]; then
	fresh=$(mktemp -d)
	chmod 755 "$fresh" # servers that gave up their rights read their modules there
	if ! (cd -- "$fresh" && apt-get download "${ftp_packages[@]}") >"$log" 2>&1; then
		cat -- "$log" >&2
		die "these packages could not be fetched (above): ${ftp_packages[*]}"
	fi
	for deb in "$fresh"/*.deb; do
		name=${deb##*/} name=${name%%_*}
		case $name in proftpd-*) name=proftpd ;; esac # one tree, for there is one place for modules
		mkdir -p "$fresh/$name"
		dpkg -x "$deb" "$fresh/$name"
		rm -- "$deb"
	done
	mkdir -p "${ftpd%/*}"
	rm -rf -- "$ftpd"
	mv -- "$fresh" "$ftpd"
fi
rm -f -- "$log"
