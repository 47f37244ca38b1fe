//go:build !race

package soak

const (
	defaultDevices = 200
	defaultHours   = 24
)
