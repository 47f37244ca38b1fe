package conf

import (
	"maps"
	"reflect"
	"regexp"
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
		name, value, ok := strings.Cut(e, "=")
		switch {
		case !ok:
		case name == credentialsVariable:
			d.credentials = value
		case strings.HasPrefix(name, envPrefix) && !ofKubernetes(e):
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

// ofKubernetes reports whether a variable tells of a Service, as Kubernetes puts them into
// containers: for a Service "sngate", or "sngate-mqtt", they begin as ours do. The value is
// looked at too, because "SNGATE_BROKER_PORT=1883" is a mistake.
func ofKubernetes(variable string) bool {
	for _, pattern := range []string{
		`_SERVICE_HOST=[0-9A-Fa-f.:]+`,
		`_SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+`,
		`_PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*`,
		`_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO=(tcp|udp|sctp)`,
		`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT=[0-9]+`,
		`_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR=[0-9A-Fa-f.:]+`,
	} {
		if regexp.MustCompile(`^SNGATE(_[A-Z0-9_]+)?` + pattern + `$`).MatchString(variable) {
			return true
		}
	}
	return false
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
			shown := quote(value)
			if holdsSecret(dst.Type()) {
				shown = "this"
			}
			d.fault(path, "%s is not a TOML value; want %s", shown, wants(dst))
			return
		}
		d.value(path, tree["v"], dst, tag)
	}
}

// holdsSecret reports whether there may be a Secret in a value of type t.
func holdsSecret(t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[Secret]():
		return true
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		return holdsSecret(t.Elem())
	case t.Kind() != reflect.Struct:
		return false
	}
	for i := range t.NumField() {
		if holdsSecret(t.Field(i).Type) {
			return true
		}
	}
	return false
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
