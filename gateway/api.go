package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// The API under /api/v1 is read-only JSON. docs/API.md describes it.

const defaultPage = 100

// inspector is what the API needs of the gateway.
type inspector interface {
	Sessions(ctx context.Context, cursor string, limit int) (SessionPage, error)
	Session(ctx context.Context, clientID string) (SessionDetail, error)
}

// apiError is the body of an answer that is none. Refusals are those of a client id
// without a session.
type apiError struct {
	Error    string    `json:"error"`
	Refusals []Refusal `json:"refusals,omitempty"`
}

func handleAPI(mux *http.ServeMux, in inspector) {
	mux.HandleFunc("GET /api/v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		limit := defaultPage
		query := r.URL.Query()
		for key, values := range query {
			if key != "limit" && key != "cursor" || len(values) != 1 {
				writeJSON(w, http.StatusBadRequest, apiError{Error: "want at most one limit and one cursor"})
				return
			}
		}
		if text := query.Get("limit"); query.Has("limit") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > maxPage {
				writeJSON(w, http.StatusBadRequest, apiError{Error: fmt.Sprintf("limit: want 1..%d", maxPage)})
				return
			}
			limit = n
		}
		page, err := in.Sessions(r.Context(), query.Get("cursor"), limit)
		if err != nil {
			writeJSON(w, statusOf(err), apiError{Error: err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, page)
	})
	mux.HandleFunc("GET /api/v1/sessions/{client_id}", func(w http.ResponseWriter, r *http.Request) {
		detail, err := in.Session(r.Context(), r.PathValue("client_id"))
		if err != nil {
			writeJSON(w, statusOf(err), apiError{Error: err.Error(), Refusals: detail.Refusals})
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
