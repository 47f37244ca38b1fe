package credential

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Certificate returns the paths of the files with the certificate that a client presents in TLS,
// and with its key, by the client id of its device. Both "": it has none. The error is as of
// Connect.
func (b *Book) Certificate(clientID string) (certFile, keyFile string, err error) {
	of := values{client: clientID, book: b, row: b.table.row(clientID)}
	who, _ := b.account(&of)
	if certFile, err = who.CertFile.path(&of); err != nil {
		return "", "", err
	}
	if keyFile, err = who.KeyFile.path(&of); err != nil {
		return "", "", err
	}
	return certFile, keyFile, nil
}

// path returns the text of t, which is the path of a file. A device chooses its client id, and
// must not choose a folder by it; all other values are the operator's.
func (t Template) path(of *values) (string, error) {
	if id := of.client; t.has(PlaceholderClientID) && (!filepath.IsLocal(id) || id == "." || strings.ContainsAny(id, "/\\\x00")) {
		return "", fmt.Errorf("%w: %q is no name of a file", ErrNone, shown(id))
	}
	return t.fill(of)
}
