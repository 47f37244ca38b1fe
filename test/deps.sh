#!/bin/sh
# Installs what the tests need and the machine lacks: mosquitto (the real broker
# of the end-to-end tests), its command-line clients, and a C compiler with
# headers for Go's race detector. With the argument "brokers" also the other brokers of
# "make brokers". Does nothing where all is there.
set -eu

# An ordinary user's PATH on Debian lacks the folder the broker is in.
PATH=$PATH:/usr/sbin:/usr/local/sbin

packages=
new_services= # of the brokers among them
if ! command -v mosquitto >/dev/null; then
	packages="$packages mosquitto"
	new_services="$new_services mosquitto"
fi
if [ "${1-}" = brokers ]; then
	if ! command -v rabbitmq-server >/dev/null; then
		packages="$packages rabbitmq-server"
		new_services="$new_services rabbitmq-server"
	fi
	if ! command -v ejabberdctl >/dev/null; then
		packages="$packages ejabberd"
		new_services="$new_services ejabberd"
	fi
	# Both bring Erlang, and that a port mapper.
	command -v epmd >/dev/null || new_services="$new_services epmd"
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
# machine has no policy of its own; afterwards the new services are switched off.
# A broker that was there before is left as it is.
policy=/usr/sbin/policy-rc.d
if [ -n "$new_services" ] && [ ! -e "$policy" ]; then
	trap '$root rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
fi

echo "installing:$packages"
$root apt-get update -q || echo "apt-get update failed; trying with the package lists that are here" >&2
# shellcheck disable=SC2086 # the list is meant to be split
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages </dev/null

for service in $new_services; do
	if [ -d /run/systemd/system ]; then
		for unit in "$service.socket" "$service.service"; do
			if systemctl cat "$unit" >/dev/null 2>&1; then $root systemctl disable --now "$unit"; fi
		done
	elif [ -x "/etc/init.d/$service" ] && command -v update-rc.d >/dev/null; then
		$root update-rc.d "$service" disable
	fi
done
if [ -n "$new_services" ]; then
	echo "installed for the tests, with the system services switched off, so that their ports stay free:$new_services"
fi
