// Package conf reads the configuration: a TOML file and the environment, into a [Config].
//
// The steps are those of [Parse]: the defaults, the profile of a hub over them, the file over
// both, the environment over all, then every rule that spans more than one key. A Config that comes out is valid and
// read-only by contract. Nothing is ignored: an unknown key, a wrong type, a value out of
// range or a clash is a fault, and all faults are reported at once, each with its key and
// its line or variable. Only a file that is no TOML at all is reported by its first error.
//
// What a key may be stands in the tags of its field: "range" for integers and durations,
// "enum" for words, "later" for words that a later version will know.
package conf

import (
	_ "embed"
	"fmt"
	"reflect"

	"github.com/BurntSushi/toml"
)

//go:embed example.toml
var example string

// Example returns a configuration file that has every key with its default value and
// explains it.
func Example() string { return example }

// maxFile bounds the configuration file, in octets.
const maxFile = 4 << 20

// Load reads the file at path and the environment, which is a list of "NAME=value" as of
// os.Environ. An empty path means no file. The warnings are those of a valid configuration.
// The error is an *Error when the configuration has faults, and otherwise says why the file
// cannot be read.
func Load(path string, env []string) (*Config, []Warning, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = readFile(path, maxFile); err != nil {
			return nil, nil, fmt.Errorf("cannot read the configuration file: %w", err)
		}
	}
	cfg, passwordInside, err := parse(path, data, env)
	if err != nil {
		return nil, nil, err
	}
	return cfg, append(exposures(path, passwordInside, cfg), statusWarnings(cfg)...), nil
}

// Parse is Load for a file already read; name stands for it in messages, and for what
// store.path must not be. It reads the files that broker.password_file and
// broker.credentials_file name.
func Parse(name string, data []byte, env []string) (*Config, error) {
	cfg, _, err := parse(name, data, env)
	return cfg, err
}

// parse also tells whether the file has a password in it, whatever the environment says.
func parse(name string, data []byte, env []string) (cfg *Config, passwordInside bool, err error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, false, &Error{File: name, Faults: []Fault{syntaxFault(string(data), err)}}
	}
	cfg = Default()
	d := newDecoder(name, string(data))
	d.env = env
	applyProfile(d, profileName(tree, env), cfg)
	d.table("", tree, reflect.ValueOf(cfg).Elem())
	passwordInside = hasPassword(&cfg.Broker)
	d.environment(env, reflect.ValueOf(cfg).Elem())
	d.validate(cfg)
	if len(d.faults) > 0 {
		return nil, false, &Error{File: name, Faults: sortFaults(d.faults)}
	}
	return cfg, passwordInside, nil
}
