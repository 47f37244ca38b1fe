#!/bin/sh
# Looks for known vulnerabilities in what sngate calls, the Go library included. A
# vulnerability fails. So does anything else that goes wrong, but for one thing: the
# database (vuln.go.dev, or GOVULNDB) cannot be reached. Then nothing has been checked;
# this says so and does not fail, so that sngate can be tested without that host.
set -eu

GO=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

status=0
"$GO" tool govulncheck ${GOVULNDB:+-db "$GOVULNDB"} ./... >"$log" 2>&1 || status=$?
cat "$log"
if [ "$status" -ne 0 ] && grep -q '^govulncheck: fetching vulnerabilities: ' "$log"; then
	echo "NOT CHECKED for known vulnerabilities: the database cannot be reached from here" >&2
	exit 0
fi
exit "$status"
