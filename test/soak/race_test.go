//go:build race

package soak

// The race detector costs a factor of about five.
const (
	defaultDevices = 100
	defaultHours   = 8
)
