// Package soak is a long run of the whole gateway on a simulated network: hundreds of
// devices, hours of simulated time, a network that loses, doubles and reorders, and a
// broker that fails several times a day. A ledger knows of every message where it has
// to arrive; the first one that does not ends the run.
//
// What counts as acknowledged and what has to arrive is written in ledger_test.go for
// messages and in wills_test.go for wills.
//
// Flags of go test: -soak.seed replays a run, -soak.devices and -soak.hours size it.
package soak
