//go:build unix

package conf

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pipe would hold up the start, and a stop, for ever.
func TestAPipeIsNoFileOfSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, _, err := readSecrets(path, 100, 0o077)
		read <- err
	}()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "pipe") {
			t.Errorf("%v, want that it is a pipe", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for somebody to write")
	}
}
