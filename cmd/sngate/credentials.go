package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
	"sngate/upstream/credential"
)

// credentialsLook is how often it is looked whether the credentials file has changed.
const credentialsLook = time.Second

// accounts are the credentials in use. One goroutine reads the file again when it has changed;
// everybody may ask.
type accounts struct {
	source *conf.Credentials
	log    zerolog.Logger
	book   atomic.Pointer[credential.Book]
	unread atomic.Uint64 // changes of the file that could not be read

	// Of that goroutine.
	seen  conf.Stamp // how the file looked when it was read last, well or not
	fault string     // why it could not be; "": it could
}

// openAccounts reads the credentials for the first time.
func openAccounts(source *conf.Credentials, log zerolog.Logger) (*accounts, error) {
	a := &accounts{source: source, log: log}
	book, stamp, err := source.Read()
	if err != nil {
		return nil, err
	}
	a.book.Store(book)
	a.seen = stamp
	return a, nil
}

// of says as whom a client connects to the broker.
func (a *accounts) of(clientID string) (credential.Connect, error) {
	return a.book.Load().Connect(clientID, time.Now())
}

// certificate says which files have the certificate of a client, and its key.
func (a *accounts) certificate(clientID string) (certFile, keyFile string, err error) {
	return a.book.Load().Certificate(clientID)
}

// prefixSize says how much the broker has before the topics of a client, or before its filters.
func (a *accounts) prefixSize(clientID string, filters bool) (octets, slashes int) {
	return a.book.Load().PrefixSize(clientID, filters)
}

// watch looks after the file, if there is one, until stop is called.
func (a *accounts) watch() (stop func()) {
	if a.source.File() == "" {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(credentialsLook)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				a.look()
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// look reads the file again if it has changed. One that cannot be read changes nothing, and is
// told once.
func (a *accounts) look() {
	stamp, err := a.source.Stamp()
	if err == nil && stamp == a.seen {
		return
	}
	a.seen = stamp
	var book *credential.Book
	if err == nil {
		book, a.seen, err = a.source.Read()
	}
	if err != nil {
		if a.fault == err.Error() {
			return
		}
		a.fault = err.Error()
		a.unread.Add(1)
		a.log.Error().Err(err).Str("file", a.source.File()).Msg("credentials file not read: those from before stay in use")
		return
	}
	a.fault = ""
	a.book.Store(book)
	a.log.Info().Str("file", a.source.File()).Msg("credentials file read again")
}

// ownClientID is the client id of the gateway's own connection to the broker.
func ownClientID(cfg *conf.Config) (string, error) {
	host, err := os.Hostname()
	if err != nil && cfg.Gateway.ClientID == "" {
		return "", fmt.Errorf("gateway.client_id is not set and the host has no name: %w", err)
	}
	return cfg.Gateway.MQTTClientID(host), nil
}
