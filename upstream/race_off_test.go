//go:build !race

package upstream_test

// raceEnabled: memory and allocations are not what they are without the detector.
const raceEnabled = false
