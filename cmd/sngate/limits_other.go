//go:build !unix

package main

import "github.com/rs/zerolog"

// warnOfDescriptors has nothing to warn of: there is no such limit here.
func warnOfDescriptors(int, zerolog.Logger) {}
