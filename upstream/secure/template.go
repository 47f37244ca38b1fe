package secure

import (
	"fmt"
	"path/filepath"
	"strings"
)

// placeholder is what a client's identifier takes the place of.
const placeholder = "{client_id}"

// Template is the path of a file, in which {client_id} stands for the identifier of a client.
type Template string

// PerClient reports whether each client has a file of its own.
func (t Template) PerClient() bool { return strings.Contains(string(t), placeholder) }

// Check reports what is wrong with a template.
func (t Template) Check() error {
	rest := strings.ReplaceAll(string(t), placeholder, "")
	begin := strings.IndexByte(rest, '{')
	if begin < 0 {
		return nil
	}
	end := strings.IndexByte(rest[begin:], '}')
	if end < 0 {
		return fmt.Errorf("has a %q without %q behind it; want %s", "{", "}", placeholder)
	}
	return fmt.Errorf("has the placeholder %q, which is not known; want %s", rest[begin:begin+end+1], placeholder)
}

// Folder returns the part of the path that is the same for all clients.
func (t Template) Folder() string {
	before, _, _ := strings.Cut(string(t), placeholder)
	return filepath.Dir(before + "x")
}

// path returns the path of a client's file. A device chooses its client identifier, and must not
// choose a folder by it.
func (t Template) path(client string) (string, error) {
	if !t.PerClient() {
		return string(t), nil
	}
	if !filepath.IsLocal(client) || client == "." || strings.ContainsAny(client, "/\\\x00") {
		return "", &FileError{Key: "cert_file", Reason: BadFile, Missing: true, Path: string(t), Msg: fmt.Sprintf("is not looked for: the client id %q is no name of a file", short(client))}
	}
	return strings.ReplaceAll(string(t), placeholder, client), nil
}
