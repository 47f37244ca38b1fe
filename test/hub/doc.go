// Package hub is an MQTT 3.1.1 server for tests that is as strict as the hubs of the clouds: it
// has the rules of one of them, ends the connection of whoever breaks one, and notes which it
// was. It checks certificates, signatures and tokens by itself, and knows nothing of how sngate
// makes them.
//
// Where it is not known what a hub does it is the strictest that it may be. So who gets along
// with it gets along with the hub, and the reverse is not said.
//
// Its time is that of the package time, so it can be used in a bubble of testing/synctest.
package hub
