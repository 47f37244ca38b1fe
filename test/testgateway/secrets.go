package testgateway

import (
	"bytes"
	"encoding/csv"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"sngate/conf"
)

// What a program has been given in confidence is searched for in all that it has written when the
// test ends: see StartProcess.

// learnSecrets notes the secrets of the configuration that the program has been started with, and
// of the files that it names. It reads them by itself, as a program that does not understand its
// configuration must not show it either. What is not there holds no secret.
func (p *Process) learnSecrets() {
	for _, arg := range p.Cmd.Args[1:] {
		if file := p.at(arg); strings.HasSuffix(arg, ".toml") && regular(file) {
			p.learnTOML(file)
			p.learnSignatures(file)
		}
	}
	for _, variable := range p.Cmd.Env {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "SNGATE_") && (strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_KEY")) {
			p.secrets.Add(value)
		}
		if proxy, err := url.Parse(value); err == nil && proxy.User != nil && strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			password, _ := proxy.User.Password()
			p.secrets.Add(password)
		}
	}
}

// regular reports whether a file can be read without waiting for who writes it. A configuration
// that comes through a pipe is read once, by the program.
func regular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// at returns where a file is that is named to the program.
func (p *Process) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Cmd.Dir, path)
}

func (p *Process) learnTOML(file string) {
	var tree map[string]any
	if _, err := toml.DecodeFile(file, &tree); err == nil {
		p.learnTable(tree)
	}
}

func (p *Process) learnTable(table map[string]any) {
	for key, value := range table {
		switch value := value.(type) {
		case string:
			p.learnValue(key, value)
		case map[string]any:
			for _, header := range value {
				if text, ok := header.(string); ok && key == "headers" {
					p.secrets.Add(text)
				}
			}
			p.learnTable(value)
		case []map[string]any:
			for _, element := range value {
				p.learnTable(element)
			}
		case []any:
			for _, element := range value {
				if table, ok := element.(map[string]any); ok {
					p.learnTable(table)
				}
			}
		}
	}
}

func (p *Process) learnValue(key, value string) {
	switch key {
	case "password", "key":
		p.secrets.Add(value)
	case "password_file":
		data, _ := os.ReadFile(p.at(value))
		p.secrets.Add(strings.TrimSpace(string(data)))
	case "credentials_file":
		if strings.HasSuffix(value, ".toml") {
			p.learnTOML(p.at(value))
		} else {
			p.learnCSV(p.at(value))
		}
	case "key_file":
		files, _ := filepath.Glob(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(p.at(value), "*"))
		for _, file := range files {
			p.learnPrivateKey(file)
		}
	}
}

func (p *Process) learnCSV(file string) {
	data, _ := os.ReadFile(file)
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	rows, _ := r.ReadAll()
	for _, row := range rows[min(1, len(rows)):] {
		for i, value := range row {
			if i < len(rows[0]) {
				switch name := rows[0][i]; name {
				case "password", "key", "key_file":
					p.learnValue(name, value)
				}
			}
		}
	}
}

// learnPrivateKey notes each line of a key, and the octets of it.
func (p *Process) learnPrivateKey(file string) {
	data, _ := os.ReadFile(file)
	if block, _ := pem.Decode(data); block != nil {
		p.secrets.Add(string(block.Bytes))
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "-") {
				p.secrets.Add(strings.TrimSpace(line))
			}
		}
	}
}

// learnSignatures notes the passwords that the program may have made of keys for the clients that
// it has told of, in each second since its start.
func (p *Process) learnSignatures(file string) {
	cfg, _, err := conf.Load(file, p.Cmd.Env)
	if err != nil || cfg.Broker.Signer.Type == "" {
		return
	}
	book, _, err := cfg.Credentials(cfg.Gateway.ClientID, p.Cmd.Env).Read()
	if err != nil {
		return
	}
	clients := []string{cfg.Gateway.ClientID}
	for _, match := range regexp.MustCompile(`"client_id":"([^"]*)"`).FindAllStringSubmatch(p.Stderr.String(), -1) {
		clients = append(clients, match[1])
	}
	slices.Sort(clients)
	for _, client := range slices.Compact(clients) {
		for at := p.began.Add(-time.Second); at.Before(time.Now().Add(time.Second)); at = at.Add(time.Second) {
			if who, err := book.Connect(client, at); err == nil {
				p.secrets.Add(string(who.Password))
			}
		}
	}
}

// wantNoSecrets searches what the program has written.
func (p *Process) wantNoSecrets() {
	p.learnSecrets()
	p.secrets.Check(p.t, "what it wrote to standard error", p.Stderr.String())
	p.secrets.Check(p.t, "what it wrote to standard output", p.Stdout.String())
	p.secrets.Check(p.t, "its arguments", strings.Join(p.Cmd.Args, " "))
}
