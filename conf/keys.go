package conf

import (
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// keyOf is a field's key: its tag, or its name for topicreg.Entry, which has no tags.
func keyOf(f reflect.StructField) string {
	if key := f.Tag.Get("toml"); key != "" {
		return key
	}
	return strings.ToLower(f.Name)
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); keyOf(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// knownKeys lists the paths of all tables and keys below a struct, without the numbers of
// list elements, in the order of the fields.
func knownKeys(path string, t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		at, inner := join(path, keyOf(f)), f.Type
		keys = append(keys, at)
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && wants(reflect.New(inner).Elem()) == "a table" {
			keys = append(keys, knownKeys(at, inner)...)
		}
	}
	return keys
}

// nearestKey returns the known key that an unknown one was probably meant to be, or "". The
// same table is preferred, but a key in the wrong table is found too.
func nearestKey(path string) string {
	path = regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "")
	table, name := splitPath(path)
	best, nearest := 2+len(name)/3, ""
	for _, key := range knownKeys("", reflect.TypeFor[Config]()) {
		keyTable, keyName := splitPath(key)
		n := distance(strings.ToLower(name), keyName)
		switch {
		case keyTable != table:
			n += 2
		case len(name) > 2 && (strings.HasPrefix(keyName, name) || strings.HasPrefix(name, keyName)):
			n = min(n, 1) // "user" for "username", "hold_time" for "hold"
		}
		if n < best {
			best, nearest = n, key
		}
	}
	return nearest
}

// nearestWord returns the word that an unknown one was probably meant to be, in quotes, or "".
func nearestWord(text string, words []string) string {
	best, nearest := 1+len(text)/3, ""
	for _, w := range words {
		n := distance(strings.ToLower(text), w)
		if len(text) > 2 && strings.HasPrefix(w, strings.ToLower(text)) {
			n = min(n, 1) // "azure" is left to the list, "hivemq" is not
		}
		if w != "" && n < best {
			best, nearest = n, strconv.Quote(w)
		}
	}
	return nearest
}

func splitPath(path string) (table, name string) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:]
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + name + "?"
}

// wants says what a field holds.
func wants(dst reflect.Value) string {
	switch dst.Interface().(type) {
	case time.Duration:
		return `a duration such as "10s"`
	case Secret, netip.Prefix, netip.Addr:
		return "a string"
	}
	switch dst.Kind() {
	case reflect.Struct:
		return "a table"
	case reflect.Map:
		return "a table of strings"
	case reflect.Slice:
		switch wants(reflect.New(dst.Type().Elem()).Elem()) {
		case "a table":
			return "an array of tables"
		case "an integer":
			return "an array of integers"
		}
		return "an array of strings"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	}
	return "an integer"
}
