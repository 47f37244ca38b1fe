package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// readFile reads a file of at most limit octets.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errors.New("the file is too large")
	}
	return data, err
}

// readSecrets is readFile for a file that nobody may have a bit of shut for, where permissions
// are such bits. It also tells how the file looked.
func readSecrets(path string, limit int64, shut fs.FileMode) ([]byte, Stamp, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return nil, stampOf(info), errors.New("is a pipe, which may never end; want a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, Stamp{}, err
	}
	if mode := info.Mode().Perm(); info.Mode().IsRegular() && mode&shut != 0 && runtime.GOOS != "windows" {
		return nil, stampOf(info), fmt.Errorf("other users have access to the file (mode %04o); want chmod go-rwx", mode)
	}
	data, err := readAll(f, limit)
	return data, stampOf(info), err
}

// Stamp is how a file looked: another one means that it has changed.
type Stamp struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
}

func stampOf(info fs.FileInfo) Stamp { return Stamp{info.ModTime(), info.Size(), info.Mode()} }

// sameFile reports whether two paths name one file, by other names and links too as far as
// it exists. An empty path names none.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	if errA == nil && errB == nil && absA == absB {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
