package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// damageError says why a file cannot be used.
type damageError struct{ reason error }

func (d *damageError) Error() string { return d.reason.Error() }

func (d *damageError) Unwrap() error { return d.reason }

// finding is what inspect found in a usable file.
type finding struct {
	*content
	damage  error // what is wrong with the other root page, or with what is below it
	discard int   // with damage: that root page, which has to be taken out
}

// inspect looks for the newest transaction that is complete.
func inspect(f io.ReaderAt, path string, s schema) (finding, error) {
	var roots []metaPage
	var damage error
	discard := 0
	for slot := range 2 {
		if m, err := readMeta(f, slot); err != nil {
			damage, discard = err, slot
		} else {
			roots = append(roots, m)
		}
	}
	if len(roots) == 2 && roots[0].txid < roots[1].txid {
		roots[0], roots[1] = roots[1], roots[0]
	}
	for _, m := range roots {
		c, err := inspectTree(f, m, path, s)
		if err == nil {
			return finding{c, damage, discard}, nil
		}
		if errors.Is(err, ErrNewerSchema) || errors.Is(err, ErrForeign) {
			return finding{}, err
		}
		damage, discard = err, m.slot
	}
	return finding{}, &damageError{damage}
}

// inspectTree checks everything below one root page.
func inspectTree(f io.ReaderAt, m metaPage, path string, s schema) (*content, error) {
	if c, err := walkMeta(f, m); err == nil {
		if h, err := decodeHeader(c.header); err == nil && s.tooNew(path, h) != nil {
			return nil, s.tooNew(path, h)
		}
	}
	c, err := walk(f, m)
	if err != nil || c.empty() {
		return c, err
	}
	if c.foreign() {
		return nil, fmt.Errorf("%w: %s is a bbolt file without a bucket of a store; choose another path", ErrForeign, path)
	}
	if _, err := decodeHeader(c.header); err != nil {
		return nil, err
	}
	return c, c.matches(m.txid)
}

// discardRoot clears a root page, which makes the engine use the other one.
func discardRoot(path string, slot int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, pageSize), int64(slot)*pageSize)
	return errors.Join(err, f.Sync(), f.Close())
}
