package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"sngate/internal/secretfile"
)

// maxFile bounds a file of certificates or keys, in octets: that of a system's authorities has
// about 250,000.
const maxFile = 4 << 20

// FileError is what is wrong with a file.
type FileError struct {
	Key    string // "ca_file", "cert_file" or "key_file": which of them it is
	Path   string // "": of none in particular
	Msg    string
	Reason Reason // BadFile or KeyMismatch
	// Missing: there is no such file, so the client has no certificate.
	Missing bool
}

// Error says it in words for operators.
func (e *FileError) Error() string { return strings.TrimPrefix(e.Path+" "+e.Msg, " ") }

// ReadAuthorities reads a file of certificates (PEM). The error is a *FileError.
func ReadAuthorities(path string) (*x509.CertPool, error) {
	data, err := read("ca_file", path, 0)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, &FileError{Key: "ca_file", Reason: BadFile, Path: path, Msg: "has no certificate in it (PEM)"}
	}
	return pool, nil
}

// ReadPair reads a certificate, with the chain behind it, and its private key (PEM). Where files
// have such permissions, that of the key has to be shut to others, as secretfile.Shut has it. The
// error is a *FileError.
func ReadPair(certFile, keyFile, loaded string) (*tls.Certificate, error) {
	chain, err := read("cert_file", certFile, 0)
	if err != nil {
		return nil, err
	}
	if !hasBlock(chain, "CERTIFICATE") {
		return nil, &FileError{Key: "cert_file", Reason: BadFile, Path: certFile, Msg: "has no certificate in it (PEM)"}
	}
	key, err := read("key_file", keyFile, secretfile.Shut(keyFile, loaded))
	if err != nil {
		return nil, err
	}
	bad := &FileError{Key: "key_file", Reason: BadFile, Path: keyFile}
	if !hasBlock(key, "PRIVATE KEY") {
		bad.Msg = "has no private key in it (PEM)"
		return nil, bad
	}
	if hasBlock(key, "ENCRYPTED") || strings.Contains(string(key), "Proc-Type: 4,ENCRYPTED") {
		bad.Msg = "is encrypted; want a key without a passphrase"
		return nil, bad
	}
	pair, err := tls.X509KeyPair(chain, key)
	switch {
	case err == nil:
		return &pair, nil
	case strings.Contains(err.Error(), "does not match"):
		bad.Reason, bad.Msg = KeyMismatch, "is not the key of the certificate in "+certFile
	default:
		bad.Msg = fmt.Sprintf("and the certificate in %s cannot be used: %v", certFile, err)
	}
	return nil, bad
}

// hasBlock reports whether there is a PEM block with kind in its type.
func hasBlock(data []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return false
		}
		if strings.Contains(block.Type, kind) {
			return true
		}
	}
}

// read reads a file for one of the keys of the configuration. Nobody may have a bit of shut.
func read(key, path string, shut fs.FileMode) ([]byte, error) {
	bad := &FileError{Key: key, Reason: BadFile, Path: path}
	data, err := readFile(path, shut)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		bad.Missing = errors.Is(err, fs.ErrNotExist)
		bad.Msg = "cannot be read: " + err.Error()
		return nil, bad
	}
	return data, nil
}

// readFile reads a regular file: another might never end, or never begin.
func readFile(path string, shut fs.FileMode) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case runtime.GOOS != "windows" && info.Mode()&shut != 0:
		return nil, fmt.Errorf("others than its owner may use it (mode %04o); want chmod go=", info.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("the file is too large")
	}
	return data, err
}
