package conf

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

const envPrefix = "SNGATE_"

// envName is the variable that overrides a key: "SNGATE_BROKER_URL" for "broker.url".
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// environment lets the variables override what they name.
func (d *decoder) environment(env []string, cfg reflect.Value) {
	vars := make(map[string]string)
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			vars[name] = value
		}
	}
	var names []string
	eachKey(cfg, func(path string, dst reflect.Value, tag reflect.StructTag) {
		name := envName(path)
		names = append(names, name)
		if value, ok := vars[name]; ok {
			delete(vars, name)
			d.override(path, name, value, dst, tag)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		d.faults = append(d.faults, Fault{Env: name, Msg: "unknown variable" + didYouMean(nearestName(name, names))})
	}
}

// eachKey calls f with every key that has a variable: those of the sections, and whole
// arrays of tables.
func eachKey(cfg reflect.Value, f func(path string, dst reflect.Value, tag reflect.StructTag)) {
	for i := range cfg.NumField() {
		section, path := cfg.Field(i), keyOf(cfg.Type().Field(i))
		if section.Kind() == reflect.Slice {
			f(path, section, "")
			continue
		}
		for k := range section.NumField() {
			field := section.Type().Field(k)
			f(join(path, keyOf(field)), section.Field(k), field.Tag)
		}
	}
}

// override gives a key the value of a variable: texts as they are, lists of texts separated
// by commas or as a TOML array, everything else as a TOML value.
func (d *decoder) override(path, name, value string, dst reflect.Value, tag reflect.StructTag) {
	replaced := func(p string) bool { return p == path || strings.HasPrefix(p, path+"[") }
	maps.DeleteFunc(d.origin, func(p string, _ origin) bool { return replaced(p) })
	maps.DeleteFunc(d.given, func(p string, _ bool) bool { return replaced(p) })
	d.origin[path] = origin{env: name}
	_, isDuration := dst.Interface().(time.Duration)
	_, isSecret := dst.Interface().(Secret)
	switch {
	case isDuration || isSecret || dst.Kind() == reflect.String:
		d.value(path, value, dst, tag)
	case wants(dst) == "an array of strings" && !strings.HasPrefix(strings.TrimSpace(value), "["):
		items := []any{}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		d.value(path, items, dst, tag)
	default:
		var tree map[string]any
		if _, err := toml.Decode("v = "+value, &tree); err != nil || len(tree) != 1 {
			d.fault(path, "%s is not a TOML value; want %s", quote(value), wants(dst))
			return
		}
		d.value(path, tree["v"], dst, tag)
	}
}

// nearestName returns the variable that an unknown one was probably meant to be, or "".
func nearestName(name string, names []string) string {
	best, nearest := 2+len(name)/4, ""
	for _, n := range names {
		if strings.HasPrefix(name, n+"_") { // SNGATE_LISTENER_ADDRESS: there is one for the whole array only
			return n
		}
		if k := distance(name, n); k < best {
			best, nearest = k, n
		}
	}
	return nearest
}
