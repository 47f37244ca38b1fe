#!/bin/sh
# Runs go test with the arguments given, of which -race is one. Go's runtime sometimes ends a test program with
# SIGSEGV where it sets a timer in a synctest bubble, with the race detector alone: two goroutines
# use the bubble's race context at once. A package that has ended so, and in which no test has
# failed, is tested once more. Anything else fails at once.
set -u
GO=${GO:-go}
export CGO_ENABLED=1
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
{ "$GO" test "$@" 2>&1; echo "$?" >"$out.code"; } | tee "$out"
code=$(cat "$out.code")
rm -f "$out.code"
[ "$code" = 0 ] && exit 0
failed=$(sed -n 's/^FAIL[[:space:]]\{1,\}\([^[:space:]]*\).*/\1/p' "$out")
if [ -z "$failed" ] || grep -q '^ *--- FAIL\|DATA RACE\|panic:' "$out" ||
	! grep -q '^SIGSEGV: segmentation violation' "$out" || ! grep -q '^runtime\.(\*timer)' "$out"; then
	exit "$code"
fi
echo "race.sh: the runtime has ended these, once more:" $failed >&2
# shellcheck disable=SC2086 # one argument for each package
exec "$GO" test -race -shuffle=on -count=1 -timeout 10m $failed
