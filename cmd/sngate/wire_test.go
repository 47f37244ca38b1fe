package main

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
)

func TestEventLoopAndLingerReachTheirPackages(t *testing.T) {
	for text, want := range map[string]struct {
		noLoop bool
		linger time.Duration
	}{
		"":                               {false, 5 * time.Millisecond},
		"[gateway]\nevent_loop = 'auto'": {false, 5 * time.Millisecond},
		"[gateway]\nevent_loop = 'off'\n[store]\nlinger = '0s'": {true, 0},
	} {
		cfg, err := conf.Parse("test.toml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := gatewayOptions(cfg, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if linger := storeOptions(cfg.Store).Linger; o.NoEventLoop != want.noLoop || linger != want.linger {
			t.Errorf("%q: no event loop %v, linger %v; want %+v", text, o.NoEventLoop, linger, want)
		}
	}
}
