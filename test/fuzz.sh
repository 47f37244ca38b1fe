#!/bin/sh
# Runs every fuzz target of the module for a limited time: FUZZTIME each, and
# FUZZTIME_MACHINE for those of the session machine. Go runs one target of one
# package at a time, hence the loop. Minimising inputs is kept short: by default it
# takes up to a minute each and leaves little of the time. Ends at the first failure;
# Go has then written the failing input below the package's testdata/fuzz, to be
# committed.
set -eu

GO=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Up to Go 1.26 a run that finds nothing sometimes ends in failure when its time
# is up (go.dev/issue/75804): "context deadline exceeded", and no failing input,
# which a target that really failed always leaves.
ended_in_time() {
	grep -qx ' *context deadline exceeded' "$1" && ! grep -q 'Failing input written' "$1"
}

count=0
for file in $(find . -name '*_test.go' -not -path './.*' | sort); do
	dir=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		time=${FUZZTIME:-10s}
		case $dir in
		./gateway/session) time=${FUZZTIME_MACHINE:-60s} ;;
		esac
		echo "fuzz $dir $target for $time"
		status=0
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x "$dir" >"$log" 2>&1 || status=$?
		cat "$log"
		if [ "$status" -ne 0 ] && ! ended_in_time "$log"; then
			exit "$status"
		fi
		if ! grep -q '^fuzz: elapsed' "$log"; then
			echo "$target in $file: Go finds no such fuzz target" >&2
			exit 1
		fi
		count=$((count + 1))
	done
done
if [ "$count" -eq 0 ]; then
	echo "no fuzz target found" >&2
	exit 1
fi
echo "$count fuzz targets passed"
