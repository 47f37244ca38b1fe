// Package admin is the operator's HTTP server: /metrics, /healthz, /readyz, a page for people
// and the API about sessions. It asks for all that through functions and an Inspector, and
// knows nothing of how a session is kept.
package admin

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Options is what the operator's HTTP server needs. All fields must be set. The
// functions are called by several goroutines at once and must not block.
type Options struct {
	Address string // "host:port"
	Version string
	Metrics http.Handler
	// Stuck returns what is wrong with the process itself, such as a shard that has
	// not turned its loop for 30 s; empty: nothing. A supervisor restarts what is stuck.
	Stuck func() []string
	// NotReady returns what keeps the gateway from serving devices, such as a listener
	// that is not bound or a broker that is away; empty: nothing.
	NotReady func() []string
	// Degraded returns what the gateway does without while it serves devices, such as a
	// store on a full disk; empty: nothing.
	Degraded func() []string
	// Store describes the store in a few words.
	Store func() string
	// API answers questions about sessions.
	API Inspector
	// Sessions returns the number of sessions in each state, in a fixed order.
	Sessions func() []StateCount
}

// StateCount is the number of sessions in one state.
type StateCount struct {
	State string
	Count int64
}

// Limits of the operator's server. A request has no body to speak of, and the largest
// answer is a few hundred metrics.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 5 * time.Second // who asks once a minute may connect again
	maxHeader    = 8 << 10
	maxConns     = 64
)

// Server serves /metrics, /healthz, /readyz and an index page.
type Server struct {
	server   *http.Server
	listener net.Listener
	served   chan error // the result of Serve, when it has ended
}

// ErrAddress says that it is Options.OpsAddress that cannot be listened on.
var ErrAddress = errors.New("operator's address")

// Listen binds the address, so that a wrong one is an error at the start, and
// begins to serve. Shutdown ends it.
func Listen(opts Options) (*Server, error) { return Serve(opts.Address, Handler(opts)) }

// Serve is Listen with another handler, within the same limits.
func Serve(address string, handler http.Handler) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrAddress, address, err)
	}
	s := &Server{
		server: &http.Server{
			Handler:           notingAnswers(handler),
			ConnContext:       withConn,
			ReadHeaderTimeout: readTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			// What the server would log is about single requests of strangers.
			ErrorLog: log.New(io.Discard, "", 0),
		},
		listener: listener,
		served:   make(chan error, 1),
	}
	limited := newListener(listener, maxConns)
	go func() { s.served <- s.server.Serve(limited) }()
	return s, nil
}

// Addr is the address in use, with its port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Shutdown stops accepting, lets requests in progress end for up to wait, then cuts
// them off. It is called once and returns when the server's own goroutine has ended.
func (s *Server) Shutdown(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Handler routes the requests. Everything is read-only: GET and HEAD.
func Handler(opts Options) http.Handler {
	index := indexTemplate()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", opts.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeState(w, "ok", opts.Stuck(), nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeState(w, "ready", opts.NotReady(), opts.Degraded())
	})
	handleAPI(mux, opts.API)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { writeIndex(w, index, opts) })
	return mux
}

// writeState answers 200 and good, or 503 and one fault per line. What is degraded
// follows, a line each, and changes nothing of the status.
func writeState(w http.ResponseWriter, good string, faults, degraded []string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if len(faults) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		good = strings.Join(faults, "\n")
	}
	for _, d := range degraded {
		good += "\ndegraded: " + d
	}
	_, _ = fmt.Fprintln(w, good) // whoever asked may have gone
}

func indexTemplate() *template.Template {
	return template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>sngate</title></head>
<body>
<h1>sngate {{.Version}}</h1>
<p>MQTT-SN gateway. {{if .Faults}}Not ready:{{else}}Ready.{{end}}</p>
{{if .Faults}}<ul>{{range .Faults}}<li>{{.}}</li>{{end}}</ul>
{{end}}{{if .Degraded}}<p>Degraded:</p>
<ul>{{range .Degraded}}<li>{{.}}</li>{{end}}</ul>
{{end}}<p>Store: {{.Store}}.</p>
<table>
<tr><th align="left">sessions</th><th align="right">count</th></tr>
{{range .Sessions}}<tr><td>{{.State}}</td><td align="right">{{.Count}}</td></tr>
{{end}}</table>
<ul>
<li><a href="metrics">metrics</a></li>
<li><a href="api/v1/sessions">api/v1/sessions</a>: the sessions, as JSON</li>
<li><a href="healthz">healthz</a>: whether the process works</li>
<li><a href="readyz">readyz</a>: whether it can serve devices</li>
</ul>
</body>
</html>
`))
}

// writeIndex answers with a page for people, without script or outside parts.
func writeIndex(w http.ResponseWriter, index *template.Template, opts Options) {
	var page strings.Builder
	err := index.Execute(&page, struct {
		Version  string
		Faults   []string
		Degraded []string
		Store    string
		Sessions []StateCount
	}{opts.Version, slices.Concat(opts.Stuck(), opts.NotReady()), opts.Degraded(), opts.Store(), opts.Sessions()})
	if err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'")
	_, _ = fmt.Fprint(w, page.String())
}
