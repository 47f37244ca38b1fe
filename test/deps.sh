#!/bin/sh
# Installs what the tests need and the machine lacks: mosquitto (the real broker
# of the end-to-end tests), its command-line clients, and a C compiler with
# headers for Go's race detector. Does nothing where all is there.
set -eu

# An ordinary user's PATH on Debian lacks the folder the broker is in.
PATH=$PATH:/usr/sbin:/usr/local/sbin

packages=
broker_is_new=
if ! command -v mosquitto >/dev/null; then
	packages="$packages mosquitto"
	broker_is_new=yes
fi
if ! command -v mosquitto_pub >/dev/null || ! command -v mosquitto_sub >/dev/null; then
	packages="$packages mosquitto-clients"
fi
command -v gcc >/dev/null || packages="$packages gcc"
{ command -v gcc >/dev/null && echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; } || packages="$packages libc6-dev"

if [ -z "$packages" ]; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "The tests need these Debian packages or their like:$packages" >&2
	echo "apt-get is not here; install them in this system's own way (with Homebrew: brew install mosquitto)." >&2
	exit 1
fi

root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "The tests need these packages, and installing them needs root:" >&2
		echo "  apt-get install$packages" >&2
		exit 1
	fi
	root=sudo
	# Nobody can answer a question for a password without a terminal.
	[ -t 0 ] || root="sudo -n"
fi

# Debian starts a broker on TCP port 1883 when the package is installed and at
# each boot, and "make run" needs that port. A policy of "start nothing" (the
# Debian way: policy-rc.d answers 101) is in place while we install, if the
# machine has no policy of its own; afterwards the new service is switched off.
# A mosquitto that was there before is left as it is.
policy=/usr/sbin/policy-rc.d
if [ -n "$broker_is_new" ] && [ ! -e "$policy" ]; then
	trap '$root rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
fi

echo "installing:$packages"
$root apt-get update -q || echo "apt-get update failed; trying with the package lists that are here" >&2
# shellcheck disable=SC2086 # the list is meant to be split
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages </dev/null

if [ -n "$broker_is_new" ]; then
	if [ -d /run/systemd/system ]; then
		$root systemctl disable --now mosquitto.service
	elif [ -x /etc/init.d/mosquitto ] && command -v update-rc.d >/dev/null; then
		$root update-rc.d mosquitto disable
	fi
	echo "mosquitto is installed; its system service is switched off, so that TCP port 1883 stays free."
fi
