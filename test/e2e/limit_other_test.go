//go:build !unix

package e2e

// raiseDescriptorLimit does nothing: there is no such limit.
func raiseDescriptorLimit() error { return nil }
