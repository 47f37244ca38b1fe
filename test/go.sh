#!/bin/sh
# Says in one line what to do when the Go that is here cannot build sngate. An old Go gives
# an error about go.mod that does not tell it.
set -eu

GO=${GO:-go}
needed=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
how="install it from https://go.dev/dl/ and put its bin folder first in PATH"

if ! command -v ${GO%% *} >/dev/null; then # GO may have arguments
	echo "sngate needs Go $needed or newer, and $GO was not found in PATH: $how" >&2
	exit 1
fi
# A Go from 1.21 on fetches the version that go.mod asks for, if it may and can.
if found=$($GO env GOVERSION 2>/dev/null); then
	# "go1.26.8" and "go1.27rc1"; a Go built from source says "devel" and is taken as it is.
	case $found in
	go[0-9]*) ;;
	*) exit 0 ;;
	esac
	have=$(echo "$found" | sed 's/^go\([0-9]*\.[0-9]*\).*/\1/')
	if [ "${have%%.*}" -gt "${needed%%.*}" ] ||
		{ [ "${have%%.*}" -eq "${needed%%.*}" ] && [ "${have#*.}" -ge "${needed#*.}" ]; }; then
		exit 0
	fi
else
	found=$(GOTOOLCHAIN=local $GO version 2>/dev/null | cut -d ' ' -f 3) || found=
	how="$how, or let it fetch that one by itself: GOTOOLCHAIN=auto, with access to the network"
fi
echo "sngate needs Go $needed or newer, and $GO is ${found:-older}: $how" >&2
exit 1
