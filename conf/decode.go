package conf

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// decoder moves a TOML tree into a Config and collects the faults. It is used once.
type decoder struct {
	name   string            // of the file; "" without one
	origin map[string]origin // path -> where it was given
	given  map[string]bool   // paths that a file or variable had
	// profiled are the paths that the profile has set.
	profiled map[string]bool
	bad      map[string]bool // paths with a fault
	faults   []Fault

	credentials string   // directory of the service's credentials, "" for none
	env         []string // of the process
}

// origin is a line of the file or a variable of the environment.
type origin struct {
	line int
	env  string
}

func newDecoder(name, src string) *decoder {
	d := &decoder{name: name, origin: make(map[string]origin), given: make(map[string]bool), bad: make(map[string]bool)}
	for path, line := range keyLines(src) {
		d.origin[path] = origin{line: line}
	}
	return d
}

// fault notes that the value at path is wrong, with the place where it, or the nearest
// table or array around it, was given.
func (d *decoder) fault(path, format string, args ...any) {
	f := Fault{Key: path, Msg: fmt.Sprintf(format, args...)}
	at := path
	if d.fromProfile(path) {
		f.Msg, at = f.Msg+" (the value is that of the profile)", "broker.profile"
	}
	for p := at; p != ""; p = p[:max(strings.LastIndexAny(p, ".["), 0)] {
		if o, ok := d.origin[p]; ok {
			f.Line, f.Env = o.line, o.env
			break
		}
	}
	d.bad[path] = true
	d.faults = append(d.faults, f)
}

// fromProfile reports whether a key has the value of the profile.
func (d *decoder) fromProfile(key string) bool { return d.profiled[key] && !d.given[key] }

// table moves a table into a struct.
func (d *decoder) table(path string, tree map[string]any, dst reflect.Value) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		at := join(path, key)
		if field, ok := fieldOf(dst.Type(), key); ok {
			d.value(at, tree[key], dst.FieldByIndex(field.Index), field.Tag)
			continue
		}
		d.fault(at, "unknown key%s", didYouMean(nearestKey(at)))
	}
}

// value moves a value into a field, a list element or a whole section.
func (d *decoder) value(path string, v any, dst reflect.Value, tag reflect.StructTag) {
	d.given[path] = true
	switch p := dst.Addr().Interface().(type) {
	case *time.Duration:
		d.duration(path, v, p, tag)
		return
	case *Secret:
		if s, ok := d.text(path, v); ok {
			*p = NewSecret(s)
		}
		return
	case *netip.Prefix:
		d.network(path, v, p)
		return
	case *netip.Addr:
		d.localAddress(path, v, p)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		if tree, ok := v.(map[string]any); ok {
			d.table(path, tree, dst)
		} else {
			d.mismatch(path, wants(dst), v)
		}
	case reflect.Slice:
		d.list(path, v, dst, tag)
	case reflect.Map:
		d.names(path, v, dst)
	case reflect.String:
		d.word(path, v, dst, tag)
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
		} else {
			d.mismatch(path, wants(dst), v)
		}
	default:
		d.integer(path, v, dst, tag)
	}
}

// names moves a table whose keys are not known beforehand into a map.
func (d *decoder) names(path string, v any, dst reflect.Value) {
	tree, ok := v.(map[string]any)
	if !ok {
		d.mismatch(path, wants(dst), v)
		return
	}
	named := reflect.MakeMap(dst.Type())
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		value := reflect.New(dst.Type().Elem()).Elem()
		d.value(join(path, key), tree[key], value, "")
		named.SetMapIndex(reflect.ValueOf(key), value)
	}
	dst.Set(named)
}

// list moves an array into a slice. Elements with faults keep their places, so that the
// numbers in messages are those of the file.
func (d *decoder) list(path string, v any, dst reflect.Value, tag reflect.StructTag) {
	items, ok := elements(v)
	if !ok {
		d.mismatch(path, wants(dst), v)
		return
	}
	list := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		if l, ok := list.Index(i).Addr().Interface().(*Listener); ok {
			*l = defaultListener()
		}
		d.value(index(path, i), item, list.Index(i), tag)
	}
	dst.Set(list)
}

// elements returns the elements of either form in which the parser returns arrays.
func elements(v any) ([]any, bool) {
	tables, ok := v.([]map[string]any)
	if !ok {
		items, ok := v.([]any)
		return items, ok
	}
	items := make([]any, len(tables))
	for i := range tables {
		items[i] = tables[i]
	}
	return items, true
}

