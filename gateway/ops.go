package gateway

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

// opsOptions is what the operator's HTTP server needs. All fields must be set. The
// functions are called by several goroutines at once and must not block.
type opsOptions struct {
	address string // "host:port"
	version string
	metrics http.Handler
	// stuck returns what is wrong with the process itself, such as a shard that has
	// not turned its loop for 30 s; empty: nothing. A supervisor restarts what is stuck.
	stuck func() []string
	// notReady returns what keeps the gateway from serving devices, such as a listener
	// that is not bound or a broker that is away; empty: nothing.
	notReady func() []string
	// degraded returns what the gateway does without while it serves devices, such as a
	// store on a full disk; empty: nothing.
	degraded func() []string
	// store describes the store in a few words.
	store func() string
	// api answers questions about sessions.
	api inspector
	// sessions returns the number of sessions in each state, in a fixed order.
	sessions func() []stateCount
}

// stateCount is the number of sessions in one state.
type stateCount struct {
	State string
	Count int64
}

// Limits of the operator's server. A request has no body to speak of, and the largest
// answer is a few hundred metrics.
const (
	opsReadTimeout  = 5 * time.Second
	opsWriteTimeout = 15 * time.Second
	opsIdleTimeout  = 5 * time.Second // who asks once a minute may connect again
	opsMaxHeader    = 8 << 10
	opsMaxConns     = 64
)

// opsServer serves /metrics, /healthz, /readyz and an index page.
type opsServer struct {
	server   *http.Server
	listener net.Listener
	served   chan error // the result of Serve, when it has ended
}

// ErrOpsAddress says that it is Options.OpsAddress that cannot be listened on.
var ErrOpsAddress = errors.New("operator's address")

// listenOps binds the address, so that a wrong one is an error at the start, and
// begins to serve. shutdown ends it.
func listenOps(opts opsOptions) (*opsServer, error) {
	listener, err := net.Listen("tcp", opts.address)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrOpsAddress, opts.address, err)
	}
	s := &opsServer{
		server: &http.Server{
			Handler:           notingAnswers(opsHandler(opts)),
			ConnContext:       withOpsConn,
			ReadHeaderTimeout: opsReadTimeout,
			ReadTimeout:       opsReadTimeout,
			WriteTimeout:      opsWriteTimeout,
			IdleTimeout:       opsIdleTimeout,
			MaxHeaderBytes:    opsMaxHeader,
			// What the server would log is about single requests of strangers.
			ErrorLog: log.New(io.Discard, "", 0),
		},
		listener: listener,
		served:   make(chan error, 1),
	}
	limited := newOpsListener(listener, opsMaxConns)
	go func() { s.served <- s.server.Serve(limited) }()
	return s, nil
}

// addr is the address in use, with its port.
func (s *opsServer) addr() string { return s.listener.Addr().String() }

// shutdown stops accepting, lets requests in progress end for up to wait, then cuts
// them off. It is called once and returns when the server's own goroutine has ended.
func (s *opsServer) shutdown(wait time.Duration) error {
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

// opsHandler routes the requests. Everything is read-only: GET and HEAD.
func opsHandler(opts opsOptions) http.Handler {
	index := indexTemplate()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", opts.metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeState(w, "ok", opts.stuck(), nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeState(w, "ready", opts.notReady(), opts.degraded())
	})
	handleAPI(mux, opts.api)
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
func writeIndex(w http.ResponseWriter, index *template.Template, opts opsOptions) {
	var page strings.Builder
	err := index.Execute(&page, struct {
		Version  string
		Faults   []string
		Degraded []string
		Store    string
		Sessions []stateCount
	}{opts.version, slices.Concat(opts.stuck(), opts.notReady()), opts.degraded(), opts.store(), opts.sessions()})
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
