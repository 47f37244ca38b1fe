#!/bin/sh
# Collects the licence texts that have to go where the binary goes, into a folder: our own,
# Go's, and those of the modules whose code is in the binary, from Go's module cache: neither
# tools nor what only tests need. Fails if one is missing.
#
#   sh packaging/licenses.sh FOLDER        from the project's folder
set -eu

GO=${GO:-go}
out=${1:?usage: licenses.sh FOLDER}

# collect FROM TO: copies licence files, those of code that a module has copied from others
# too, and fails if there is none.
collect() {
	found=
	mkdir -p "$2"
	list=$(cd "$1" && find . -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \
		-o -iname 'patents*' -o -iname 'e[dp]l-v*' \) ! -name '*.go' ! -path '*/testdata/*' | sort)
	for file in $list; do
		mkdir -p "$2/$(dirname "$file")"
		cp "$1/$file" "$2/$file"
		chmod 644 "$2/$file"
		found=yes
	done
	if [ -z "$found" ]; then
		echo "no licence text in $1" >&2
		exit 1
	fi
}

mkdir -p "$out/sngate" "$out/go"
cp LICENSE "$out/sngate/LICENSE"

goroot=$($GO env GOROOT)
for file in "$goroot/LICENSE" "$goroot/PATENTS" /usr/share/doc/golang-*-go/copyright; do # the last one is Debian's
	[ ! -f "$file" ] || cp "$file" "$out/go/"
done
if [ -z "$(ls "$out/go")" ]; then
	echo "no licence text in $goroot" >&2
	exit 1
fi

# A line "path folder" for each package of the binary; Go fetches modules that are not in the cache.
$GO list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/sngate >"$out/packages"
sort -u "$out/packages" >"$out/modules"
while read -r path dir; do
	collect "$dir" "$out/$path"
done <"$out/modules"
rm "$out/modules" "$out/packages"