// integer moves an integer within the field's range.
func (d *decoder) integer(path string, v any, dst reflect.Value, tag reflect.StructTag) {
	n, ok := v.(int64)
	if !ok {
		d.mismatch(path, wants(dst), v)
		return
	}
	bounds := tag.Get("range")
	if bounds == "" { // topicreg.Entry.ID, which has no tags
		bounds = "1..65534"
	}
	low, high, _ := strings.Cut(bounds, "..")
	lo, _ := strconv.ParseInt(low, 10, 64)
	hi, _ := strconv.ParseInt(high, 10, 64)
	switch {
	case n < lo || n > hi:
		d.fault(path, "%d is out of range; want %s", n, bounds)
	case dst.CanUint():
		dst.SetUint(uint64(n))
	default:
		dst.SetInt(n)
	}
}

// duration moves a text such as "10s" within the field's range.
func (d *decoder) duration(path string, v any, dst *time.Duration, tag reflect.StructTag) {
	s, ok := v.(string)
	if !ok {
		d.mismatch(path, wants(reflect.ValueOf(dst).Elem()), v)
		return
	}
	value, err := time.ParseDuration(s)
	if err != nil {
		d.fault(path, "%s is not a duration; want a number with a unit, such as \"10s\" or \"1h30m\"", quote(s))
		return
	}
	low, high, _ := strings.Cut(tag.Get("range"), "..")
	lo, _ := time.ParseDuration(low)
	hi, _ := time.ParseDuration(high)
	if value < lo || value > hi {
		d.fault(path, "%s is out of range; want %s", quote(s), tag.Get("range"))
		return
	}
	*dst = value
}

// word moves a text, which the field may restrict to some words.
func (d *decoder) word(path string, v any, dst reflect.Value, tag reflect.StructTag) {
	s, ok := d.text(path, v)
	if !ok {
		return
	}
	words := strings.Split(tag.Get("enum"), ",")
	want := `"` + strings.Join(words, `", "`) + `"`
	switch {
	case tag.Get("enum") == "" || slices.Contains(words, s):
		dst.SetString(s)
	case s != "" && s == tag.Get("later"):
		d.fault(path, "%q is not available in this version; want %s", s, want)
	default:
		d.fault(path, "%s is not known; want %s%s%s", quote(s), oneOf(words), want, didYouMean(nearestWord(s, words)))
	}
}

func oneOf(words []string) string {
	if len(words) > 1 {
		return "one of "
	}
	return ""
}

// text returns a string that MQTT can carry as well. Its messages do not show the string,
// which may be a secret.
func (d *decoder) text(path string, v any) (string, bool) {
	s, ok := v.(string)
	switch {
	case !ok:
		d.mismatch(path, "a string", v)
	case !utf8.ValidString(s):
		d.fault(path, "is not well-formed UTF-8")
		return "", false
	case strings.ContainsRune(s, 0):
		d.fault(path, "contains the character U+0000")
		return "", false
	}
	return s, ok
}

// network moves an address or a CIDR.
func (d *decoder) network(path string, v any, dst *netip.Prefix) {
	s, ok := d.text(path, v)
	if !ok {
		return
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		*dst = netip.PrefixFrom(addr, addr.BitLen())
		return
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		d.fault(path, "%s is not a network; want an IP address or a CIDR such as \"10.1.0.0/16\"", quote(s))
		return
	}
	if prefix != prefix.Masked() {
		d.fault(path, "%s has bits set behind its prefix; want %q", quote(s), prefix.Masked())
		return
	}
	*dst = prefix
}

// localAddress moves an address that one host can have.
func (d *decoder) localAddress(path string, v any, dst *netip.Addr) {
	s, ok := d.text(path, v)
	if !ok {
		return
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
		d.fault(path, "%s is not an IP address of this machine; want one such as \"192.0.2.1\", without a port", quote(s))
		return
	}
	*dst = addr.Unmap()
}

// mismatch notes a wrong type. It does not show the value, which may be a secret.
func (d *decoder) mismatch(path, want string, v any) {
	hint := ""
	switch {
	case path == "listener" && got(v) == "a table":
		hint = "; write [[listener]]"
	case want == "a table" && got(v) == "an array of tables":
		hint = "; write [" + path + "]"
	}
	d.fault(path, "want %s, got %s%s", want, got(v), hint)
}

// got says what the parser found.
func got(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	}
	return "an array"
}

// quote shows a value in a message, cut when it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "..."
	}
	return strconv.Quote(s)
}
