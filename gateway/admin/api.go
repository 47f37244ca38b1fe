package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// The API under /api/v1 is read-only JSON. docs/API.md describes it.

const (
	defaultPage = 100
	// MaxPage is the longest page of sessions.
	MaxPage = 1000
)

// Inspector is what the API needs of the gateway.
type Inspector interface {
	// Sessions returns up to limit sessions (1 to MaxPage), in no order that has a meaning.
	// cursor is "" for the first page and NextCursor of the one before for the others. A
	// session that is there all the time is in exactly one page.
	Sessions(ctx context.Context, cursor string, limit int) (SessionPage, error)
	// Session returns one session. Without one, ErrNoSession comes with the refusals of
	// that client id that are remembered all the same.
	Session(ctx context.Context, clientID string) (SessionDetail, error)
}

// Errors of an Inspector.
var (
	// ErrNoSession: there is no session of that client id.
	ErrNoSession = errors.New("no session of this client id")
	// ErrCursor: not the NextCursor of an earlier page.
	ErrCursor = errors.New("the cursor is not one of an earlier page")
	// ErrBusy: the gateway did not answer in time, or too many ask.
	ErrBusy = errors.New("the gateway is too busy to answer")
)

// ApiError is the body of an answer that is none. Refusals are those of a client id
// without a session.
type ApiError struct {
	Error    string    `json:"error"`
	Refusals []Refusal `json:"refusals,omitempty"`
}

func handleAPI(mux *http.ServeMux, in Inspector) {
	mux.HandleFunc("GET /api/v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		limit := defaultPage
		query := r.URL.Query()
		for key, values := range query {
			if key != "limit" && key != "cursor" || len(values) != 1 {
				writeJSON(w, http.StatusBadRequest, ApiError{Error: "want at most one limit and one cursor"})
				return
			}
		}
		if text := query.Get("limit"); query.Has("limit") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > MaxPage {
				writeJSON(w, http.StatusBadRequest, ApiError{Error: fmt.Sprintf("limit: want 1..%d", MaxPage)})
				return
			}
			limit = n
		}
		page, err := in.Sessions(r.Context(), query.Get("cursor"), limit)
		if err != nil {
			writeJSON(w, statusOf(err), ApiError{Error: err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, page)
	})
	mux.HandleFunc("GET /api/v1/sessions/{client_id}", func(w http.ResponseWriter, r *http.Request) {
		detail, err := in.Session(r.Context(), r.PathValue("client_id"))
		if err != nil {
			writeJSON(w, statusOf(err), ApiError{Error: err.Error(), Refusals: detail.Refusals})
			return
		}
		writeJSON(w, http.StatusOK, detail)
	})
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNoSession):
		return http.StatusNotFound
	case errors.Is(err, ErrCursor):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // whoever asked may have gone
}
