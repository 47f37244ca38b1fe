//go:build !unix

package main

import "io"

// isJournal is always false: there is no systemd here.
func isJournal(io.Writer, string) bool { return false }
